#include "pipeline/trainer_checkpoint.h"

#include <math.h>

#include "pipeline/safetensors.h"

#define MAX_HEADER_BYTES (1u << 20)
#define MAX_FILE_BYTES ((gsize)2 << 30)

/* The state's parts in file order: one list for writing and reading. */
static GArray *list_parts(PipelineFitState *state)
{
  gsize n = state->n_parameters;
  const struct {
    const gchar *name;
    float *data;
  } arrays[] = {
      {"parameters", state->parameters}, {"moment", state->moment}, {"square", state->square}, {"best", state->best}};
  GArray *parts = pipeline_safetensors_parts_new();
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) {
    PipelineSafetensorsPart part = {
        .name = g_strdup(arrays[i].name), .type = "F32", .element = sizeof(float), .count = n, .data = arrays[i].data};
    g_array_append_val(parts, part);
  }
  PipelineSafetensorsPart random = {.name = g_strdup("random"),
                                    .type = "U64",
                                    .element = sizeof(guint64),
                                    .count = G_N_ELEMENTS(state->random.state),
                                    .data = state->random.state};
  g_array_append_val(parts, random);
  return parts;
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

gboolean pipeline_checkpoint_write(const gchar *path, const PipelineFitState *state, const gchar *fingerprint,
                                   GError **error)
{
  PipelineFitState copy = *state; /* only pointed into */
  g_autoptr(GArray) parts = list_parts(&copy);
  return pipeline_safetensors_write(path, parts, metadata_of(state, fingerprint), error);
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

static gboolean decode(const gchar *path, const PipelineSafetensors *file, const gchar *fingerprint,
                       PipelineFitState *state, GError **error)
{
  const gchar *written = json_string_value(json_object_get(file->metadata, "fingerprint"));
  if (!written || !g_str_equal(written, fingerprint))
    return pipeline_safetensors_damaged(path, "it belongs to another training (data, options or architecture differ)",
                                        error);
  PipelineFitState read = *state;
  if (!read_metadata(file->metadata, &read))
    return pipeline_safetensors_damaged(path, "its metadata is damaged", error);
  g_autoptr(GArray) parts = list_parts(state);
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len);
  const PipelineSafetensorsPart *list = (const PipelineSafetensorsPart *)(gpointer)parts->data;
  if (!pipeline_safetensors_find(file, list, parts->len, sources))
    return pipeline_safetensors_damaged(path, "a tensor is missing or has another size", error);
  *state = read;
  pipeline_safetensors_copy(list, parts->len, sources);
  return TRUE;
}

gboolean pipeline_checkpoint_read(const gchar *path, PipelineFitState *state, const gchar *fingerprint, gboolean *found,
                                  GError **error)
{
  g_auto(PipelineSafetensors) file = {.contents = NULL};
  gboolean there;
  *found = FALSE;
  if (!pipeline_safetensors_read(path, MAX_HEADER_BYTES, MAX_FILE_BYTES, &file, &there, error)) return FALSE;
  if (!there) return TRUE;
  *found = decode(path, &file, fingerprint, state, error);
  return *found;
}
