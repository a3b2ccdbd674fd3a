#include "pipeline/trainer_rows.h"

#include <float.h>
#include <math.h>

#include "pipeline/trainer_random.h"

static float target_of(const DriftSchema *schema, const DriftValue *label)
{
  if (schema->task == DRIFT_TASK_REGRESSION) {
    double value = NAN;
    return drift_value_to_number(label, &value) && fabs(value) <= FLT_MAX ? (float)value : NAN;
  }
  gint index = drift_schema_class_of(schema, label);
  return index < 0 ? NAN : (float)index;
}

PipelineTrainerRows *pipeline_trainer_rows_new(const DriftTable *table, const DriftSchema *schema, GError **error)
{
  const DriftColumn *label = drift_table_get_column(table, schema->label);
  if (!label) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "label column \"%s\" is not in the data", schema->label);
    return NULL;
  }
  g_autoptr(PipelineTrainerRows) rows = g_new0(PipelineTrainerRows, 1);
  rows->targets = g_try_new(float, MAX(1, table->n_rows));
  rows->rows = g_try_new(guint64, MAX(1, table->n_rows));
  if (!rows->targets || !rows->rows) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory for %" G_GUINT64_FORMAT " rows",
                table->n_rows);
    return NULL;
  }
  for (guint64 row = 0; row < table->n_rows; row++) {
    DriftValue value = drift_column_get_value(label, row);
    rows->targets[row] = target_of(schema, &value);
    if (!isnan(rows->targets[row])) rows->rows[rows->n++] = row;
  }
  rows->n_train = rows->n;
  rows->n_skipped = table->n_rows - rows->n;
  if (rows->n > 0) return g_steal_pointer(&rows);
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "none of the %" G_GUINT64_FORMAT " rows has a usable label in column \"%s\"", table->n_rows,
              schema->label);
  return NULL;
}

void pipeline_trainer_rows_split(PipelineTrainerRows *rows, double fraction, guint64 least, gboolean shuffle,
                                 guint64 seed)
{
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  if (shuffle) pipeline_random_shuffle(&random, rows->rows, rows->n);
  guint64 wanted = (guint64)(fraction * (double)rows->n);
  rows->n_validation = wanted >= least && wanted < rows->n ? wanted : 0;
  rows->n_train = rows->n - rows->n_validation;
}

PipelinePrepareData pipeline_trainer_rows_prepare(const PipelineTrainerRows *rows, const DriftTable *table,
                                                  const DriftSchema *schema, guint64 seed)
{
  return (PipelinePrepareData){.table = table,
                               .schema = schema,
                               .rows = rows->rows,
                               .n_rows = rows->n_train,
                               .targets = rows->targets,
                               .seed = seed};
}

void pipeline_trainer_rows_free(PipelineTrainerRows *rows)
{
  if (!rows) return;
  g_free(rows->targets);
  g_free(rows->rows);
  g_free(rows);
}
