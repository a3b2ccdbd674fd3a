/* libFuzzer over the reader of .npy files: `make fuzz-npy`. */
#include <math.h>

#include "pipeline/npy.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineArray) array = pipeline_npy_parse(data, size, "input", &error);
  g_assert((array == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  if (array == NULL) return 0;
  g_assert(array->n_rows * array->n_columns <= size);
  guint64 n_missing = 0, n = array->n_rows * array->n_columns;
  for (guint64 i = 0; i < n; i++) n_missing += isnan(array->values[i]) != 0;
  g_assert(n_missing <= n);
  return 0;
}
