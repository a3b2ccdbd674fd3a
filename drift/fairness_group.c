#include "drift/fairness_group.h"

#include <math.h>
#include <string.h>

#include "drift/sample.h"

/* A number with more distinct values is cut into quarters: age 0 … 90 makes four groups, a code 1 … 9 makes nine. */
#define MAX_DISTINCT_NUMBERS 12u

gint8 drift_fairness_rows_prediction(const DriftFairnessRows *rows, guint64 row)
{
  return rows->prediction != NULL ? rows->prediction[row] : rows->label[row];
}

typedef struct {
  guint32 *code;    /* [n_rows] into names; DRIFT_GROUP_NONE */
  GPtrArray *names; /* of gchar* */
} Attribute;

static void attribute_clear(gpointer data)
{
  Attribute *attribute = data;
  g_clear_pointer(&attribute->code, g_free);
  g_clear_pointer(&attribute->names, g_ptr_array_unref);
}

static void attribute_init(Attribute *attribute, guint64 n_rows)
{
  attribute->code = g_new(guint32, n_rows + 1);
  attribute->names = g_ptr_array_new_with_free_func(g_free);
}

static void code_categories(const DriftColumn *column, guint64 n_rows, Attribute *attribute)
{
  for (guint i = 0; i < column->dictionary->len; i++)
    g_ptr_array_add(attribute->names, g_strdup(g_ptr_array_index(column->dictionary, i)));
  for (guint64 i = 0; i < n_rows; i++) {
    guint32 code = g_array_index(column->codes, guint32, i);
    attribute->code[i] = code == DRIFT_CODE_MISSING ? DRIFT_GROUP_NONE : code;
  }
}

static gchar *number_text(double number)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  DriftValue value = drift_value_number(number);
  const gchar *text = drift_value_to_text(&value, buffer, &length);
  return g_strndup(text != NULL ? text : "", text != NULL ? length : 0);
}

/* Upper ends of the bands of a sorted sample: each distinct value, or three quartiles and the largest value. */
static guint find_ends(const DriftSample *sample, double *ends, gboolean *distinct)
{
  guint n = 0;
  *distinct = TRUE;
  for (gsize i = 0; i < sample->n && n <= MAX_DISTINCT_NUMBERS; i++) {
    if (n > 0 && sample->sorted[i] == ends[n - 1]) continue;
    if (n < MAX_DISTINCT_NUMBERS) ends[n] = sample->sorted[i];
    n++;
  }
  if (n <= MAX_DISTINCT_NUMBERS) return n;
  *distinct = FALSE;
  n = 0;
  for (guint quarter = 1; quarter <= 4; quarter++) {
    double end = drift_sample_quantile(sample, quarter / 4.0);
    if (n == 0 || end > ends[n - 1]) ends[n++] = end;
  }
  return n;
}

static void name_bands(const double *ends, guint n, gboolean distinct, GPtrArray *names)
{
  for (guint i = 0; i < n; i++) {
    g_autofree gchar *low = i > 0 ? number_text(ends[i - 1]) : NULL, *high = number_text(ends[i]);
    gchar *name = distinct     ? g_strdup(high)
                  : i == 0     ? g_strdup_printf("<= %s", high)
                  : i + 1 == n ? g_strdup_printf("> %s", low)
                               : g_strdup_printf("(%s, %s]", low, high);
    g_ptr_array_add(names, name);
  }
}

static gboolean code_numbers(const DriftColumn *column, guint64 n_rows, Attribute *attribute, GError **error)
{
  const double *numbers = (const double *)(const void *)column->numbers->data;
  g_autoptr(DriftSample) sample = drift_sample_new(numbers, n_rows, error);
  if (sample == NULL) return FALSE;
  double ends[MAX_DISTINCT_NUMBERS];
  gboolean distinct;
  guint n = find_ends(sample, ends, &distinct);
  name_bands(ends, n, distinct, attribute->names);
  for (guint64 i = 0; i < n_rows; i++) {
    guint code = 0;
    while (code + 1 < n && numbers[i] > ends[code]) code++;
    attribute->code[i] = isnan(numbers[i]) ? DRIFT_GROUP_NONE : code;
  }
  return TRUE;
}

/* --- crossing ----------------------------------------------------------------------------------------------------- */

typedef struct {
  gchar *name;
  guint32 code; /* before sorting */
} Named;

static gint compare_named(gconstpointer a, gconstpointer b)
{
  return strcmp(((const Named *)a)->name, ((const Named *)b)->name);
}

/* The groups so far crossed with one attribute more; only pairs that occur. */
static void cross(guint32 *group, GPtrArray **names, const Attribute *attribute, guint64 n_rows)
{
  g_autoptr(GHashTable) code_of = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
  GPtrArray *crossed = g_ptr_array_new_with_free_func(g_free);
  for (guint64 i = 0; i < n_rows; i++) {
    if (group[i] == DRIFT_GROUP_NONE || attribute->code[i] == DRIFT_GROUP_NONE) {
      group[i] = DRIFT_GROUP_NONE;
      continue;
    }
    gint64 key = (gint64)group[i] << 32 | attribute->code[i];
    gpointer found = g_hash_table_lookup(code_of, &key);
    if (found == NULL) {
      const gchar *left = *names != NULL ? g_ptr_array_index(*names, group[i]) : NULL;
      const gchar *right = g_ptr_array_index(attribute->names, attribute->code[i]);
      g_ptr_array_add(crossed, left != NULL ? g_strconcat(left, "|", right, NULL) : g_strdup(right));
      found = GUINT_TO_POINTER(crossed->len);
      g_hash_table_insert(code_of, g_memdup2(&key, sizeof key), found);
    }
    group[i] = GPOINTER_TO_UINT(found) - 1;
  }
  if (*names != NULL) g_ptr_array_unref(*names);
  *names = crossed;
}

/* Takes names and group. */
static DriftGrouping *grouping_take(gchar *attribute, guint32 *group, guint64 n_rows, GPtrArray *names)
{
  DriftGrouping *grouping = g_new0(DriftGrouping, 1);
  *grouping = (DriftGrouping){.n_rows = n_rows, .group = group, .n_groups = names->len, .attribute = attribute};
  g_autofree Named *order = g_new(Named, names->len + 1);
  g_autofree guint32 *place = g_new(guint32, names->len + 1);
  for (guint i = 0; i < names->len; i++) order[i] = (Named){g_strdup(g_ptr_array_index(names, i)), i};
  qsort(order, names->len, sizeof *order, compare_named);
  grouping->names = g_new0(gchar *, names->len + 1);
  for (guint i = 0; i < names->len; i++) {
    grouping->names[i] = order[i].name;
    place[order[i].code] = i;
  }
  for (guint64 i = 0; i < n_rows; i++)
    if (group[i] == DRIFT_GROUP_NONE)
      grouping->n_missing++;
    else
      group[i] = place[group[i]];
  g_ptr_array_unref(names);
  return grouping;
}

static DriftGrouping *cross_all(const Attribute *attributes, guint n, gchar *name, guint64 n_rows, GError **error)
{
  g_autofree guint32 *group = g_try_new0(guint32, n_rows + 1);
  g_autofree gchar *owned = name;
  if (group == NULL) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT, "no memory for the groups of %" G_GUINT64_FORMAT " rows",
                n_rows);
    return NULL;
  }
  GPtrArray *names = NULL;
  for (guint i = 0; i < n; i++) cross(group, &names, &attributes[i], n_rows);
  if (names->len > 0 && names->len <= DRIFT_FAIRNESS_MAX_GROUPS)
    return grouping_take(g_steal_pointer(&owned), g_steal_pointer(&group), n_rows, names);
  if (names->len == 0)
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_UNDEFINED, "no row has a value of %s: there are no groups", owned);
  else
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "%s makes %u groups, more than %u: it looks like an identifier; group its values first", owned,
                names->len, DRIFT_FAIRNESS_MAX_GROUPS);
  g_ptr_array_unref(names);
  return NULL;
}

DriftGrouping *drift_grouping_new(const DriftColumn *const *columns, guint n_columns, guint64 n_rows, GError **error)
{
  if (n_columns == 0) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_INVALID, "groups need at least one attribute");
    return NULL;
  }
  g_autoptr(GArray) attributes = g_array_new(FALSE, TRUE, sizeof(Attribute));
  g_array_set_clear_func(attributes, attribute_clear);
  g_array_set_size(attributes, n_columns);
  g_autoptr(GString) name = g_string_new(NULL);
  for (guint i = 0; i < n_columns; i++) {
    Attribute *attribute = &g_array_index(attributes, Attribute, i);
    attribute_init(attribute, n_rows);
    g_string_append_printf(name, "%s%s", i > 0 ? "|" : "", columns[i]->name);
    if (columns[i]->kind == DRIFT_CATEGORICAL)
      code_categories(columns[i], n_rows, attribute);
    else if (!code_numbers(columns[i], n_rows, attribute, error))
      return NULL;
  }
  return cross_all((const Attribute *)(const void *)attributes->data, n_columns, g_strdup(name->str), n_rows, error);
}

DriftGrouping *drift_grouping_from_texts(const gchar *name, const gchar *const *values, guint64 n_rows, GError **error)
{
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *column = drift_table_add_column(table, name, DRIFT_CATEGORICAL);
  for (guint64 i = 0; i < n_rows; i++)
    if (values[i] == NULL || *values[i] == '\0')
      drift_column_append_missing(column);
    else
      drift_column_append_text(column, values[i], -1);
  const DriftColumn *const columns[] = {column};
  return drift_grouping_new(columns, 1, n_rows, error);
}

DriftGrouping *drift_grouping_privileged(const DriftGrouping *grouping, guint privileged)
{
  DriftGrouping *two = g_new0(DriftGrouping, 1);
  *two = (DriftGrouping){.n_rows = grouping->n_rows,
                         .group = g_new(guint32, grouping->n_rows + 1),
                         .n_groups = 2,
                         .names = g_new0(gchar *, 3),
                         .attribute = g_strdup(grouping->attribute),
                         .n_missing = grouping->n_missing};
  two->names[0] = g_strdup(grouping->names[privileged]);
  two->names[1] = g_strdup("(others)");
  for (guint64 i = 0; i < grouping->n_rows; i++)
    two->group[i] = grouping->group[i] == DRIFT_GROUP_NONE ? DRIFT_GROUP_NONE : grouping->group[i] != privileged;
  return two;
}

void drift_grouping_free(DriftGrouping *grouping)
{
  if (grouping == NULL) return;
  g_free(grouping->group);
  g_strfreev(grouping->names);
  g_free(grouping->attribute);
  g_free(grouping);
}

gint drift_grouping_find(const DriftGrouping *grouping, const gchar *name)
{
  for (guint i = 0; i < grouping->n_groups; i++)
    if (strcmp(grouping->names[i], name) == 0) return (gint)i;
  return -1;
}
