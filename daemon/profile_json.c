#include "daemon/profile_json.h"

#include <math.h>
#include <string.h>

#include "pipeline/error.h"

#define FORMAT_VERSION 1
#define MAX_TEXT_BYTES ((gsize)64 << 20)

/* Infinite ends of a range are kept as texts; NaN is null. */
static json_t *number_to_json(double value)
{
  if (isnan(value)) return json_null();
  return isinf(value) ? json_string(value > 0 ? "inf" : "-inf") : json_real(value);
}

static json_t *count_to_json(guint64 count)
{
  return json_integer((json_int_t)count);
}

static void describe_numbers(const DriftColumnProfile *column, json_t *json)
{
  json_object_set_new(json, "whole", json_boolean(column->whole));
  json_object_set_new(json, "infinite", count_to_json(column->n_infinite));
  json_object_set_new(json, "minimum", number_to_json(column->minimum));
  json_object_set_new(json, "maximum", number_to_json(column->maximum));
  json_object_set_new(json, "mean", number_to_json(column->mean));
  json_object_set_new(json, "deviation", number_to_json(column->deviation));
  json_t *quartiles = json_array();
  for (guint q = 0; q < 3; q++) json_array_append_new(quartiles, number_to_json(column->quartiles[q]));
  json_object_set_new(json, "quartiles", quartiles);
}

static void describe_categories(const DriftColumnProfile *column, json_t *json)
{
  json_t *categories = json_object();
  for (guint i = 0; i < column->categories->len; i++) {
    const DriftProfileCategory *category = column->categories->pdata[i];
    json_object_set_new(categories, category->text, count_to_json(category->count));
  }
  json_object_set_new(json, "open", json_boolean(column->open));
  json_object_set_new(json, "categories", categories);
}

json_t *profile_to_json(const DriftProfile *profile)
{
  json_t *columns = json_array();
  for (guint i = 0; i < profile->columns->len; i++) {
    const DriftColumnProfile *column = profile->columns->pdata[i];
    json_t *json = json_object();
    json_object_set_new(json, "name", json_string(column->name));
    json_object_set_new(json, "type", json_string(column->kind == DRIFT_NUMERIC ? "numeric" : "categorical"));
    json_object_set_new(json, "values", count_to_json(column->n));
    json_object_set_new(json, "missing", count_to_json(column->n_missing));
    json_object_set_new(json, "missing_limit", json_real(column->missing_limit));
    json_object_set_new(json, "distinct", count_to_json(column->n_distinct));
    json_object_set_new(json, "constant", json_boolean(column->n_distinct == 1));
    if (column->kind == DRIFT_NUMERIC)
      describe_numbers(column, json);
    else
      describe_categories(column, json);
    json_array_append_new(columns, json);
  }
  return json_pack("{s:i, s:I, s:I, s:f, s:o}", "profile_version", FORMAT_VERSION, "rows", (json_int_t)profile->n_rows,
                   "duplicates", (json_int_t)profile->n_duplicates, "duplicate_limit", profile->duplicate_limit,
                   "columns", columns);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const json_t *object;
  const gchar *where; /* for messages */
  GError **error;
  gboolean failed;
} Reader;

static void fail(Reader *reader, const gchar *key, const gchar *what)
{
  if (!reader->failed)
    g_set_error(reader->error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: \"%s\" is not %s", reader->where, key, what);
  reader->failed = TRUE;
}

static guint64 read_count(Reader *reader, const gchar *key)
{
  const json_t *value = json_object_get(reader->object, key);
  if (!json_is_integer(value) || json_integer_value(value) < 0) fail(reader, key, "a count");
  return reader->failed ? 0 : (guint64)json_integer_value(value);
}

static gboolean read_boolean(Reader *reader, const gchar *key)
{
  const json_t *value = json_object_get(reader->object, key);
  if (!json_is_boolean(value)) fail(reader, key, "true or false");
  return json_is_true(value);
}

/* null: NaN. */
static double read_number(Reader *reader, const gchar *key, const json_t *value)
{
  const gchar *text = json_string_value(value);
  if (json_is_number(value)) return json_number_value(value);
  if (json_is_null(value)) return NAN;
  if (g_strcmp0(text, "inf") == 0) return INFINITY;
  if (g_strcmp0(text, "-inf") == 0) return -INFINITY;
  fail(reader, key, "a number");
  return NAN;
}

static double read_share(Reader *reader, const gchar *key)
{
  double share = read_number(reader, key, json_object_get(reader->object, key));
  if (!(share >= 0 && share <= 1)) fail(reader, key, "a share from 0 to 1");
  return share;
}

static void read_numeric(Reader *reader, DriftColumnProfile *column)
{
  static const gchar *const keys[] = {"minimum", "maximum", "mean", "deviation"};
  double *const values[] = {&column->minimum, &column->maximum, &column->mean, &column->deviation};
  for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
    *values[i] = read_number(reader, keys[i], json_object_get(reader->object, keys[i]));
  column->whole = read_boolean(reader, "whole");
  column->n_infinite = read_count(reader, "infinite");
  const json_t *quartiles = json_object_get(reader->object, "quartiles");
  if (json_array_size(quartiles) != 3) fail(reader, "quartiles", "a list of three numbers");
  for (guint q = 0; q < 3 && !reader->failed; q++)
    column->quartiles[q] = read_number(reader, "quartiles", json_array_get(quartiles, q));
}

static void read_categorical(Reader *reader, DriftColumnProfile *column)
{
  json_t *categories = json_object_get(reader->object, "categories"), *count;
  const gchar *text;
  column->open = read_boolean(reader, "open");
  if (!json_is_object(categories)) fail(reader, "categories", "an object of counts by category");
  json_object_foreach (categories, text, count) {
    if (!json_is_integer(count) || json_integer_value(count) < 0)
      fail(reader, text, "a count");
    else
      drift_profile_add_category(column, text, (guint64)json_integer_value(count));
  }
}

static gboolean read_column(const json_t *json, gsize index, DriftProfile *profile, GError **error)
{
  const gchar *name = json_string_value(json_object_get(json, "name"));
  const gchar *type = json_string_value(json_object_get(json, "type"));
  g_autofree gchar *where =
      name != NULL ? g_strdup_printf("column \"%s\"", name) : g_strdup_printf("columns[%zu]", index);
  Reader reader = {json, where, error, FALSE};
  gboolean numeric = g_strcmp0(type, "numeric") == 0;
  if (name == NULL) fail(&reader, "name", "a text");
  if (!numeric && g_strcmp0(type, "categorical") != 0) fail(&reader, "type", "\"numeric\" or \"categorical\"");
  if (reader.failed) return FALSE;
  DriftColumnProfile *column = drift_profile_add_column(profile, name, numeric ? DRIFT_NUMERIC : DRIFT_CATEGORICAL);
  column->n = read_count(&reader, "values");
  column->n_missing = read_count(&reader, "missing");
  column->n_distinct = read_count(&reader, "distinct");
  column->missing_limit = read_share(&reader, "missing_limit");
  if (numeric)
    read_numeric(&reader, column);
  else
    read_categorical(&reader, column);
  return !reader.failed;
}

DriftProfile *profile_from_json(const json_t *json, GError **error)
{
  const json_t *columns = json_object_get(json, "columns");
  Reader reader = {json, "the profile", error, FALSE};
  g_autoptr(DriftProfile) profile = drift_profile_new_empty();
  if (json_integer_value(json_object_get(json, "profile_version")) != FORMAT_VERSION)
    fail(&reader, "profile_version", "1 (the version of the format)");
  profile->n_rows = read_count(&reader, "rows");
  profile->n_duplicates = read_count(&reader, "duplicates");
  profile->duplicate_limit = read_share(&reader, "duplicate_limit");
  if (!json_is_array(columns)) fail(&reader, "columns", "a list");
  for (gsize i = 0; i < json_array_size(columns) && !reader.failed; i++)
    reader.failed = !read_column(json_array_get(columns, i), i, profile, error);
  return reader.failed ? NULL : g_steal_pointer(&profile);
}

DriftProfile *profile_from_text(const gchar *text, gsize length, GError **error)
{
  if (length > MAX_TEXT_BYTES) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "larger than 64 MiB; is it a profile?");
    return NULL;
  }
  json_error_t problem;
  json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
  if (json == NULL) {
    g_autofree gchar *what = g_utf8_make_valid(problem.text, -1); /* jansson cuts what it quotes within a letter */
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%d:%d: %s", problem.line, problem.column, what);
    return NULL;
  }
  DriftProfile *profile = profile_from_json(json, error);
  json_decref(json);
  return profile;
}
