/* A data set held against a profile, declared in drift/profile.h. */
#include <math.h>
#include <string.h>

#include "drift/profile_internal.h"

static const gchar *const names[DRIFT_N_VIOLATIONS] = {
    [DRIFT_VIOLATION_NO_COLUMN] = "no_column", [DRIFT_VIOLATION_NEW_COLUMN] = "new_column",
    [DRIFT_VIOLATION_TYPE] = "type",           [DRIFT_VIOLATION_NOT_WHOLE] = "not_whole",
    [DRIFT_VIOLATION_INFINITE] = "infinite",   [DRIFT_VIOLATION_RANGE] = "range",
    [DRIFT_VIOLATION_UNSEEN] = "unseen",       [DRIFT_VIOLATION_MISSING] = "missing",
    [DRIFT_VIOLATION_CONSTANT] = "constant",   [DRIFT_VIOLATION_DUPLICATES] = "duplicates"};

const gchar *drift_violation_name(DriftViolationKind kind)
{
  return names[kind];
}

static void violation_free(gpointer data)
{
  DriftViolation *violation = data;
  g_free(violation->column);
  g_free(violation->example);
  g_free(violation);
}

/* What was counted in one column. */
typedef struct {
  guint64 count;
  gint64 row;
  gchar *example;
} Finding;

static void note(Finding *finding, guint64 row, const DriftValue *value)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  if (finding->count++ > 0) return;
  const gchar *text = drift_value_to_text(value, buffer, &length);
  finding->row = (gint64)row;
  finding->example = text != NULL ? g_strndup(text, length) : NULL;
}

GPtrArray *drift_profile_violations_new(void)
{
  return g_ptr_array_new_with_free_func(violation_free);
}

void drift_profile_add_violation(GPtrArray *violations, DriftViolationKind kind, const gchar *column, guint64 count,
                                 gint64 row, gchar *example)
{
  DriftViolation *violation = g_new(DriftViolation, 1);
  *violation = (DriftViolation){kind, g_strdup(column), count, row, example};
  g_ptr_array_add(violations, violation);
}

/* Takes the finding's example. */
static void add(GPtrArray *violations, DriftViolationKind kind, const gchar *column, const Finding *finding)
{
  drift_profile_add_violation(violations, kind, column, finding->count, finding->row, finding->example);
}

static void check_number(const DriftColumnProfile *profile, const DriftValue *value, double number, guint64 row,
                         Finding *findings)
{
  if (isinf(number)) {
    if (profile->n_infinite == 0) note(&findings[DRIFT_VIOLATION_INFINITE], row, value);
  } else if (profile->whole && number != floor(number)) {
    note(&findings[DRIFT_VIOLATION_NOT_WHOLE], row, value);
  }
  if (number < profile->minimum || number > profile->maximum) note(&findings[DRIFT_VIOLATION_RANGE], row, value);
}

GHashTable *drift_profile_category_set(const DriftColumnProfile *profile)
{
  GHashTable *set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < profile->categories->len; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length;
    const DriftValue value = drift_value_text(((DriftProfileCategory *)profile->categories->pdata[i])->text, -1);
    const gchar *text = drift_value_to_text(&value, buffer, &length);
    if (text != NULL) g_hash_table_add(set, g_strndup(text, length));
  }
  return set;
}

static void check_category(const DriftColumnProfile *profile, GHashTable *set, const DriftValue *value, guint64 row,
                           Finding *findings)
{
  gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
  gsize length;
  const gchar *text = drift_value_to_text(value, buffer, &length);
  g_autofree gchar *category = g_strndup(text, length);
  if (!profile->open && !g_hash_table_contains(set, category)) note(&findings[DRIFT_VIOLATION_UNSEEN], row, value);
}

static void check_column(const DriftColumnProfile *profile, const DriftColumn *column, guint64 n_rows,
                         GPtrArray *violations)
{
  Finding findings[DRIFT_N_VIOLATIONS] = {{0, 0, NULL}};
  g_autoptr(GHashTable) set = drift_profile_category_set(profile);
  guint64 missing = 0;
  gboolean several = FALSE;
  DriftValue first = drift_value_missing();
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    double number;
    if (value.kind == DRIFT_VALUE_MISSING) {
      missing++;
      continue;
    }
    if (first.kind == DRIFT_VALUE_MISSING)
      first = value;
    else if (!several)
      several = value.kind == DRIFT_VALUE_NUMBER
                    ? value.number != first.number
                    : value.length != first.length || memcmp(value.text, first.text, value.length) != 0;
    if (profile->kind == DRIFT_CATEGORICAL)
      check_category(profile, set, &value, row, findings);
    else if (drift_value_to_number(&value, &number))
      check_number(profile, &value, number, row, findings);
    else
      note(&findings[DRIFT_VIOLATION_TYPE], row, &value);
  }
  if (n_rows > 0 && (double)missing / (double)n_rows > profile->missing_limit)
    findings[DRIFT_VIOLATION_MISSING] = (Finding){missing, -1, NULL};
  /* Ten values that are all the same say something, one does not. */
  if (!several && profile->n_distinct > 1 && n_rows - missing >= 10) {
    note(&findings[DRIFT_VIOLATION_CONSTANT], 0, &first);
    findings[DRIFT_VIOLATION_CONSTANT].count = n_rows - missing;
  }
  for (guint kind = 0; kind < DRIFT_N_VIOLATIONS; kind++)
    if (findings[kind].count > 0) add(violations, (DriftViolationKind)kind, profile->name, &findings[kind]);
}

static gboolean has_column(const DriftProfile *profile, const gchar *name)
{
  for (guint i = 0; i < profile->columns->len; i++)
    if (strcmp(((DriftColumnProfile *)profile->columns->pdata[i])->name, name) == 0) return TRUE;
  return FALSE;
}

GPtrArray *drift_profile_check(const DriftProfile *profile, const DriftTable *table, GError **error)
{
  const Finding whole_column = {table->n_rows, -1, NULL};
  Finding duplicates = {0, -1, NULL};
  if (!drift_table_count_duplicates(table, &duplicates.count, &duplicates.row, error)) return NULL;
  GPtrArray *violations = drift_profile_violations_new();
  for (guint i = 0; i < profile->columns->len; i++) {
    const DriftColumnProfile *expected = profile->columns->pdata[i];
    const DriftColumn *column = drift_table_get_column(table, expected->name);
    if (column == NULL)
      add(violations, DRIFT_VIOLATION_NO_COLUMN, expected->name, &whole_column);
    else
      check_column(expected, column, table->n_rows, violations);
  }
  for (guint i = 0; i < table->columns->len; i++) {
    const gchar *name = ((const DriftColumn *)table->columns->pdata[i])->name;
    if (!has_column(profile, name)) add(violations, DRIFT_VIOLATION_NEW_COLUMN, name, &whole_column);
  }
  if (table->n_rows > 0 && (double)duplicates.count / (double)table->n_rows > profile->duplicate_limit)
    add(violations, DRIFT_VIOLATION_DUPLICATES, NULL, &duplicates);
  return violations;
}
