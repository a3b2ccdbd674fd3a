/* libFuzzer over the two readers of CSV: `make fuzz-csv`. The first byte chooses: a table (and its
 * column "a" as vectors), or a column as a stream. */
#include <math.h>

#include "daemon/number_stream.h"
#include "drift/profile.h"
#include "pipeline/csv.h"
#include "pipeline/embedding.h"
#include "tests/fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

/* Every cell is there, is what its column says, and has text within the dictionary. */
static void use_table(const DriftTable *table)
{
  for (guint c = 0; c < table->columns->len; c++) {
    const DriftColumn *column = g_ptr_array_index(table->columns, c);
    g_assert(g_utf8_validate(column->name, -1, NULL));
    g_assert((column->kind == DRIFT_NUMERIC ? column->numbers->len : column->codes->len) == table->n_rows);
    for (guint64 row = 0; row < table->n_rows; row++) {
      DriftValue value = drift_column_get_value(column, row);
      g_assert(value.kind == DRIFT_VALUE_MISSING ||
               (column->kind == DRIFT_NUMERIC) == (value.kind == DRIFT_VALUE_NUMBER));
      g_assert(value.kind != DRIFT_VALUE_TEXT || g_utf8_validate(value.text, value.length, NULL));
    }
  }
  g_autoptr(DriftProfile) profile = drift_profile_new(table, NULL);
  g_assert(profile != NULL && profile->n_rows == table->n_rows);
}

static void read_stream(const gchar *path, const gchar *column)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(NumberStream) stream = number_stream_open(path, column, &error);
  g_assert((stream == NULL) == (error != NULL));
  double value;
  while (stream != NULL && number_stream_next(stream, &value, &error)) g_assert(error == NULL);
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  if (size == 0) return 0;
  const gchar *path = fuzz_file(data + 1, size - 1);
  if (data[0] % 3 == 1) read_stream(path, NULL);
  if (data[0] % 3 == 2) read_stream(path, "a");
  if (data[0] % 3 != 0) return 0;
  g_autoptr(GError) error = NULL;
  g_autoptr(DriftTable) table = pipeline_csv_read(path, &error);
  g_assert((table == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  if (table == NULL) return 0;
  use_table(table);
  guint n_columns = table->columns->len;
  gboolean expanded = pipeline_embedding_expand(table, "a", "input", &error);
  g_assert(expanded == (error == NULL) && (expanded || table->columns->len == n_columns));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  use_table(table);
  return 0;
}
