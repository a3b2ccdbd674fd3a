/* libFuzzer over the reader of profiles (`kedge profile --against`): `make fuzz-profile`. What reads is written, read
 * again the same, and a table is held against it. */
#include <stdlib.h>
#include <string.h>

#include "daemon/profile_json.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static DriftTable *make_table(void)
{
  DriftTable *table = drift_table_new();
  DriftColumn *a = drift_table_add_column(table, "a", DRIFT_NUMERIC);
  DriftColumn *b = drift_table_add_column(table, "b", DRIFT_CATEGORICAL);
  const gchar *const texts[] = {"x", "y", "1.0", ""};
  for (guint row = 0; row < 12; row++) {
    drift_column_append_number(a, row == 3 ? G_MAXDOUBLE : row / 2.0);
    if (row % 5 == 4)
      drift_column_append_missing(b);
    else
      drift_column_append_text(b, texts[row % G_N_ELEMENTS(texts)], -1);
  }
  table->n_rows = 12;
  return table;
}

static char *dump(const DriftProfile *profile)
{
  json_t *json = profile_to_json(profile);
  g_assert(json != NULL);
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(json);
  g_assert(text != NULL);
  return text;
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  static DriftTable *table;
  if (table == NULL) table = make_table();
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftProfile) profile = profile_from_text((const gchar *)data, size, &error);
  g_assert((profile == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  if (profile == NULL) return 0;
  char *text = dump(profile);
  g_autoptr(DriftProfile) again = profile_from_text(text, strlen(text), &error);
  g_assert_no_error(error);
  char *same = dump(again);
  g_assert(strcmp(text, same) == 0);
  free(text);
  free(same);
  g_autoptr(GPtrArray) violations = drift_profile_check(profile, table, &error);
  g_assert(violations != NULL);
  return 0;
}
