#include "pipeline/graph_checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <gnu/libc-version.h>
#include <jansson.h>

#define FORMAT "kedge graph training 1"
#define MAX_HEADER_BYTES (16u << 20)
#define MAX_FILE_BYTES ((gsize)8 << 30)

gchar *pipeline_checkpoint_environment(const PipelineGradientBackend *backend)
{
  g_autofree gchar *computes = backend->describe != NULL ? backend->describe() : g_strdup(backend->name);
  return g_strdup_printf("threads 1, backend %s, libm %s, kedge %s", computes, gnu_get_libc_version(), KEDGE_VERSION);
}

/* --- the parts in file order: one list for writing and reading ------------------------------------------------------
 */

typedef struct {
  gchar *name; /* owned */
  const gchar *type;
  gsize element, count;
  gpointer data;
} Part;

static void part_clear(gpointer data)
{
  g_free(((Part *)data)->name);
}

static void add_part(GArray *parts, const gchar *name, const gchar *type, gsize element, gsize count, gpointer data)
{
  Part part = {g_strdup(name), type, element, count, data};
  if (data != NULL)
    g_array_append_val(parts, part);
  else
    g_free(part.name);
}

static GArray *list_parts(PipelineGraphFitState *state, const PipelineGraphPlan *plan)
{
  GArray *parts = g_array_new(FALSE, FALSE, sizeof(Part));
  g_array_set_clear_func(parts, part_clear);
  for (guint i = 0; i < plan->parameters->len; i++) {
    const PipelineGraphParameter *p = &g_array_index(plan->parameters, PipelineGraphParameter, i);
    g_autofree gchar *name = g_strdup_printf("parameters/%s", p->name);
    add_part(parts, name, "F32", sizeof(float), p->n, state->parameters + p->offset);
  }
  const struct {
    const gchar *name;
    float *data;
    gsize n;
  } arrays[] = {{"m", state->m, state->n_parameters},
                {"v", state->v, state->n_parameters},
                {"average", state->average, state->n_parameters},
                {"best", state->best, state->n_parameters},
                {"statistics", state->statistics, state->n_statistics},
                {"average_statistics", state->average_statistics, state->n_statistics},
                {"best_statistics", state->best_statistics, state->n_statistics}};
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++)
    add_part(parts, arrays[i].name, "F32", sizeof(float), arrays[i].n, arrays[i].data);
  add_part(parts, "random", "U64", sizeof(guint64), 4, state->random.state);
  add_part(parts, "epoch_random", "U64", sizeof(guint64), 4, state->epoch_random.state);
  return parts;
}

#define REAL(field)                                                                                                    \
  {                                                                                                                    \
#field, G_STRUCT_OFFSET(PipelineGraphFitState, field)                                                              \
  }
static const struct {
  const gchar *name;
  gsize offset;
} reals[] = {REAL(epoch_loss),      REAL(epoch_norm),        REAL(first_loss),  REAL(first_norm),  REAL(train_loss),
             REAL(validation_loss), REAL(validation_metric), REAL(test_loss),   REAL(test_metric), REAL(gradient_norm),
             REAL(dead_share),      REAL(best_loss),         REAL(best_metric), REAL(plateau_loss)};

/* Counters; `large`: of 64 bits. */
static const struct {
  const gchar *name;
  gsize offset;
  gboolean large;
} counters[] = {{"steps", G_STRUCT_OFFSET(PipelineGraphFitState, steps), TRUE},
                {"n_averaged", G_STRUCT_OFFSET(PipelineGraphFitState, n_averaged), TRUE},
                {"position", G_STRUCT_OFFSET(PipelineGraphFitState, position), TRUE},
                {"epoch", G_STRUCT_OFFSET(PipelineGraphFitState, epoch), FALSE},
                {"best_epoch", G_STRUCT_OFFSET(PipelineGraphFitState, best_epoch), FALSE},
                {"plateau_falls", G_STRUCT_OFFSET(PipelineGraphFitState, plateau_falls), FALSE},
                {"plateau_epochs", G_STRUCT_OFFSET(PipelineGraphFitState, plateau_epochs), FALSE},
                {"finished", G_STRUCT_OFFSET(PipelineGraphFitState, finished), FALSE}};

static gboolean damaged(const gchar *path, const gchar *why, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "checkpoint %s: %s; remove it to train from the beginning",
              path, why);
  return FALSE;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static json_t *metadata_of(const PipelineGraphFitState *state, const gchar *fingerprint, const gchar *environment)
{
  json_t *metadata =
      json_pack("{s:s, s:s, s:s}", "format", FORMAT, "fingerprint", fingerprint, "environment", environment);
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++) {
    g_autofree gchar *text = g_strdup_printf("%a", G_STRUCT_MEMBER(double, state, reals[i].offset));
    json_object_set_new(metadata, reals[i].name, json_string(text));
  }
  for (guint i = 0; i < G_N_ELEMENTS(counters); i++) {
    guint64 value = counters[i].large ? G_STRUCT_MEMBER(guint64, state, counters[i].offset)
                                      : G_STRUCT_MEMBER(guint, state, counters[i].offset);
    g_autofree gchar *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
    json_object_set_new(metadata, counters[i].name, json_string(text));
  }
  return metadata;
}

/* [n], or the dimensions of the initialiser that the part is. */
static json_t *shape_of(const Part *part, const OnnxGraph *graph)
{
  json_t *shape = json_array();
  const OnnxTensor *tensor = g_str_has_prefix(part->name, "parameters/")
                                 ? onnx_graph_find_initialiser(graph, part->name + strlen("parameters/"))
                                 : NULL;
  for (guint d = 0; tensor != NULL && d < tensor->n_dims; d++)
    json_array_append_new(shape, json_integer((json_int_t)tensor->dims[d]));
  if (tensor == NULL) json_array_append_new(shape, json_integer((json_int_t)part->count));
  return shape;
}

static GByteArray *encode(const GArray *parts, const OnnxGraph *graph, json_t *metadata)
{
  json_t *root = json_object();
  gsize offset = 0;
  json_object_set_new(root, "__metadata__", metadata);
  for (guint i = 0; i < parts->len; i++) {
    const Part *part = &g_array_index(parts, Part, i);
    gsize end = offset + part->count * part->element;
    json_object_set_new(root, part->name,
                        json_pack("{s:s, s:o, s:[I,I]}", "dtype", part->type, "shape", shape_of(part, graph),
                                  "data_offsets", (json_int_t)offset, (json_int_t)end));
    offset = end;
  }
  char *header = json_dumps(root, JSON_COMPACT);
  json_decref(root);
  g_autofree gchar *padded = g_strdup_printf("%s%*s", header, (int)((8 - strlen(header) % 8) % 8), "");
  free(header);
  guint64 length = GUINT64_TO_LE(strlen(padded));
  GByteArray *bytes = g_byte_array_sized_new((guint)(8 + strlen(padded) + offset));
  g_byte_array_append(bytes, (const guint8 *)&length, 8);
  g_byte_array_append(bytes, (const guint8 *)padded, (guint)strlen(padded));
  for (guint i = 0; i < parts->len; i++) {
    const Part *part = &g_array_index(parts, Part, i);
    if (part->count > 0) g_byte_array_append(bytes, part->data, (guint)(part->count * part->element));
  }
  return bytes;
}

gboolean pipeline_graph_checkpoint_write(const gchar *path, const PipelineGraphFitState *state,
                                         const PipelineGraphPlan *plan, const OnnxGraph *graph,
                                         const gchar *fingerprint, const gchar *environment, GError **error)
{
  PipelineGraphFitState copy = *state; /* only its arrays are pointed into */
  g_autoptr(GArray) parts = list_parts(&copy, plan);
  g_autoptr(GByteArray) bytes = encode(parts, graph, metadata_of(state, fingerprint, environment));
  g_autoptr(GError) cause = NULL;
  if (g_file_set_contents_full(path, (const gchar *)bytes->data, bytes->len,
                               G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &cause))
    return TRUE;
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "cannot write the checkpoint %s: %s", path, cause->message);
  return FALSE;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean read_metadata(json_t *metadata, PipelineGraphFitState *state)
{
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++) {
    const gchar *text = json_string_value(json_object_get(metadata, reals[i].name));
    gchar *end = NULL;
    if (text == NULL || *text == '\0') return FALSE;
    G_STRUCT_MEMBER(double, state, reals[i].offset) = g_ascii_strtod(text, &end);
    if (*end != '\0') return FALSE;
  }
  for (guint i = 0; i < G_N_ELEMENTS(counters); i++) {
    const gchar *text = json_string_value(json_object_get(metadata, counters[i].name));
    guint64 value;
    if (text == NULL ||
        !g_ascii_string_to_unsigned(text, 10, 0, counters[i].large ? G_MAXINT64 : G_MAXUINT, &value, NULL))
      return FALSE;
    if (counters[i].large)
      G_STRUCT_MEMBER(guint64, state, counters[i].offset) = value;
    else
      G_STRUCT_MEMBER(guint, state, counters[i].offset) = (guint)value;
  }
  return TRUE;
}

/* The bytes of a part, or NULL when the header does not give it the type and size wanted. */
static const gchar *find_part(json_t *root, const Part *part, const gchar *data, gsize length)
{
  json_t *entry = json_object_get(root, part->name), *offsets = json_object_get(entry, "data_offsets");
  const gchar *type = json_string_value(json_object_get(entry, "dtype"));
  if (type == NULL || !g_str_equal(type, part->type) || json_array_size(offsets) != 2) return NULL;
  json_int_t start = json_integer_value(json_array_get(offsets, 0)),
             end = json_integer_value(json_array_get(offsets, 1));
  if (start < 0 || end < start || (gsize)end > length || (gsize)(end - start) != part->count * part->element)
    return NULL;
  return data + start;
}

static gboolean decode(const gchar *path, json_t *root, const gchar *data, gsize length, const gchar *fingerprint,
                       const PipelineGraphPlan *plan, PipelineGraphFitState *state, GError **error)
{
  json_t *metadata = json_object_get(root, "__metadata__");
  const gchar *written = json_string_value(json_object_get(metadata, "fingerprint"));
  if (written == NULL || !g_str_equal(written, fingerprint))
    return damaged(path, "it belongs to another training (data, options or model differ)", error);
  PipelineGraphFitState read = *state;
  if (!read_metadata(metadata, &read)) return damaged(path, "its metadata is damaged", error);
  g_autoptr(GArray) parts = list_parts(state, plan);
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len);
  for (guint i = 0; i < parts->len; i++) {
    sources[i] = find_part(root, &g_array_index(parts, Part, i), data, length);
    if (sources[i] == NULL) return damaged(path, "a tensor is missing or has another size", error);
  }
  *state = read;
  for (guint i = 0; i < parts->len; i++) {
    const Part *part = &g_array_index(parts, Part, i);
    if (part->count > 0) memcpy(part->data, sources[i], part->count * part->element);
  }
  return TRUE;
}

gboolean pipeline_graph_checkpoint_read(const gchar *path, PipelineGraphFitState *state, const PipelineGraphPlan *plan,
                                        const gchar *fingerprint, const gchar *environment, gboolean *found,
                                        gchar **written_in, GError **error)
{
  g_autofree gchar *contents = NULL;
  gsize length = 0;
  g_autoptr(GError) cause = NULL;
  *found = FALSE;
  *written_in = NULL;
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
  if (root == NULL) return damaged(path, "its header is no JSON", error);
  *found = decode(path, root, contents + 8 + header, length - 8 - header, fingerprint, plan, state, error);
  const gchar *written = json_string_value(json_object_get(json_object_get(root, "__metadata__"), "environment"));
  if (*found && g_strcmp0(written, environment) != 0) *written_in = g_strdup(written != NULL ? written : "unknown");
  json_decref(root);
  return *found;
}
