#include "pipeline/reweigh.h"

#include <math.h>

#include "drift/fairness_mitigation.h"

static DriftGrouping *group_table(const DriftTable *table, const gchar *const *attributes, GError **error)
{
  g_autoptr(GPtrArray) columns = g_ptr_array_new();
  for (guint i = 0; attributes[i] != NULL; i++) {
    DriftColumn *column = drift_table_get_column(table, attributes[i]);
    if (column == NULL) {
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "reweighing by \"%s\": the data have no such column",
                  attributes[i]);
      return NULL;
    }
    g_ptr_array_add(columns, column);
  }
  return drift_grouping_new((const DriftColumn *const *)(void *)columns->pdata, columns->len, table->n_rows, error);
}

/* 1 the positive class, 0 the other; of the first `next` rows in use. */
static void read_labels(const DriftTable *table, const DriftSchema *schema, const PipelineTrainerRows *rows,
                        guint64 next, gint8 *label)
{
  const DriftColumn *column = drift_table_get_column(table, schema->label);
  for (guint64 i = 0; i < table->n_rows; i++) label[i] = DRIFT_FAIRNESS_NONE;
  for (guint64 i = 0; i < next; i++) {
    DriftValue value = drift_column_get_value(column, rows->rows[i]);
    label[rows->rows[i]] = drift_schema_class_of(schema, &value) == (gint)schema->positive_class;
  }
}

static void apply(const DriftGrouping *grouping, const double *factors, const PipelineTrainerRows *rows,
                  const gint8 *label, double *weights, PipelineReweighing *out)
{
  *out = (PipelineReweighing){.n_groups = grouping->n_groups, .smallest = INFINITY};
  for (guint64 i = 0; i < rows->n; i++) {
    guint64 row = rows->rows[i];
    guint32 group = grouping->group[row];
    double factor = group == DRIFT_GROUP_NONE ? 1 : factors[2 * group + (guint)label[row]];
    weights[row] *= isfinite(factor) ? factor : 1; /* no such row trains */
    if (i >= rows->n_train) continue;
    out->n_without_group += group == DRIFT_GROUP_NONE;
    out->smallest = fmin(out->smallest, weights[row]);
    out->largest = fmax(out->largest, weights[row]);
  }
}

gboolean pipeline_reweigh(const DriftTable *table, const DriftSchema *schema, const gchar *const *attributes,
                          const PipelineTrainerRows *rows, double *weights, PipelineReweighing *out, GError **error)
{
  if (schema->task != DRIFT_TASK_BINARY) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "reweighing makes two classes independent of a group; the label \"%s\" is not of two classes",
                schema->label);
    return FALSE;
  }
  g_autoptr(DriftGrouping) grouping = group_table(table, attributes, error);
  if (grouping == NULL) return FALSE;
  g_autofree gint8 *label = g_new(gint8, MAX(table->n_rows, 1));
  read_labels(table, schema, rows, rows->n_train, label);
  const DriftFairnessRows fairness_rows = {.n = table->n_rows, .label = label};
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&fairness_rows, grouping, &settings, error);
  if (fairness == NULL) return FALSE;
  g_autofree double *factors = g_new(double, 2 * fairness->n_groups);
  drift_reweighing_weights(fairness, factors);
  read_labels(table, schema, rows, rows->n, label); /* of the validation rows too */
  apply(grouping, factors, rows, label, weights, out);
  return TRUE;
}
