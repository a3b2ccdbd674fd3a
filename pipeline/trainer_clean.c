#include "pipeline/trainer_clean.h"

PipelineTrainerRows *pipeline_trainer_divide(const DriftTable *table, const DriftSchema *schema,
                                             const PipelineTrainOptions *options, GError **error)
{
  g_autoptr(PipelineTrainerRows) rows = pipeline_trainer_rows_new(table, schema, error);
  if (rows == NULL) return NULL;
  if (options->split == NULL)
    pipeline_trainer_rows_split(rows, options->validation_fraction, PIPELINE_MIN_VALIDATION, options->shuffle_split,
                                options->seed);
  else if (!pipeline_split_rows(options->split, table, schema, rows, options->validation_fraction,
                                options->test_fraction, PIPELINE_MIN_VALIDATION, options->seed, error))
    return NULL;
  return g_steal_pointer(&rows);
}

void pipeline_trainer_cleaning_clear(PipelineTrainerCleaning *cleaning)
{
  g_clear_pointer(&cleaning->table, drift_table_free);
  g_clear_pointer(&cleaning->report, g_free);
}

gboolean pipeline_trainer_clean(const DriftTable **table, const DriftSchema *schema, PipelineTrainerRows *rows,
                                const PipelineTrainOptions *options, PipelineTrainerCleaning *cleaning, GError **error)
{
  if (options->clean == NULL) return TRUE;
  g_autofree guint64 *all = g_try_new(guint64, (*table)->n_rows + 1);
  if (all == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GUINT64_FORMAT " rows",
                (*table)->n_rows);
    return FALSE;
  }
  for (guint64 row = 0; row < (*table)->n_rows; row++) all[row] = row;
  cleaning->table = drift_table_select(*table, all, (*table)->n_rows);
  json_t *report = pipeline_clean(cleaning->table, schema, rows, options->clean, error);
  if (report == NULL) return FALSE;
  char *text = json_dumps(report, JSON_COMPACT);
  cleaning->report = g_strdup(text);
  free(text);
  json_decref(report);
  *table = cleaning->table;
  return TRUE;
}
