/* libFuzzer over the reader of JSON lines: `make fuzz-json_lines`. */
#include "drift/profile.h"
#include "pipeline/json_lines.h"
#include "tests/fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = pipeline_json_lines_read(fuzz_file(data, size), &error);
  g_assert((table == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  if (table == NULL) return 0;
  for (guint c = 0; c < table->columns->len; c++) {
    const DriftColumn *column = g_ptr_array_index(table->columns, c);
    g_assert((column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len) == table->n_rows);
    g_assert(drift_table_get_column(table, column->name) == column); /* no name twice */
  }
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  g_assert(profile != NULL && profile->n_rows == table->n_rows);
  return 0;
}
