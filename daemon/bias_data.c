#include "daemon/bias_data.h"

#include <math.h>
#include <string.h>

#include "pipeline/error.h"

G_GNUC_PRINTF(2, 3) static gboolean refuse(GError **error, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_autofree gchar *what = g_strdup_vprintf(format, arguments);
  va_end(arguments);
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, what);
  return FALSE;
}

static gboolean check_column(const BiasRequest *request, const gchar *option, const gchar *name, GError **error)
{
  if (name == NULL || drift_table_get_column(request->data, name) != NULL) return TRUE;
  return refuse(error, "%s %s: %s has no such column", option, name, request->data_name);
}

gboolean bias_check_columns(const BiasRequest *request, GError **error)
{
  if (!check_column(request, "--label", request->label, error) ||
      !check_column(request, "--prediction", request->prediction, error) ||
      !check_column(request, "--score", request->score, error) ||
      !check_column(request, "--strata", request->strata, error))
    return FALSE;
  guint n = g_strv_length((gchar **)request->sensitive);
  if (n == 0 || n > BIAS_MAX_ATTRIBUTES)
    return refuse(error, "--sensitive: 1 to %u attributes, not %u (all their crossings are reported)",
                  BIAS_MAX_ATTRIBUTES, n);
  for (guint i = 0; i < n; i++) {
    if (!check_column(request, "--sensitive", request->sensitive[i], error)) return FALSE;
    for (guint j = 0; j < i; j++)
      if (strcmp(request->sensitive[i], request->sensitive[j]) == 0)
        return refuse(error, "--sensitive names \"%s\" twice", request->sensitive[i]);
  }
  if (request->score != NULL && drift_table_get_column(request->data, request->score)->kind != DRIFT_NUMERIC)
    return refuse(error, "--score %s: the column holds text, a score is a number", request->score);
  return TRUE;
}

/* --- outcomes ----------------------------------------------------------------------------------------------------- */

#define SHOWN_CLASSES 6u
#define MOST_CLASSES 1000u

typedef struct {
  gchar *text;
  double number; /* NaN: not a number */
} Class;

static gint compare_classes(gconstpointer a, gconstpointer b)
{
  const Class *left = a, *right = b;
  if (!isnan(left->number) && !isnan(right->number))
    return (left->number > right->number) - (left->number < right->number);
  return strcmp(left->text, right->text);
}

static void class_clear(gpointer data)
{
  g_clear_pointer(&((Class *)data)->text, g_free);
}

/* Adds the classes that occur in a column; stops at MOST_CLASSES. */
static void add_classes(const DriftColumn *column, guint64 n_rows, GHashTable *seen, GArray *classes)
{
  for (guint64 i = 0; i < n_rows && classes->len < MOST_CLASSES; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length;
    DriftValue value = drift_column_get_value(column, i);
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    if (text == NULL) continue;
    Class class = {.text = g_strndup(text, length), .number = NAN};
    if (!g_hash_table_add(seen, g_strdup(class.text))) {
      g_free(class.text);
      continue;
    }
    if (!drift_value_to_number(&value, &class.number)) class.number = NAN;
    g_array_append_val(classes, class);
  }
}

/* The larger of two classes; 1 when only 0 occurs. */
static gchar *choose_favourable(const BiasRequest *request, GArray *classes, GError **error)
{
  const Class *first = &g_array_index(classes, Class, 0);
  if (classes->len == 2) return g_strdup(g_array_index(classes, Class, 1).text);
  if (classes->len == 1 && (first->number == 0 || first->number == 1)) return g_strdup("1");
  g_autoptr(GString) list = g_string_new(NULL);
  for (guint i = 0; i < MIN(classes->len, SHOWN_CLASSES); i++)
    g_string_append_printf(list, "%s\"%s\"", i > 0 ? ", " : "", g_array_index(classes, Class, i).text);
  if (classes->len > SHOWN_CLASSES) g_string_append(list, ", …");
  refuse(error, "columns \"%s\" and \"%s\" have %s%u classes (%s): name the favourable one by --positive",
         request->label, request->prediction, classes->len >= MOST_CLASSES ? "at least " : "", classes->len, list->str);
  return NULL;
}

static gint8 *read_outcome(const DriftColumn *column, guint64 n_rows, const DriftSchema *favourable)
{
  gint8 *outcome = g_new(gint8, n_rows + 1);
  for (guint64 i = 0; i < n_rows; i++) {
    DriftValue value = drift_column_get_value(column, i);
    outcome[i] = value.kind == DRIFT_VALUE_MISSING ? DRIFT_FAIRNESS_NONE
                                                   : (gint8)(drift_schema_class_of(favourable, &value) >= 0);
  }
  return outcome;
}

static gboolean is_class(GArray *classes, const gchar *text)
{
  for (guint i = 0; i < classes->len; i++)
    if (strcmp(g_array_index(classes, Class, i).text, text) == 0) return TRUE;
  return FALSE;
}

static gchar *find_favourable(const BiasRequest *request, const DriftColumn *label, const DriftColumn *prediction,
                              GError **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GArray) classes = g_array_new(FALSE, FALSE, sizeof(Class));
  g_array_set_clear_func(classes, class_clear);
  add_classes(label, request->data->n_rows, seen, classes);
  add_classes(prediction, request->data->n_rows, seen, classes);
  g_array_sort(classes, compare_classes);
  if (classes->len == 0) {
    refuse(error, "columns \"%s\" and \"%s\" of %s hold no values", request->label, request->prediction,
           request->data_name);
    return NULL;
  }
  if (request->favourable == NULL) return choose_favourable(request, classes, error);
  DriftValue value = drift_value_text(request->favourable, -1);
  double number;
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  if (drift_value_to_number(&value, &number)) value = drift_value_number(number);
  const gchar *text = drift_value_to_text(&value, buffer, &length);
  g_autofree gchar *canonical = g_strndup(text, length);
  if (is_class(classes, canonical)) return g_steal_pointer(&canonical);
  refuse(error, "--positive %s: neither \"%s\" nor \"%s\" has such a class", request->favourable, request->label,
         request->prediction);
  return NULL;
}

static void read_strata(const DriftColumn *column, guint64 n_rows, BiasData *data)
{
  g_autoptr(GHashTable) code_of = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  data->stratum = g_new(guint32, n_rows + 1);
  for (guint64 i = 0; i < n_rows; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length;
    DriftValue value = drift_column_get_value(column, i);
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    data->stratum[i] = DRIFT_GROUP_NONE;
    if (text == NULL) continue;
    g_autofree gchar *key = g_strndup(text, length);
    gpointer code = g_hash_table_lookup(code_of, key);
    if (code == NULL) {
      code = GUINT_TO_POINTER(g_hash_table_size(code_of) + 1);
      g_hash_table_insert(code_of, g_steal_pointer(&key), code);
    }
    data->stratum[i] = GPOINTER_TO_UINT(code) - 1;
  }
  data->rows.stratum = data->stratum;
  data->rows.n_strata = g_hash_table_size(code_of);
}

gboolean bias_data_read(const BiasRequest *request, BiasData *data, GError **error)
{
  guint64 n_rows = request->data->n_rows;
  const DriftColumn *label = drift_table_get_column(request->data, request->label);
  const DriftColumn *prediction = drift_table_get_column(request->data, request->prediction);
  data->favourable = find_favourable(request, label, prediction, error);
  if (data->favourable == NULL) return FALSE;
  g_autoptr(DriftSchema) favourable = drift_schema_new(DRIFT_TASK_BINARY, request->label);
  drift_schema_add_class(favourable, data->favourable);
  data->label = read_outcome(label, n_rows, favourable);
  data->prediction = read_outcome(prediction, n_rows, favourable);
  data->rows = (DriftFairnessRows){.n = n_rows, .label = data->label, .prediction = data->prediction};
  if (request->score != NULL)
    data->rows.score =
        (const double *)(const void *)drift_table_get_column(request->data, request->score)->numbers->data;
  if (request->strata != NULL) read_strata(drift_table_get_column(request->data, request->strata), n_rows, data);
  return TRUE;
}

void bias_data_clear(BiasData *data)
{
  g_clear_pointer(&data->label, g_free);
  g_clear_pointer(&data->prediction, g_free);
  g_clear_pointer(&data->stratum, g_free);
  g_clear_pointer(&data->favourable, g_free);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

GArray *bias_parse_bounds(const gchar *const *texts, GError **error)
{
  g_autoptr(GArray) bounds = g_array_new(FALSE, FALSE, sizeof(BiasBound));
  for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
    const gchar *equals = strchr(texts[i], '=');
    g_autofree gchar *name = g_strndup(texts[i], equals != NULL ? (gsize)(equals - texts[i]) : strlen(texts[i]));
    BiasBound bound = {.metric = drift_fairness_metric_find(name)};
    gchar *end = NULL;
    bound.value = equals != NULL ? g_ascii_strtod(equals + 1, &end) : NAN;
    gboolean is_number = end != NULL && end != equals + 1 && *end == '\0' && isfinite(bound.value);
    if (bound.metric == NULL)
      refuse(error, "--bound %s: no metric \"%s\" (`kedge bias --help` lists them)", texts[i], name);
    else if (!is_number || bound.value < 0 || (bound.metric->form == DRIFT_METRIC_RATIO && bound.value == 0))
      refuse(error, "--bound %s: METRIC=VALUE with a value %s 0", texts[i],
             bound.metric->form == DRIFT_METRIC_RATIO ? "above" : "of at least");
    else {
      g_array_append_val(bounds, bound);
      continue;
    }
    return NULL;
  }
  return g_steal_pointer(&bounds);
}

gboolean bias_find_reference(const BiasRequest *request, const DriftGrouping *grouping, gint *reference, GError **error)
{
  gsize length = strlen(grouping->attribute);
  for (guint i = 0; request->reference != NULL && request->reference[i] != NULL; i++) {
    const gchar *text = request->reference[i];
    if (strncmp(text, grouping->attribute, length) != 0 || text[length] != '=') continue;
    *reference = drift_grouping_find(grouping, text + length + 1);
    if (*reference < 0) return refuse(error, "--reference %s: \"%s\" has no such group", text, grouping->attribute);
  }
  return TRUE;
}
