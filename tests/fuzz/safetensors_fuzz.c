/* libFuzzer over the reader of safetensors files: `make fuzz-safetensors`. What reads is asked for its own tensors and
 * for those of a checkpoint, copied, written and read again. */
#include <string.h>

#include "pipeline/safetensors.h"
#include "tests/fuzz/fuzz_file.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

#define MAX_HEADER 4096
#define MAX_FILE 16384

static gboolean read_file(const gchar *path, PipelineSafetensors *file)
{
  g_autoptr(GError) error = NULL;
  gboolean found = FALSE;
  gboolean done = pipeline_safetensors_read(path, MAX_HEADER, MAX_FILE, file, &found, &error);
  g_assert(done == (error == NULL));
  g_assert(error == NULL || g_utf8_validate(error->message, -1, NULL));
  return done && found;
}

/* What the header says of each tensor, believed as far as memory allows; memory of the size that is asked for. */
static GArray *parts_of(const PipelineSafetensors *file)
{
  static const gchar *const types[] = {"F32", "F64", "U64", "I64", "U8"};
  static const gsize elements[] = {4, 8, 8, 8, 1};
  GArray *parts = pipeline_safetensors_parts_new();
  const gchar *name;
  json_t *entry;
  json_object_foreach (file->root, name, entry) {
    const gchar *type = json_string_value(json_object_get(entry, "dtype"));
    json_t *offsets = json_object_get(entry, "data_offsets");
    gint64 start = json_integer_value(json_array_get(offsets, 0)), end = json_integer_value(json_array_get(offsets, 1));
    if (type == NULL || start < 0 || end < start || end > MAX_FILE) continue;
    gsize bytes = (gsize)(end - start);
    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
      if (!g_str_equal(type, types[i])) continue;
      const PipelineSafetensorsPart part = {.name = g_strdup(name),
                                            .type = types[i],
                                            .element = elements[i],
                                            .count = bytes / elements[i],
                                            .data = g_malloc0(bytes + 1)};
      g_array_append_val(parts, part);
    }
  }
  return parts;
}

static void write_again(const GArray *parts)
{
  static gchar *path = NULL;
  if (path == NULL) path = g_strdup_printf("/dev/shm/safetensors-fuzz-%d", (int)getpid());
  g_autoptr(GError) error = NULL;
  if (!pipeline_safetensors_write(path, parts, json_pack("{s:s}", "step", "1"), &error))
    g_error("what was read is not written: %s", error->message);
  g_auto(PipelineSafetensors) again = {.contents = NULL};
  gboolean found;
  if (!pipeline_safetensors_read(path, G_MAXSIZE / 2, G_MAXSIZE / 2, &again, &found, &error) || !found)
    g_error("what was written is not read: %s", error ? error->message : "not found");
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len + 1);
  if (!pipeline_safetensors_find(&again, (PipelineSafetensorsPart *)(gpointer)parts->data, parts->len, sources))
    g_error("a tensor is lost");
  for (guint i = 0; i < parts->len; i++) {
    const PipelineSafetensorsPart *part = &g_array_index(parts, PipelineSafetensorsPart, i);
    g_assert(part->count == 0 || memcmp(part->data, sources[i], part->count * part->element) == 0);
  }
  unlink(path);
}

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
  g_auto(PipelineSafetensors) file = {.contents = NULL};
  if (!read_file(fuzz_file(data, size), &file)) return 0;
  g_autoptr(GArray) parts = parts_of(&file);
  PipelineSafetensorsPart *list = (PipelineSafetensorsPart *)(gpointer)parts->data;
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len + 1);
  if (pipeline_safetensors_find(&file, list, parts->len, sources)) {
    pipeline_safetensors_copy(list, parts->len, sources);
    write_again(parts);
  }
  for (guint i = 0; i < parts->len; i++) g_free(list[i].data);
  return 0;
}
