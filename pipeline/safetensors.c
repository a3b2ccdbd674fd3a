#include "pipeline/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void part_clear(gpointer data)
{
  g_free(((PipelineSafetensorsPart *)data)->name);
}

GArray *pipeline_safetensors_parts_new(void)
{
  GArray *parts = g_array_new(FALSE, FALSE, sizeof(PipelineSafetensorsPart));
  g_array_set_clear_func(parts, part_clear);
  return parts;
}

gboolean pipeline_safetensors_damaged(const gchar *path, const gchar *why, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "checkpoint %s: %s; remove it to train from the beginning",
              path, why);
  return FALSE;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static json_t *shape_of(const PipelineSafetensorsPart *part)
{
  json_t *shape = json_array();
  for (guint d = 0; d < part->n_dims; d++) json_array_append_new(shape, json_integer((json_int_t)part->dims[d]));
  if (part->n_dims == 0) json_array_append_new(shape, json_integer((json_int_t)part->count));
  return shape;
}

/* New: the header, padded so that the data are aligned. *total: bytes of data. */
static gchar *make_header(const GArray *parts, json_t *metadata, gsize *total)
{
  json_t *root = json_object();
  gsize offset = 0;
  json_object_set_new(root, "__metadata__", metadata);
  for (guint i = 0; i < parts->len; i++) {
    const PipelineSafetensorsPart *part = &g_array_index(parts, PipelineSafetensorsPart, i);
    gsize end = offset + part->count * part->element;
    json_object_set_new(root, part->name,
                        json_pack("{s:s, s:o, s:[I,I]}", "dtype", part->type, "shape", shape_of(part), "data_offsets",
                                  (json_int_t)offset, (json_int_t)end));
    offset = end;
  }
  char *header = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  gchar *padded = g_strdup_printf("%s%*s", header, (int)((8 - strlen(header) % 8) % 8), "");
  free(header);
  *total = offset;
  return padded;
}

gboolean pipeline_safetensors_write(const gchar *path, const GArray *parts, json_t *metadata, GError **error)
{
  gsize total;
  g_autofree gchar *header = make_header(parts, metadata, &total);
  guint64 length = GUINT64_TO_LE(strlen(header));
  g_autoptr(GString) bytes = g_string_sized_new(8 + strlen(header) + total); /* GByteArray ends at 4 GiB */
  g_string_append_len(bytes, (const gchar *)&length, 8);
  g_string_append(bytes, header);
  for (guint i = 0; i < parts->len; i++) {
    const PipelineSafetensorsPart *part = &g_array_index(parts, PipelineSafetensorsPart, i);
    if (part->count > 0) g_string_append_len(bytes, part->data, (gssize)(part->count * part->element));
  }
  g_autoptr(GError) cause = NULL;
  if (g_file_set_contents_full(path, bytes->str, (gssize)bytes->len,
                               G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &cause))
    return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write the checkpoint %s: %s", path, cause->message);
  return FALSE;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

void pipeline_safetensors_clear(PipelineSafetensors *file)
{
  json_decref(file->root);
  g_free(file->contents);
  *file = (PipelineSafetensors){.contents = NULL};
}

gboolean pipeline_safetensors_read(const gchar *path, gsize max_header, gsize max_file, PipelineSafetensors *file,
                                   gboolean *found, GError **error)
{
  g_auto(PipelineSafetensors) read = {.contents = NULL};
  g_autoptr(GError) cause = NULL;
  gsize length = 0;
  *found = FALSE;
  if (!g_file_get_contents(path, &read.contents, &length, &cause)) {
    if (g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT)) return TRUE;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot read the checkpoint %s: %s", path, cause->message);
    return FALSE;
  }
  guint64 header = 0;
  if (length >= 8) memcpy(&header, read.contents, 8);
  header = GUINT64_FROM_LE(header);
  if (length < 8 || length > max_file || header > max_header || header > length - 8)
    return pipeline_safetensors_damaged(path, "it is no safetensors file", error);
  read.root = json_loadb(read.contents + 8, header, JSON_REJECT_DUPLICATES, NULL);
  if (read.root == NULL) return pipeline_safetensors_damaged(path, "its header is no JSON", error);
  read.metadata = json_object_get(read.root, "__metadata__");
  read.data = read.contents + 8 + header;
  read.length = length - 8 - header;
  *file = read;
  read = (PipelineSafetensors){.contents = NULL};
  *found = TRUE;
  return TRUE;
}

static const gchar *find_part(const PipelineSafetensors *file, const PipelineSafetensorsPart *part)
{
  json_t *entry = json_object_get(file->root, part->name), *offsets = json_object_get(entry, "data_offsets");
  const gchar *type = json_string_value(json_object_get(entry, "dtype"));
  if (type == NULL || !g_str_equal(type, part->type) || json_array_size(offsets) != 2) return NULL;
  json_int_t start = json_integer_value(json_array_get(offsets, 0)),
             end = json_integer_value(json_array_get(offsets, 1));
  if (start < 0 || end < start || (gsize)end > file->length || (gsize)(end - start) != part->count * part->element)
    return NULL;
  return file->data + start;
}

gboolean pipeline_safetensors_find(const PipelineSafetensors *file, const PipelineSafetensorsPart *parts, guint n,
                                   const gchar **sources)
{
  gboolean whole = TRUE;
  for (guint i = 0; i < n; i++) {
    sources[i] = find_part(file, &parts[i]);
    whole = whole && sources[i] != NULL;
  }
  return whole;
}

void pipeline_safetensors_copy(const PipelineSafetensorsPart *parts, guint n, const gchar *const *sources)
{
  for (guint i = 0; i < n; i++)
    if (parts[i].count > 0) memcpy(parts[i].data, sources[i], parts[i].count * parts[i].element);
}
