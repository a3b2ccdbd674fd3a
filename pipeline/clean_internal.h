/* What the files clean*.c share. */
#pragma once

#include "pipeline/clean.h"

G_BEGIN_DECLS

/* Drops training rows i with drop[i] (by place in rows->rows); returns how many. */
guint64 pipeline_clean_drop(PipelineTrainerRows *rows, const gboolean *drop);
/* The row's inputs (and its label, when with_label) as one text that only equal rows have; new. */
gchar *pipeline_clean_row_key(const DriftTable *table, const DriftSchema *schema, guint64 row, gboolean with_label);

/* {"rows_judged", "issues", "dropped", "pairs": [{"given", "likely", "rows"}], "thresholds"}, or NULL. */
json_t *pipeline_clean_labels(const DriftTable *table, const DriftSchema *schema, PipelineTrainerRows *rows,
                              const PipelineCleanOptions *options, GError **error);
/* {"columns": [{"column", "statistic", "value", "rows", "why"}], "checked", "train_rows_in_validation",
 * "train_rows_in_test", …}. */
json_t *pipeline_clean_find_leaks(const DriftTable *table, const DriftSchema *schema, const PipelineTrainerRows *rows);

G_END_DECLS
