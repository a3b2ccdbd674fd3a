/* libFuzzer over the reader of .npz archives: `make fuzz-npz`. */
#include "pipeline/npz.h"
#include "tests/fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelineNpz) npz = pipeline_npz_open(fuzz_file(data, size), &error);
  g_assert((npz == NULL) == (error != NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  for (guint i = 0; npz != NULL && i < pipeline_npz_get_n_arrays(npz); i++) {
    g_autoptr(GError) cause = NULL;
    g_autoptr(PipelineArray) array = pipeline_npz_read(npz, pipeline_npz_get_name(npz, i), &cause);
    g_assert((array == NULL) == (cause != NULL));
    g_assert(cause == NULL || g_utf8_validate(cause->message, -1, NULL));
  }
  return 0;
}
