/* Row weights of `kedge train`. */
#include "daemon/command_train_internal.h"

gchar *command_train_excluded(const TrainArguments *arguments)
{
  if (!arguments->weights || !arguments->exclude)
    return g_strdup(arguments->weights ? arguments->weights : arguments->exclude);
  return g_strconcat(arguments->exclude, ",", arguments->weights, NULL);
}

double *command_train_read_weights(const TrainArguments *arguments, const DriftTable *table, GError **error)
{
  if (!arguments->weights) return NULL;
  const DriftColumn *column = drift_table_get_column(table, arguments->weights);
  if (column && column->kind == DRIFT_NUMERIC) {
    double *weights = g_new0(double, table->n_rows + 1);
    for (guint64 i = 0; i < table->n_rows; i++) weights[i] = g_array_index(column->numbers, double, i);
    return weights;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "--weights %s: %s", arguments->weights,
              column ? "the column holds texts; weights are numbers from 0" : "the data has no such column");
  return NULL;
}
