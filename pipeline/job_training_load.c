/* From the spec to two tables: what is trained on, and the last rows in time, which are the gate's alone. */
#include "pipeline/job_training.h"

#include <math.h>

#include "pipeline/model_spec.h"
#include "registry/model.h"

static gboolean parse_spec(PipelineTraining *training, GError **error)
{
  const json_t *spec = training->spec, *gate = json_object_get(spec, "gate");
  training->model = training->context->job->model != NULL ? training->context->job->model : "";
  training->holdout_fraction = .2;
  training->confidence = .95;
  training->robust_steps = 10;
  training->seed = 1;
  return pipeline_job_spec_text(spec, "model", &training->model, error) &&
         pipeline_job_spec_integer(spec, "from", 0, G_MAXINT64, &training->from_version, error) &&
         pipeline_job_spec_integer(spec, "champion", 0, G_MAXINT64, &training->champion_version, error) &&
         pipeline_job_spec_integer(spec, "seed", 0, G_MAXINT64, &training->seed, error) &&
         pipeline_job_spec_real(spec, "holdout_fraction", 0, .9, &training->holdout_fraction, error) &&
         pipeline_job_spec_real(gate, "confidence", .5, .9999, &training->confidence, error) &&
         pipeline_job_spec_real(gate, "robust_epsilon", 0, 100, &training->robust_epsilon, error) &&
         pipeline_job_spec_integer(gate, "robust_steps", 1, 1000, &training->robust_steps, error) &&
         (training->data = pipeline_data_ranges_parse(spec, "data", error)) != NULL &&
         (training->rehearsal = pipeline_data_ranges_parse(spec, "rehearsal", error)) != NULL;
}

static GBytes *load_version(PipelineTraining *training, gint64 number, GError **error)
{
  g_autoptr(RegistryVersion) version = registry_version_get(training->context->store, training->model, number, error);
  return version != NULL ? registry_artifacts_get(training->context->artifacts, version->onnx_digest, error) : NULL;
}

static gboolean load_models(PipelineTraining *training, GError **error)
{
  g_autoptr(RegistryModel) record = registry_model_get(training->context->store, training->model, error);
  if (record == NULL) return FALSE;
  training->schema = pipeline_model_spec_parse(record->spec, error);
  if (training->schema == NULL) return FALSE;
  if (training->from_version > 0 && (training->from = load_version(training, training->from_version, error)) == NULL)
    return FALSE;
  return training->champion_version == 0 ||
         (training->champion = load_version(training, training->champion_version, error)) != NULL;
}

static PipelineDataSet *read_ranges(PipelineTraining *training, GArray *ranges, GError **error)
{
  g_autoptr(PipelineDataSet) set = pipeline_data_set_new(training->schema);
  if (!pipeline_data_ranges_read(training->context->store, training->context->artifacts, training->model,
                                 training->schema, ranges, set, error))
    return NULL;
  return g_steal_pointer(&set);
}

static void append_rows(DriftTable *into, const DriftTable *from)
{
  for (guint c = 0; c < into->columns->len; c++) {
    DriftColumn *target = g_ptr_array_index(into->columns, c);
    const DriftColumn *source = g_ptr_array_index(from->columns, c);
    for (guint64 row = 0; row < from->n_rows; row++) {
      DriftValue value = drift_column_get_value(source, row);
      if (value.kind == DRIFT_VALUE_MISSING)
        drift_column_append_missing(target);
      else if (target->kind == DRIFT_NUMERIC)
        drift_column_append_number(target, value.number);
      else
        drift_column_append_text(target, value.text, (gssize)value.length);
    }
  }
  into->n_rows += from->n_rows;
}

/* The last rows in time are held out; rehearsal rows are old by definition and only ever train, before all others (the
 * trainer takes its own validation rows from the end). */
static gboolean split(PipelineTraining *training, const PipelineDataSet *data, const PipelineDataSet *rehearsal,
                      GError **error)
{
  g_autoptr(GArray) rows = pipeline_data_set_usable_by_time(data, training->schema);
  g_autoptr(GArray) old_rows = pipeline_data_set_usable_by_time(rehearsal, training->schema);
  training->n_data = rows->len;
  training->n_unusable = data->table->n_rows - rows->len + rehearsal->table->n_rows - old_rows->len;
  if (rows->len < PIPELINE_TRAINING_MIN_ROWS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "%u usable labelled rows are too few to learn from (at least %d are needed; %" G_GUINT64_FORMAT
                " had no label of a known class): wait for more labels",
                rows->len, PIPELINE_TRAINING_MIN_ROWS, training->n_unusable);
    return FALSE;
  }
  guint n_holdout = (guint)lround(training->holdout_fraction * rows->len);
  const guint64 *order = (const guint64 *)(gpointer)rows->data;
  g_autoptr(DriftTable) recent = drift_table_select(data->table, order, rows->len - n_holdout);
  training->holdout = drift_table_select(data->table, order + rows->len - n_holdout, n_holdout);
  training->train = drift_table_select(rehearsal->table, (const guint64 *)(gpointer)old_rows->data, old_rows->len);
  append_rows(training->train, recent);
  return TRUE;
}

static gboolean check_classes(const PipelineTraining *training, GError **error)
{
  if (training->schema->task == DRIFT_TASK_REGRESSION) return TRUE;
  const DriftColumn *label = drift_table_get_column(training->train, training->schema->label);
  gint first = -1;
  for (guint64 row = 0; row < training->train->n_rows; row++) {
    DriftValue value = drift_column_get_value(label, row);
    gint class_index = drift_schema_class_of(training->schema, &value);
    if (first < 0) first = class_index;
    if (class_index != first) return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
              "all %" G_GUINT64_FORMAT " training rows have the label \"%s\": a classifier needs two classes; take an "
              "earlier first row or wait for more labels",
              training->train->n_rows, (const gchar *)g_ptr_array_index(training->schema->classes, MAX(first, 0)));
  return FALSE;
}

gboolean pipeline_training_read_spec(PipelineTraining *training, GError **error)
{
  training->spec = pipeline_job_spec_load(training->context->job, error);
  return training->spec != NULL && parse_spec(training, error) && load_models(training, error);
}

gboolean pipeline_training_load(PipelineTraining *training, GError **error)
{
  if (!pipeline_training_read_spec(training, error)) return FALSE;
  g_autoptr(PipelineDataSet) data = read_ranges(training, training->data, error);
  g_autoptr(PipelineDataSet) rehearsal = data != NULL ? read_ranges(training, training->rehearsal, error) : NULL;
  if (rehearsal == NULL || !split(training, data, rehearsal, error) || !check_classes(training, error)) return FALSE;
  pipeline_job_log(training->context,
                   "loaded %" G_GUINT64_FORMAT " labelled rows: %" G_GUINT64_FORMAT " train (%" G_GUINT64_FORMAT
                   " of them rehearse older data), the last %" G_GUINT64_FORMAT " are held out, %" G_GUINT64_FORMAT
                   " have no usable label",
                   training->n_data, training->train->n_rows,
                   training->train->n_rows + training->holdout->n_rows - training->n_data, training->holdout->n_rows,
                   training->n_unusable);
  return TRUE;
}
