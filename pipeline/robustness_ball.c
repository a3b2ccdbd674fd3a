/* From names of features, a unit and a reference table to what each number of a row may do. */
#include <math.h>
#include <string.h>

#include "pipeline/network_features.h"
#include "pipeline/robustness.h"

void pipeline_robustness_ball_clear(PipelineRobustnessBall *ball)
{
  g_free(ball->scale);
  g_free(ball->low);
  g_free(ball->high);
  g_free(ball->integer);
  memset(ball, 0, sizeof *ball);
}

static const gchar *feature_name(const DriftSchema *schema, const GArray *features, guint index)
{
  return drift_schema_get_feature(schema, g_array_index(features, guint, index))->name;
}

guint pipeline_robustness_find_column(const DriftSchema *schema, const GArray *features, const gchar *name)
{
  gint feature = drift_schema_find_feature(schema, name);
  guint at = 0;
  while (at < features->len && (feature < 0 || g_array_index(features, guint, at) != (guint)feature)) at++;
  return at;
}

/* The column of points that a name means; -1: a feature that never moves. INVALID: no feature of the model. */
static gboolean find_column(const DriftSchema *schema, const GArray *features, const gchar *name, gint *column,
                            GError **error)
{
  guint at = pipeline_robustness_find_column(schema, features, name);
  *column = at < features->len ? (gint)at : -1;
  if (drift_schema_find_feature(schema, name) >= 0) return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "the model has no feature \"%s\"", name);
  return FALSE;
}

static DriftColumn *numeric_column(const DriftTable *table, const gchar *name, GError **error)
{
  DriftColumn *column = drift_table_get_column(table, name);
  if (column != NULL && column->kind == DRIFT_NUMERIC) return column;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "column \"%s\" is %s; an attack moves numbers", name,
              column == NULL ? "not in the data" : "text");
  return NULL;
}

static gboolean fill_units(PipelineRobustnessBall *ball, const PipelineRobustnessOptions *options,
                           const DriftSchema *schema, const GArray *features, const DriftTable *reference,
                           GError **error)
{
  for (guint f = 0; f < features->len; f++) {
    const DriftColumn *column = numeric_column(reference, feature_name(schema, features, f), error);
    if (column == NULL) return FALSE;
    ball->scale[f] = options->absolute ? 1 : pipeline_column_sd(column);
    ball->low[f] = ball->high[f] = NAN;
    if (options->range == PIPELINE_RANGE_GIVEN) {
      ball->low[f] = options->low;
      ball->high[f] = options->high;
    }
    for (guint i = 0; options->range == PIPELINE_RANGE_DATA && i < column->numbers->len; i++) {
      double number = g_array_index(column->numbers, double, i);
      ball->low[f] = fmin(ball->low[f], number); /* of a number and NaN: the number */
      ball->high[f] = fmax(ball->high[f], number);
    }
  }
  return TRUE;
}

static gboolean hold_still(PipelineRobustnessBall *ball, const gchar *const *names, const DriftSchema *schema,
                           const GArray *features, GError **error)
{
  for (guint i = 0; names != NULL && names[i] != NULL; i++) {
    gint column;
    if (!find_column(schema, features, names[i], &column, error)) return FALSE;
    if (column >= 0) ball->scale[column] = 0;
  }
  return TRUE;
}

static gboolean mark_integers(PipelineRobustnessBall *ball, const gchar *const *names, const DriftSchema *schema,
                              const GArray *features, const DriftTable *rows, GError **error)
{
  for (guint i = 0; names != NULL && names[i] != NULL; i++) {
    gint at;
    const DriftColumn *column;
    if (!find_column(schema, features, names[i], &at, error) || !(column = numeric_column(rows, names[i], error)))
      return FALSE;
    for (guint row = 0; row < column->numbers->len; row++) {
      double number = g_array_index(column->numbers, double, row);
      if (isnan(number) || (number == floor(number) && fabs(number) <= 0x1p24)) continue;
      g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                  "row %u, column \"%s\" is %g, no whole number up to 2^24; it is named as one", row + 1, names[i],
                  number);
      return FALSE;
    }
    if (at >= 0) ball->integer[at] = TRUE;
  }
  return TRUE;
}

static gboolean check_group(gchar **names, const gchar *group, const DriftTable *rows, GError **error)
{
  for (guint64 row = 0; row < rows->n_rows; row++) {
    guint ones = 0, others = 0;
    for (guint i = 0; names[i] != NULL; i++) {
      const DriftColumn *column = numeric_column(rows, names[i], error);
      if (column == NULL) return FALSE;
      double number = g_array_index(column->numbers, double, row);
      ones += number == 1;
      others += number != 0 && number != 1;
    }
    if (ones == 1 && others == 0) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "row %" G_GUINT64_FORMAT ": the group %s has %u ones; one-hot columns have one and zeros", row + 1,
                group, ones);
    return FALSE;
  }
  return TRUE;
}

static gboolean hold_groups(PipelineRobustnessBall *ball, const gchar *const *groups, const DriftSchema *schema,
                            const GArray *features, const DriftTable *rows, GError **error)
{
  for (guint i = 0; groups != NULL && groups[i] != NULL; i++) {
    if (!pipeline_robustness_is_group(schema, groups[i])) continue; /* a mutable text */
    g_auto(GStrv) names = g_strsplit(groups[i], "+", -1);
    if (!hold_still(ball, (const gchar *const *)names, schema, features, error) ||
        !check_group(names, groups[i], rows, error))
      return FALSE;
  }
  return TRUE;
}

gboolean pipeline_robustness_ball_init(PipelineRobustnessBall *ball, const PipelineRobustnessOptions *options,
                                       const DriftSchema *schema, const GArray *features, const DriftTable *rows,
                                       GError **error)
{
  guint n = features->len;
  *ball = (PipelineRobustnessBall){.scale = g_new0(double, n + 1),
                                   .low = g_new0(double, n + 1),
                                   .high = g_new0(double, n + 1),
                                   .integer = g_new0(gboolean, n + 1)};
  ball->ball = (PipelineAttackBall){.n_features = n,
                                    .norm = options->norm,
                                    .epsilon = options->epsilon,
                                    .scale = ball->scale,
                                    .integer = ball->integer,
                                    .low = ball->low,
                                    .high = ball->high};
  const DriftTable *reference = options->reference != NULL ? options->reference : rows;
  if (fill_units(ball, options, schema, features, reference, error) &&
      hold_still(ball, options->immutable, schema, features, error) &&
      mark_integers(ball, options->integer, schema, features, rows, error) &&
      hold_groups(ball, options->one_hot, schema, features, rows, error) &&
      hold_groups(ball, options->mutable_categories, schema, features, rows, error))
    return TRUE;
  pipeline_robustness_ball_clear(ball);
  return FALSE;
}
