/* Cleaning of training rows alone: the model does not see it, the daemon does not do it, and what is served or measured
 * is never touched. Every step says what it changed.
 *
 *   duplicates   rows equal to an earlier training row in every input and the label are dropped
 *   hampel:A+B   in row (time) order, a number farther from the median of its window than 3 scaled median absolute
 *                deviations becomes that median (Hampel 1974; window of 3 rows on each side)
 *   median:A+B   every number becomes the median of its window
 *   labels       rows whose label our own out-of-fold model contradicts (confident learning, Northcutt, Jiang and
 *                Chuang 2021); reported, dropped when asked
 *   leaks        reported: a column that alone tells the label almost perfectly or is the label; rows of the training
 *                part that appear in validation or test
 */
#pragma once

#include <jansson.h>

#include "pipeline/split.h"

G_BEGIN_DECLS

typedef struct {
  gboolean duplicates, leaks, labels, drop_labels;
  gchar **hampel, **median; /* owned lists of numeric columns, or NULL */
  guint window;             /* rows on each side */
  double hampel_limit;      /* scaled deviations */
  guint64 seed;
} PipelineCleanOptions;
void pipeline_clean_options_init(PipelineCleanOptions *options);
void pipeline_clean_options_clear(PipelineCleanOptions *options);
/* "duplicates,hampel:price,median:a+b,labels,drop-labels,leaks"; INVALID lists what there is. */
gboolean pipeline_clean_options_parse(const gchar *text, PipelineCleanOptions *options, GError **error);

/* Changes the training rows of `table` (numbers) and of `rows` (dropped ones leave n_train and n), and returns what it
 * did: {"duplicates": {"rows"}, "hampel": [{"column", "changed", "rows"}], "labels": {…}, "leaks": {…},
 * "rows_dropped"}; new. DATA names the column that is not there or no number. */
json_t *pipeline_clean(DriftTable *table, const DriftSchema *schema, PipelineTrainerRows *rows,
                       const PipelineCleanOptions *options, GError **error);

G_END_DECLS
