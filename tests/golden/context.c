/* The state of one case: data read, comparisons made, what failed. */
#include "tests/golden/golden.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef struct {
  gchar **names;
  GPtrArray *rows; /* of GStrv */
} Sheet;

struct _GoldenContext {
  gchar *folder;
  GHashTable *sheets;          /* path -> Sheet, kept over cases */
  GPtrArray *borrowed;         /* what the case may still look at */
  GHashTable *seen;            /* "object/key" */
  GPtrArray *failures, *notes; /* of gchar* */
  const json_t *tolerance;
  double loosest; /* no relative tolerance is smaller */
  gboolean informative;
};

static void sheet_free(gpointer data)
{
  Sheet *sheet = data;
  g_strfreev(sheet->names);
  g_ptr_array_unref(sheet->rows);
  g_free(sheet);
}

GoldenContext *golden_context_new(const gchar *folder)
{
  GoldenContext *context = g_new0(GoldenContext, 1);
  context->folder = g_strdup(folder);
  context->sheets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, sheet_free);
  context->borrowed = g_ptr_array_new_with_free_func(g_free);
  context->seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  context->failures = g_ptr_array_new_with_free_func(g_free);
  context->notes = g_ptr_array_new_with_free_func(g_free);
  return context;
}

void golden_context_free(GoldenContext *context)
{
  g_free(context->folder);
  g_hash_table_unref(context->sheets);
  g_ptr_array_unref(context->borrowed);
  g_hash_table_unref(context->seen);
  g_ptr_array_unref(context->failures);
  g_ptr_array_unref(context->notes);
  g_free(context);
}

void golden_context_begin(GoldenContext *context, const json_t *golden_case)
{
  g_ptr_array_set_size(context->borrowed, 0);
  g_hash_table_remove_all(context->seen);
  g_ptr_array_set_size(context->failures, 0);
  g_ptr_array_set_size(context->notes, 0);
  context->tolerance = json_object_get(golden_case, "tolerance");
  context->informative = FALSE;
  context->loosest = 0;
}

void golden_fail(GoldenContext *context, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_ptr_array_add(context->failures, g_strdup_vprintf(format, arguments));
  va_end(arguments);
}

void golden_note(GoldenContext *context, const gchar *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  g_ptr_array_add(context->notes, g_strdup_vprintf(format, arguments));
  va_end(arguments);
}

void golden_informative_case(GoldenContext *context)
{
  context->informative = TRUE;
}

gboolean golden_context_is_informative(const GoldenContext *context)
{
  return context->informative;
}

const GPtrArray *golden_context_get_failures(const GoldenContext *context)
{
  return context->failures;
}

const GPtrArray *golden_context_get_notes(const GoldenContext *context)
{
  return context->notes;
}

void golden_loosen(GoldenContext *context, double relative)
{
  context->loosest = relative;
}

double golden_tolerance(const GoldenContext *context, const gchar *key)
{
  const json_t *value = json_object_get(context->tolerance, key);
  return json_is_number(value) ? json_number_value(value) : 0;
}

/* --- data --------------------------------------------------------------------------------------------------------- */

/* The golden files have no quotes, and no commas or newlines in cells. */
static const Sheet *load_sheet(GoldenContext *context, const gchar *path)
{
  Sheet *sheet = g_hash_table_lookup(context->sheets, path);
  if (sheet != NULL) return sheet;
  g_autofree gchar *file = g_build_filename(context->folder, path, NULL), *text = NULL;
  g_autoptr(GError) error = NULL;
  if (!g_file_get_contents(file, &text, NULL, &error)) {
    golden_fail(context, "%s", error->message);
    return NULL;
  }
  g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
  sheet = g_new0(Sheet, 1);
  sheet->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
  sheet->names = g_strsplit(lines[0] != NULL ? g_strchomp(lines[0]) : "", ",", -1);
  for (guint i = 1; lines[0] != NULL && lines[i] != NULL; i++) {
    if (lines[i + 1] == NULL && *lines[i] == '\0') break;
    g_ptr_array_add(sheet->rows, g_strsplit(g_strdelimit(lines[i], "\r", '\0'), ",", -1));
  }
  g_hash_table_insert(context->sheets, g_strdup(path), sheet);
  return sheet;
}

const gchar *const *golden_column_names(GoldenContext *context, const gchar *path)
{
  static const gchar *const none[] = {NULL};
  const Sheet *sheet = load_sheet(context, path);
  return sheet != NULL ? (const gchar *const *)sheet->names : none;
}

const gchar *const *golden_column_text(GoldenContext *context, const gchar *path, const gchar *column, gsize *n)
{
  *n = 0;
  const Sheet *sheet = load_sheet(context, path);
  if (sheet == NULL) return NULL;
  guint index = 0;
  while (sheet->names[index] != NULL && strcmp(sheet->names[index], column) != 0) index++;
  if (sheet->names[index] == NULL) {
    golden_fail(context, "%s has no column \"%s\"", path, column);
    return NULL;
  }
  const gchar **cells = g_new(const gchar *, sheet->rows->len + 1);
  for (guint i = 0; i < sheet->rows->len; i++) {
    gchar **row = sheet->rows->pdata[i];
    cells[i] = g_strv_length(row) > index ? row[index] : "";
  }
  g_ptr_array_add(context->borrowed, cells);
  *n = sheet->rows->len;
  return cells;
}

const double *golden_column(GoldenContext *context, const gchar *path, const gchar *column, gsize *n)
{
  const gchar *const *cells = golden_column_text(context, path, column, n);
  if (cells == NULL) return NULL;
  double *numbers = g_new(double, *n + 1);
  g_ptr_array_add(context->borrowed, numbers);
  for (gsize i = 0; i < *n; i++) {
    gchar *end = NULL;
    numbers[i] = *cells[i] == '\0' ? NAN : g_ascii_strtod(cells[i], &end);
    if (end == NULL || *end == '\0') continue;
    golden_fail(context, "%s: column \"%s\": \"%s\" is not a number", path, column, cells[i]);
    *n = 0;
    return NULL;
  }
  return numbers;
}

static const gchar *input_text(const json_t *golden_case, const gchar *key)
{
  return json_string_value(json_object_get(json_object_get(golden_case, "inputs"), key));
}

const double *golden_input(GoldenContext *context, const json_t *golden_case, const gchar *role, gsize *n)
{
  return golden_column(context, input_text(golden_case, role), input_text(golden_case, "column"), n);
}

const gchar *const *golden_input_text(GoldenContext *context, const json_t *golden_case, const gchar *role, gsize *n)
{
  return golden_column_text(context, input_text(golden_case, role), input_text(golden_case, "column"), n);
}

/* Numbers and the three texts that stand for them; FALSE: neither. */
static gboolean number_of(const json_t *value, double *number)
{
  const gchar *text = json_string_value(value);
  if (json_is_number(value))
    *number = json_number_value(value);
  else if (g_strcmp0(text, "nan") == 0)
    *number = NAN;
  else if (g_strcmp0(text, "inf") == 0)
    *number = INFINITY;
  else if (g_strcmp0(text, "-inf") == 0)
    *number = -INFINITY;
  else
    return FALSE;
  return TRUE;
}

const double *golden_numbers(GoldenContext *context, const json_t *list, gsize *n)
{
  *n = json_array_size(list);
  double *numbers = g_new(double, *n + 1);
  g_ptr_array_add(context->borrowed, numbers);
  for (gsize i = 0; i < *n; i++)
    if (!number_of(json_array_get(list, i), &numbers[i])) numbers[i] = NAN;
  return numbers;
}

/* --- comparisons -------------------------------------------------------------------------------------------------- */

void golden_seen(GoldenContext *context, const json_t *object, const gchar *key)
{
  g_hash_table_add(context->seen, g_strdup_printf("%p/%s", (const void *)object, key));
}

void golden_informative(GoldenContext *context, const json_t *object, const gchar *key)
{
  golden_seen(context, object, key);
}

static gboolean within(double value, double expected, double relative, double absolute)
{
  if (isnan(expected)) return isnan(value);
  if (isinf(expected) || isinf(value)) return value == expected;
  return fabs(value - expected) <= absolute + relative * fabs(expected);
}

static gboolean compare_number(GoldenContext *context, const gchar *name, const json_t *expected, double value,
                               double relative, double absolute)
{
  double number = NAN; /* an error of the reference library: undefined */
  gboolean is_number = number_of(expected, &number);
  if (!is_number && !(json_is_object(expected) && json_object_get(expected, "error") != NULL)) {
    golden_fail(context, "%s: expected is neither a number nor an error", name);
    return FALSE;
  }
  relative = MAX(relative, context->loosest);
  if (within(value, number, relative, absolute)) return TRUE;
  golden_fail(context, "%s: %.17g, expected %.17g (rel %.2g, allowed rel %g abs %g)", name, value, number,
              fabs(value - number) / fabs(number), relative, absolute);
  return FALSE;
}

gboolean golden_compare_within(GoldenContext *context, const json_t *object, const gchar *key, double value,
                               const gchar *relative_key, const gchar *absolute_key)
{
  const json_t *expected = json_object_get(object, key);
  if (expected == NULL || json_is_null(expected)) return TRUE;
  golden_seen(context, object, key);
  return compare_number(context, key, expected, value, golden_tolerance(context, relative_key),
                        golden_tolerance(context, absolute_key));
}

gboolean golden_compare(GoldenContext *context, const json_t *object, const gchar *key, double value)
{
  return golden_compare_within(context, object, key, value, "rel", "abs");
}

gboolean golden_compare_list(GoldenContext *context, const json_t *object, const gchar *key, const double *values,
                             gsize n)
{
  const json_t *expected = json_object_get(object, key);
  if (expected == NULL || json_is_null(expected)) return TRUE;
  golden_seen(context, object, key);
  if (json_array_size(expected) != n) {
    golden_fail(context, "%s: %zu values, expected %zu", key, n, json_array_size(expected));
    return FALSE;
  }
  gboolean equal = TRUE;
  for (gsize i = 0; i < n; i++) {
    const json_t *item = json_array_get(expected, i);
    if (json_is_null(item)) continue;
    g_autofree gchar *name = g_strdup_printf("%s[%zu]", key, i);
    equal &= compare_number(context, name, item, values[i], golden_tolerance(context, "rel"),
                            golden_tolerance(context, "abs"));
  }
  return equal;
}

gboolean golden_compare_boolean(GoldenContext *context, const json_t *object, const gchar *key, gboolean value)
{
  const json_t *expected = json_object_get(object, key);
  if (expected == NULL || json_is_null(expected)) return TRUE;
  golden_seen(context, object, key);
  if (json_is_boolean(expected) && json_is_true(expected) == (value != FALSE)) return TRUE;
  golden_fail(context, "%s: %s, expected otherwise", key, value ? "true" : "false");
  return FALSE;
}

gboolean golden_compare_text(GoldenContext *context, const json_t *object, const gchar *key, const gchar *value)
{
  const json_t *expected = json_object_get(object, key);
  if (expected == NULL || json_is_null(expected)) return TRUE;
  golden_seen(context, object, key);
  if (g_strcmp0(json_string_value(expected), value) == 0) return TRUE;
  golden_fail(context, "%s: \"%s\", expected \"%s\"", key, value, json_string_value(expected));
  return FALSE;
}

static void check_seen(GoldenContext *context, const gchar *path, const json_t *object)
{
  const gchar *key;
  json_t *value;
  json_object_foreach ((json_t *)object, key, value) {
    g_autofree gchar *name = g_strdup_printf("%p/%s", (const void *)object, key);
    if (json_is_null(value) || g_hash_table_contains(context->seen, name)) continue;
    g_autofree gchar *below = g_strdup_printf("%s.%s", path, key);
    if (json_is_object(value))
      check_seen(context, below, value);
    else
      golden_fail(context, "%s: expected, but never compared", below);
  }
}

void golden_context_check_seen(GoldenContext *context, const json_t *golden_case)
{
  check_seen(context, "expected", json_object_get(golden_case, "expected"));
}
