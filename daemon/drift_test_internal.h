/* What the files of `kedge drift test` share. */
#pragma once

#include "daemon/drift_test.h"
#include "drift/multiple_testing.h"
#include "drift/multivariate.h"
#include "drift/two_sample_method.h"

G_BEGIN_DECLS

typedef struct {
  double level, minimum_effect;
  const DriftAdjustment *adjust;
  gboolean ordered; /* the reference's rows are in the order of time */
} DriftTestSettings;

/* One column of both tables. */
typedef struct {
  const DriftColumn *reference, *current;
  gboolean numeric;
  DriftTwoSampleData data;
  json_t *json; /* borrowed: its object in the report */
} DriftTestColumn;

/* The key of a "key=default  meaning" line. */
gboolean drift_test_help_has_key(const gchar *const *help, const gchar *key);
/* "permutation p", … of one test as JSON. */
json_t *drift_test_result_to_json(const gchar *method, const DriftTestResult *result);

/* A method of whole rows by name: those of drift/multivariate.h, and "multivariate-energy" for "energy", which without
 * embeddings is the name of a test of single columns. NULL: none. */
const DriftMultivariateMethod *drift_test_find_rows_method(const gchar *name, gboolean has_embeddings);
/* "mmd", or "mmd-features" where there are too many rows for all pairs. */
const DriftMultivariateMethod *drift_test_default_rows_method(const DriftTestRequest *request);
/* The methods on each embedding of the request, else on its numeric columns together; "groups" of the report get the
 * results. */
gboolean drift_test_rows(const DriftTestRequest *request, const DriftTestSettings *settings, const GPtrArray *methods,
                         json_t *report, gboolean *drift, GError **error);
/* Whether the column is an element of one of the request's embeddings. */
gboolean drift_test_in_embedding(const DriftTestRequest *request, const gchar *column);

/* The request's columns, ready to be tested; NULL with error. */
DriftTestColumn *drift_test_columns_new(const DriftTestRequest *request, guint *n, GError **error);
void drift_test_columns_free(DriftTestColumn *columns, guint n);
/* Its object in the report, without results so far. */
json_t *drift_test_describe_column(const DriftTestColumn *column);

/* Numbers as JSON: infinities as "inf" and "-inf", NaN as null. */
json_t *drift_test_number(double value);
/* Shares of both sides: of cells over the central range of numbers, of the most frequent categories. */
json_t *drift_test_distribution(const DriftTestColumn *column);

/* The window verdict (drift/window.h) of the columns; sets "verdict" of each and "evidence_log", and "timeline" if
 * asked. *drift gets the answer. */
gboolean drift_test_auto(const DriftTestRequest *request, const DriftTestSettings *settings, DriftTestColumn *columns,
                         guint n_columns, json_t *report, gboolean *drift, GError **error);

/* Sets "slices", "dependences", "dependences_drifted" and "joint_level" if slices are asked for; a dependence that
 * drifts sets *drift. */
gboolean drift_test_slices(const DriftTestRequest *request, const DriftTestSettings *settings,
                           const DriftTestColumn *columns, guint n_columns, json_t *report, gboolean *drift,
                           GError **error);

G_END_DECLS
