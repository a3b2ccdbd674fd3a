#include "pipeline/trainer_checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>

#define MAX_HEADER_BYTES (1u << 20)
#define MAX_FILE_BYTES ((gsize)2 << 30)

/* The state's parts in file order: one table for writing and reading. */
typedef struct {
  const gchar *name, *type;
  gsize element, count;
  gpointer data;
} Part;

#define N_PARTS 5

static void list_parts(const PipelineFitState *state, Part parts[N_PARTS])
{
  gsize n = state->n_parameters;
  const Part list[N_PARTS] = {{"parameters", "F32", sizeof(float), n, state->parameters},
                              {"moment", "F32", sizeof(float), n, state->moment},
                              {"square", "F32", sizeof(float), n, state->square},
                              {"best", "F32", sizeof(float), n, state->best},
                              {"random", "U64", sizeof(guint64), 4, (gpointer)state->random.state}};
  memcpy(parts, list, sizeof list);
}

typedef struct {
  const gchar *name;
  gsize offset;
} Field;

static const Field real_fields[] = {{"best_loss", G_STRUCT_OFFSET(PipelineFitState, best_loss)},
                                    {"best_metric", G_STRUCT_OFFSET(PipelineFitState, best_metric)},
                                    {"first_loss", G_STRUCT_OFFSET(PipelineFitState, first_loss)},
                                    {"train_loss", G_STRUCT_OFFSET(PipelineFitState, train_loss)},
                                    {"validation_loss", G_STRUCT_OFFSET(PipelineFitState, validation_loss)},
                                    {"validation_metric", G_STRUCT_OFFSET(PipelineFitState, validation_metric)}};
static const Field count_fields[] = {{"epoch", G_STRUCT_OFFSET(PipelineFitState, epoch)},
                                     {"best_epoch", G_STRUCT_OFFSET(PipelineFitState, best_epoch)}};

static gboolean damaged(const gchar *path, const gchar *why, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "checkpoint %s: %s; remove it to train from the beginning",
              path, why);
  return FALSE;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static json_t *metadata_of(const PipelineFitState *state, const gchar *fingerprint)
{
  json_t *metadata = json_object();
  json_object_set_new(metadata, "format", json_string("kedge training 1"));
  json_object_set_new(metadata, "fingerprint", json_string(fingerprint));
  for (guint i = 0; i < G_N_ELEMENTS(real_fields); i++) {
    g_autofree gchar *text = g_strdup_printf("%a", G_STRUCT_MEMBER(double, state, real_fields[i].offset));
    json_object_set_new(metadata, real_fields[i].name, json_string(text));
  }
  for (guint i = 0; i < G_N_ELEMENTS(count_fields); i++) {
    g_autofree gchar *text = g_strdup_printf("%u", G_STRUCT_MEMBER(guint, state, count_fields[i].offset));
    json_object_set_new(metadata, count_fields[i].name, json_string(text));
  }
  g_autofree gchar *steps = g_strdup_printf("%" G_GUINT64_FORMAT, state->steps);
  json_object_set_new(metadata, "steps", json_string(steps));
  json_object_set_new(metadata, "finished", json_string(state->finished ? "1" : "0"));
  return metadata;
}

static GByteArray *encode(const PipelineFitState *state, const gchar *fingerprint)
{
  Part parts[N_PARTS];
  list_parts(state, parts);
  json_t *root = json_object();
  json_object_set_new(root, "__metadata__", metadata_of(state, fingerprint));
  gsize offset = 0;
  for (guint i = 0; i < N_PARTS; i++) {
    gsize end = offset + parts[i].count * parts[i].element;
    json_object_set_new(root, parts[i].name,
                        json_pack("{s:s, s:[I], s:[I,I]}", "dtype", parts[i].type, "shape", (json_int_t)parts[i].count,
                                  "data_offsets", (json_int_t)offset, (json_int_t)end));
    offset = end;
  }
  char *header = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  g_autofree gchar *padded =
      g_strdup_printf("%s%*s", header, (int)((8 - strlen(header) % 8) % 8), ""); /* aligned data */
  free(header);
  guint64 length = GUINT64_TO_LE(strlen(padded));
  GByteArray *bytes = g_byte_array_sized_new((guint)(8 + strlen(padded) + offset));
  g_byte_array_append(bytes, (const guint8 *)&length, 8);
  g_byte_array_append(bytes, (const guint8 *)padded, (guint)strlen(padded));
  for (guint i = 0; i < N_PARTS; i++)
    g_byte_array_append(bytes, parts[i].data, (guint)(parts[i].count * parts[i].element));
  return bytes;
}

gboolean pipeline_checkpoint_write(const gchar *path, const PipelineFitState *state, const gchar *fingerprint,
                                   GError **error)
{
  g_autoptr(GByteArray) bytes = encode(state, fingerprint);
  g_autoptr(GError) cause = NULL;
  if (g_file_set_contents_full(path, (const gchar *)bytes->data, bytes->len,
                               G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &cause))
    return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write the checkpoint %s: %s", path, cause->message);
  return FALSE;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean read_number(json_t *metadata, const gchar *name, double *number)
{
  const gchar *text = json_string_value(json_object_get(metadata, name));
  gchar *end = NULL;
  *number = text ? g_ascii_strtod(text, &end) : NAN;
  return text && *text && *end == '\0';
}

static gboolean read_metadata(json_t *metadata, PipelineFitState *state)
{
  double number;
  for (guint i = 0; i < G_N_ELEMENTS(real_fields); i++)
    if (!read_number(metadata, real_fields[i].name, &G_STRUCT_MEMBER(double, state, real_fields[i].offset)))
      return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(count_fields); i++) {
    if (!read_number(metadata, count_fields[i].name, &number) || !(number >= 0 && number <= G_MAXUINT)) return FALSE;
    G_STRUCT_MEMBER(guint, state, count_fields[i].offset) = (guint)number;
  }
  if (!read_number(metadata, "steps", &number) || !(number >= 0 && number < 0x1p53)) return FALSE;
  state->steps = (guint64)number;
  if (!read_number(metadata, "finished", &number)) return FALSE;
  state->finished = number != 0;
  return TRUE;
}

/* The bytes of a part, or NULL when the header does not give it the type and size wanted. */
static const gchar *find_part(json_t *root, const Part *part, const gchar *data, gsize length)
{
  json_t *entry = json_object_get(root, part->name), *offsets = json_object_get(entry, "data_offsets");
  const gchar *type = json_string_value(json_object_get(entry, "dtype"));
  if (!type || !g_str_equal(type, part->type) || json_array_size(offsets) != 2) return NULL;
  json_int_t start = json_integer_value(json_array_get(offsets, 0)),
             end = json_integer_value(json_array_get(offsets, 1));
  if (start < 0 || end < start || (gsize)end > length || (gsize)(end - start) != part->count * part->element)
    return NULL;
  return data + start;
}

static gboolean decode(const gchar *path, json_t *root, const gchar *data, gsize length, const gchar *fingerprint,
                       PipelineFitState *state, GError **error)
{
  json_t *metadata = json_object_get(root, "__metadata__");
  const gchar *written = json_string_value(json_object_get(metadata, "fingerprint"));
  if (!written || !g_str_equal(written, fingerprint))
    return damaged(path, "it belongs to another training (data, options or architecture differ)", error);
  PipelineFitState read = *state;
  if (!read_metadata(metadata, &read)) return damaged(path, "its metadata is damaged", error);
  Part parts[N_PARTS];
  const gchar *sources[N_PARTS];
  list_parts(&read, parts);
  for (guint i = 0; i < N_PARTS; i++) {
    sources[i] = find_part(root, &parts[i], data, length);
    if (!sources[i]) return damaged(path, "a tensor is missing or has another size", error);
  }
  *state = read;
  list_parts(state, parts); /* now those of *state: "random" lies inside it */
  for (guint i = 0; i < N_PARTS; i++) memcpy(parts[i].data, sources[i], parts[i].count * parts[i].element);
  return TRUE;
}

gboolean pipeline_checkpoint_read(const gchar *path, PipelineFitState *state, const gchar *fingerprint, gboolean *found,
                                  GError **error)
{
  g_autofree gchar *contents = NULL;
  gsize length = 0;
  g_autoptr(GError) cause = NULL;
  *found = FALSE;
  if (!g_file_get_contents(path, &contents, &length, &cause)) {
    if (g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT)) return TRUE;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot read the checkpoint %s: %s", path, cause->message);
    return FALSE;
  }
  guint64 header = 0;
  if (length >= 8) memcpy(&header, contents, 8);
  header = GUINT64_FROM_LE(header);
  if (length < 8 || length > MAX_FILE_BYTES || header > MAX_HEADER_BYTES || header > length - 8)
    return damaged(path, "it is no safetensors file", error);
  json_t *root = json_loadb(contents + 8, header, JSON_REJECT_DUPLICATES, NULL);
  if (!root) return damaged(path, "its header is no JSON", error);
  *found = decode(path, root, contents + 8 + header, length - 8 - header, fingerprint, state, error);
  json_decref(root);
  return *found;
}
