#include "pipeline/clean_internal.h"

#include <math.h>
#include <string.h>

#include "pipeline/evaluate_metrics.h"

#define MAX_WINDOW 100u
#define TO_SD 1.4826 /* median absolute deviation of a normal law to its standard deviation */

void pipeline_clean_options_init(PipelineCleanOptions *options)
{
  *options = (PipelineCleanOptions){.window = 3, .hampel_limit = 3, .seed = 1};
}

void pipeline_clean_options_clear(PipelineCleanOptions *options)
{
  g_clear_pointer(&options->hampel, g_strfreev);
  g_clear_pointer(&options->median, g_strfreev);
}

/* --- what can be asked for ---------------------------------------------------------------------------------------- */

typedef struct {
  const gchar *name;
  gsize flag, second; /* offsets of gboolean members that it sets; the second 0: none */
  gsize columns;      /* offset of the list behind the colon; 0: it takes none */
} CleanStep;

#define FLAG(member) G_STRUCT_OFFSET(PipelineCleanOptions, member)
#define NONE G_MAXSIZE
static const CleanStep steps[] = {
    {"duplicates", FLAG(duplicates), NONE, NONE}, {"leaks", FLAG(leaks), NONE, NONE},
    {"labels", FLAG(labels), NONE, NONE},         {"drop-labels", FLAG(labels), FLAG(drop_labels), NONE},
    {"hampel", NONE, NONE, FLAG(hampel)},         {"median", NONE, NONE, FLAG(median)},
};

static gboolean set_step(const CleanStep *step, const gchar *columns, PipelineCleanOptions *options)
{
  const gsize flags[] = {step->flag, step->second};
  if ((columns != NULL && *columns != '\0') != (step->columns != NONE)) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(flags); i++)
    if (flags[i] != NONE) G_STRUCT_MEMBER(gboolean, options, flags[i]) = TRUE;
  if (step->columns == NONE) return TRUE;
  gchar ***list = &G_STRUCT_MEMBER(gchar **, options, step->columns);
  g_strfreev(*list);
  *list = g_strsplit(columns, "+", -1);
  return TRUE;
}

gboolean pipeline_clean_options_parse(const gchar *text, PipelineCleanOptions *options, GError **error)
{
  g_auto(GStrv) parts = g_strsplit(*text ? text : ",", ",", -1); /* an empty text is an empty part */
  for (guint i = 0; parts[i]; i++) {
    gchar *colon = strchr(parts[i], ':');
    gboolean known = FALSE;
    if (colon) *colon = '\0';
    for (guint s = 0; s < G_N_ELEMENTS(steps) && !known; s++)
      known = strcmp(steps[s].name, parts[i]) == 0 && set_step(&steps[s], colon ? colon + 1 : NULL, options);
    if (known) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "cleaning \"%s\": write duplicates, hampel:A+B, median:A+B (columns), labels, drop-labels or leaks, "
                "separated by commas",
                parts[i]);
    return FALSE;
  }
  return TRUE;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

guint64 pipeline_clean_drop(PipelineTrainerRows *rows, const gboolean *drop)
{
  guint64 kept = 0, n = rows->n_train;
  for (guint64 i = 0; i < rows->n; i++)
    if (i >= n || !drop[i]) rows->rows[kept++] = rows->rows[i];
  rows->n_train -= rows->n - kept;
  rows->n = kept;
  return n - rows->n_train;
}

static void append_value(GString *key, const DriftColumn *column, guint64 row)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length = 0;
  DriftValue value = drift_column_get_value(column, row);
  const gchar *text = value.kind == DRIFT_VALUE_MISSING ? NULL : drift_value_to_text(&value, buffer, &length);
  if (text)
    g_string_append_printf(key, "%zu:%.*s", length, (int)length, text);
  else
    g_string_append_c(key, '-');
}

gchar *pipeline_clean_row_key(const DriftTable *table, const DriftSchema *schema, guint64 row, gboolean with_label)
{
  GString *key = g_string_new(NULL);
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    const DriftColumn *column = drift_table_get_column(table, feature->name);
    if (feature->input && column) append_value(key, column, row);
  }
  if (with_label) append_value(key, drift_table_get_column(table, schema->label), row);
  return g_string_free(key, FALSE);
}

static json_t *drop_duplicates(const DriftTable *table, const DriftSchema *schema, PipelineTrainerRows *rows)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autofree gboolean *drop = g_new0(gboolean, MAX(rows->n_train, 1));
  guint64 before = rows->n_train;
  for (guint64 i = 0; i < rows->n_train; i++)
    drop[i] = !g_hash_table_add(seen, pipeline_clean_row_key(table, schema, rows->rows[i], TRUE));
  return json_pack("{s:I, s:I}", "rows", (json_int_t)before, "dropped", (json_int_t)pipeline_clean_drop(rows, drop));
}

/* --- numbers in row order ----------------------------------------------------------------------------------------- */

/* The median of the known values x [n], which it sorts; NaN of none. */
static double median_of(double *x, guint n)
{
  return n > 0 ? pipeline_metric_quantile(x, n, .5) : NAN;
}

/* The known values around place i; *n of them into `near`. */
static void look_around(const double *values, guint64 n_values, guint64 i, guint window, double *near, guint *n)
{
  *n = 0;
  for (guint64 j = i > window ? i - window : 0; j < n_values && j <= i + window; j++)
    if (isfinite(values[j])) near[(*n)++] = values[j];
}

/* The value in place of values[i]. limit NaN: the median in any case. Where half of a window is one value its
 * deviation is 0 and tells nothing: the value stays. */
static double smooth(const double *values, guint64 n_values, guint64 i, guint window, double limit)
{
  double near[2 * MAX_WINDOW + 1];
  guint n;
  look_around(values, n_values, i, window, near, &n);
  double median = median_of(near, n);
  if (isnan(values[i]) || isnan(limit)) return isnan(values[i]) ? values[i] : median;
  for (guint k = 0; k < n; k++) near[k] = fabs(near[k] - median);
  double deviation = TO_SD * median_of(near, n);
  return deviation > 0 && fabs(values[i] - median) > limit * deviation ? median : values[i];
}

static json_t *smooth_column(DriftTable *table, const PipelineTrainerRows *rows, const gchar *name, guint window,
                             double limit, GError **error)
{
  DriftColumn *column = drift_table_get_column(table, name);
  guint64 n = rows->n_train, changed = 0;
  if (!column || column->kind != DRIFT_NUMERIC) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cleaning: column \"%s\" is %s", name,
                column ? "no number" : "not in the data");
    return NULL;
  }
  g_autofree double *values = g_new(double, MAX(n, 1));
  for (guint64 i = 0; i < n; i++) values[i] = g_array_index(column->numbers, double, rows->rows[i]);
  for (guint64 i = 0; i < n; i++) {
    double value = smooth(values, n, i, window, limit);
    if (isnan(values[i]) || value == values[i]) continue;
    g_array_index(column->numbers, double, rows->rows[i]) = value;
    changed++;
  }
  return json_pack("{s:s, s:I, s:I}", "column", name, "changed", (json_int_t)changed, "rows", (json_int_t)n);
}

static gboolean smooth_columns(DriftTable *table, const PipelineTrainerRows *rows, gchar **names, guint window,
                               double limit, const gchar *key, json_t *report, GError **error)
{
  json_t *list = json_array();
  for (guint i = 0; names && names[i]; i++) {
    json_t *done = smooth_column(table, rows, names[i], window, limit, error);
    if (!done) {
      json_decref(list);
      return FALSE;
    }
    json_array_append_new(list, done);
  }
  if (names)
    json_object_set_new(report, key, list);
  else
    json_decref(list);
  return TRUE;
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

json_t *pipeline_clean(DriftTable *table, const DriftSchema *schema, PipelineTrainerRows *rows,
                       const PipelineCleanOptions *options, GError **error)
{
  if (options->window < 1 || options->window > MAX_WINDOW) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "cleaning: a window of 1 to %u rows on each side",
                MAX_WINDOW);
    return NULL;
  }
  guint64 before = rows->n_train;
  json_t *report = json_object();
  gboolean good = TRUE;
  if (options->leaks) json_object_set_new(report, "leaks", pipeline_clean_find_leaks(table, schema, rows));
  if (options->duplicates) json_object_set_new(report, "duplicates", drop_duplicates(table, schema, rows));
  good =
      smooth_columns(table, rows, options->hampel, options->window, options->hampel_limit, "hampel", report, error) &&
      smooth_columns(table, rows, options->median, options->window, NAN, "median", report, error);
  if (good && options->labels) {
    json_t *labels = pipeline_clean_labels(table, schema, rows, options, error);
    good = labels != NULL;
    if (good) json_object_set_new(report, "labels", labels);
  }
  json_object_set_new(report, "rows_dropped", json_integer((json_int_t)(before - rows->n_train)));
  if (good && rows->n_train > 0) return report;
  if (good) g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cleaning leaves no training row");
  json_decref(report);
  return NULL;
}
