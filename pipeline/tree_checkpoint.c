#include "pipeline/tree_checkpoint.h"

#include <math.h>

#include "pipeline/safetensors.h"

#define MAX_HEADER_BYTES (1u << 20)
#define MAX_FILE_BYTES ((gsize)8 << 30)
#define NODE_WORDS 7u
#define MAX_NODES (1u << 28)
G_STATIC_ASSERT(sizeof(PipelineTreeNode) == NODE_WORDS * 4);

typedef struct {
  const gchar *name;
  gsize offset;
} Field;

#define AT(member) G_STRUCT_OFFSET(PipelineTreeState, member)
static const Field reals[] = {{"best_loss", AT(best_loss)},
                              {"best_metric", AT(best_metric)},
                              {"train_loss", AT(train_loss)},
                              {"validation_loss", AT(validation_loss)},
                              {"validation_metric", AT(validation_metric)}};
static const Field counts[] = {{"round", AT(round)}, {"best_round", AT(best_round)}, {"finished", AT(finished)}};

/* The ensemble's parts in file order, for writing and reading. */
static GArray *list_parts(const PipelineTreeEnsemble *ensemble)
{
  const struct {
    const gchar *name, *type;
    gpointer data;
    gsize count;
  } arrays[] = {{"nodes", "U32", ensemble->nodes->data, (gsize)ensemble->nodes->len * NODE_WORDS},
                {"starts", "U32", ensemble->starts->data, ensemble->starts->len},
                {"outputs", "U32", ensemble->outputs->data, ensemble->outputs->len},
                {"base", "F32", ensemble->base, ensemble->n_outputs}};
  GArray *parts = pipeline_safetensors_parts_new();
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) {
    PipelineSafetensorsPart part = {.name = g_strdup(arrays[i].name),
                                    .type = arrays[i].type,
                                    .element = 4,
                                    .count = arrays[i].count,
                                    .data = arrays[i].data};
    g_array_append_val(parts, part);
  }
  return parts;
}

static void set_count(json_t *metadata, const gchar *name, guint value)
{
  g_autofree gchar *text = g_strdup_printf("%u", value);
  json_object_set_new(metadata, name, json_string(text));
}

gboolean pipeline_tree_checkpoint_write(const gchar *path, const PipelineTreeEnsemble *ensemble,
                                        const PipelineTreeState *state, const gchar *fingerprint, GError **error)
{
  g_autoptr(GArray) parts = list_parts(ensemble);
  json_t *metadata = json_pack("{s:s, s:s}", "format", "kedge trees 1", "fingerprint", fingerprint);
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++) {
    g_autofree gchar *text = g_strdup_printf("%a", G_STRUCT_MEMBER(double, state, reals[i].offset));
    json_object_set_new(metadata, reals[i].name, json_string(text));
  }
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    set_count(metadata, counts[i].name, G_STRUCT_MEMBER(guint, state, counts[i].offset));
  set_count(metadata, "nodes", ensemble->nodes->len);
  set_count(metadata, "trees", ensemble->starts->len);
  return pipeline_safetensors_write(path, parts, metadata, error);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static gboolean read_count(const json_t *metadata, const gchar *name, guint *count)
{
  guint64 value = 0;
  const gchar *text = json_string_value(json_object_get(metadata, name));
  if (text == NULL || !g_ascii_string_to_unsigned(text, 10, 0, MAX_NODES, &value, NULL)) return FALSE;
  *count = (guint)value;
  return TRUE;
}

static gboolean read_state(const json_t *metadata, PipelineTreeState *state)
{
  for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
    if (!read_count(metadata, counts[i].name, &G_STRUCT_MEMBER(guint, state, counts[i].offset))) return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS(reals); i++) {
    const gchar *text = json_string_value(json_object_get(metadata, reals[i].name));
    gchar *end = NULL;
    double value = text != NULL ? g_ascii_strtod(text, &end) : NAN;
    if (text == NULL || *text == '\0' || *end != '\0') return FALSE;
    G_STRUCT_MEMBER(double, state, reals[i].offset) = value;
  }
  return TRUE;
}

/* Whatever the file says, a walk stays inside its tree and ends. */
static gboolean is_sound(const PipelineTreeEnsemble *ensemble)
{
  for (guint t = 0; t < ensemble->starts->len; t++) {
    guint32 start = g_array_index(ensemble->starts, guint32, t),
            end =
                t + 1 < ensemble->starts->len ? g_array_index(ensemble->starts, guint32, t + 1) : ensemble->nodes->len;
    if (start >= end || end > ensemble->nodes->len || (t == 0 && start != 0) ||
        g_array_index(ensemble->outputs, guint32, t) >= ensemble->n_outputs)
      return FALSE;
    for (guint32 i = 0; i < end - start; i++) {
      const PipelineTreeNode *node = &g_array_index(ensemble->nodes, PipelineTreeNode, start + i);
      if (node->yes == 0) continue;
      if (node->yes <= i || node->no <= i || node->yes >= end - start || node->no >= end - start ||
          node->column >= ensemble->n_columns)
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean decode(const gchar *path, const PipelineSafetensors *file, const PipelineTreeEnsemble *like,
                       const gchar *fingerprint, PipelineTreeEnsemble **ensemble, PipelineTreeState *state,
                       GError **error)
{
  guint n_nodes, n_trees;
  PipelineTreeState read;
  const gchar *written = json_string_value(json_object_get(file->metadata, "fingerprint"));
  if (g_strcmp0(written, fingerprint) != 0)
    return pipeline_safetensors_damaged(path, "it belongs to another training (data, options or model differ)", error);
  if (!read_state(file->metadata, &read) || !read_count(file->metadata, "nodes", &n_nodes) ||
      !read_count(file->metadata, "trees", &n_trees) || (gsize)n_nodes * sizeof(PipelineTreeNode) > file->length)
    return pipeline_safetensors_damaged(path, "its metadata is damaged", error);
  g_autoptr(PipelineTreeEnsemble) found = pipeline_tree_ensemble_new(like->n_columns, like->n_outputs, like->base);
  g_array_set_size(found->nodes, n_nodes);
  g_array_set_size(found->starts, n_trees);
  g_array_set_size(found->outputs, n_trees);
  g_autoptr(GArray) parts = list_parts(found);
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len);
  const PipelineSafetensorsPart *list = (const PipelineSafetensorsPart *)(gpointer)parts->data;
  if (!pipeline_safetensors_find(file, list, parts->len, sources))
    return pipeline_safetensors_damaged(path, "a tensor is missing or has another size", error);
  pipeline_safetensors_copy(list, parts->len, sources);
  if (!is_sound(found)) return pipeline_safetensors_damaged(path, "its trees are damaged", error);
  *ensemble = g_steal_pointer(&found);
  *state = read;
  return TRUE;
}

gboolean pipeline_tree_checkpoint_read(const gchar *path, const PipelineTreeEnsemble *like, const gchar *fingerprint,
                                       PipelineTreeEnsemble **ensemble, PipelineTreeState *state, GError **error)
{
  g_auto(PipelineSafetensors) file = {.contents = NULL};
  gboolean there;
  *ensemble = NULL;
  if (!pipeline_safetensors_read(path, MAX_HEADER_BYTES, MAX_FILE_BYTES, &file, &there, error)) return FALSE;
  return !there || decode(path, &file, like, fingerprint, ensemble, state, error);
}
