/* The table of kinds. One more: a file kind_NAME.c with its function, a declaration and a line here. */
#include "tests/golden/golden.h"

#define DECLARE(name) gboolean golden_run_##name(const json_t *golden_case, GoldenContext *context);
#define LIST(name) {#name, golden_run_##name},

#define RAW_AND_BINNED(X)                                                                                              \
  X(two_sample_numeric)                                                                                                \
  X(binned_numeric)                                                                                                    \
  X(two_sample_categorical) X(counts) X(adjust_p) X(univariate_chunked) X(data_quality_chunked) X(peer_end_to_end)

#define STREAMING(X) X(stream_detector)

#define MULTIVARIATE_AND_LABEL_FREE(X)                                                                                 \
  X(cbpe_binary) X(cbpe_formula) X(cbpe_multiclass) X(two_sample_multivariate) X(pca_reconstruction_chunked)

#define FAIRNESS_AND_SKETCHES(X) X(fairness_table) X(kll_rank_error) X(exact_quantiles)

RAW_AND_BINNED(DECLARE)
STREAMING(DECLARE)
MULTIVARIATE_AND_LABEL_FREE(DECLARE)
FAIRNESS_AND_SKETCHES(DECLARE)

const GoldenKind golden_kinds[] = {RAW_AND_BINNED(LIST) STREAMING(LIST) MULTIVARIATE_AND_LABEL_FREE(LIST)
                                       FAIRNESS_AND_SKETCHES(LIST){NULL, NULL}};
