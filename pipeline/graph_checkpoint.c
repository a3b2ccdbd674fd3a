#include "pipeline/graph_checkpoint.h"

#include <math.h>
#include <string.h>
#include <gnu/libc-version.h>

#include "pipeline/safetensors.h"

#define FORMAT "kedge graph training 3"
#define MAX_HEADER_BYTES (16u << 20)
#define MAX_FILE_BYTES ((gsize)8 << 30)

gchar *pipeline_checkpoint_environment(const PipelineGradientBackend *backend, guint processes)
{
  g_autofree gchar *computes = pipeline_gradient_backend_describe(backend);
  g_autofree gchar *together = processes > 1 ? g_strdup_printf("processes %u, ", processes) : g_strdup("");
  return g_strdup_printf("%sthreads 1, backend %s, libm %s, kedge %s", together, computes, gnu_get_libc_version(),
                         KEDGE_VERSION);
}

/* --- the parts in file order: one list for writing and reading ------------------------------------------------------
 */

static void add_part(GArray *parts, const gchar *name, const gchar *type, gsize element, gsize count, gpointer data)
{
  PipelineSafetensorsPart part = {
      .name = g_strdup(name), .type = type, .element = element, .count = count, .data = data};
  if (data != NULL)
    g_array_append_val(parts, part);
  else
    g_free(part.name);
}

static GArray *list_parts(PipelineGraphFitState *state, const PipelineGraphPlan *plan)
{
  GArray *parts = pipeline_safetensors_parts_new();
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
                {"best_statistics", state->best_statistics, state->n_statistics},
                {"perturbation", state->perturbation, state->n_perturbation}};
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
} reals[] = {REAL(epoch_loss),         REAL(epoch_norm),           REAL(first_loss),        REAL(first_norm),
             REAL(train_loss),         REAL(validation_loss),      REAL(validation_metric), REAL(test_loss),
             REAL(test_metric),        REAL(gradient_norm),        REAL(dead_share),        REAL(best_loss),
             REAL(best_metric),        REAL(plateau_loss),         REAL(robust_loss),       REAL(robust_metric),
             REAL(best_robust_metric), REAL(best_attacked_metric), REAL(old_loss),          REAL(old_metric),
             REAL(best_old_metric),    REAL(least_loss),           REAL(least_old_loss),    REAL(loss_scale)};

/* Counters; `large`: of 64 bits. */
static const struct {
  const gchar *name;
  gsize offset;
  gboolean large;
} counters[] = {{"steps", G_STRUCT_OFFSET(PipelineGraphFitState, steps), TRUE},
                {"n_averaged", G_STRUCT_OFFSET(PipelineGraphFitState, n_averaged), TRUE},
                {"position", G_STRUCT_OFFSET(PipelineGraphFitState, position), TRUE},
                {"epoch", G_STRUCT_OFFSET(PipelineGraphFitState, epoch), FALSE},
                {"improved_epoch", G_STRUCT_OFFSET(PipelineGraphFitState, improved_epoch), FALSE},
                {"best_epoch", G_STRUCT_OFFSET(PipelineGraphFitState, best_epoch), FALSE},
                {"plateau_falls", G_STRUCT_OFFSET(PipelineGraphFitState, plateau_falls), FALSE},
                {"plateau_epochs", G_STRUCT_OFFSET(PipelineGraphFitState, plateau_epochs), FALSE},
                {"collapsed_epoch", G_STRUCT_OFFSET(PipelineGraphFitState, collapsed_epoch), FALSE},
                {"scaled_steps", G_STRUCT_OFFSET(PipelineGraphFitState, scaled_steps), TRUE},
                {"epoch_skipped", G_STRUCT_OFFSET(PipelineGraphFitState, epoch_skipped), TRUE},
                {"skipped_steps", G_STRUCT_OFFSET(PipelineGraphFitState, skipped_steps), TRUE},
                {"micro_batch", G_STRUCT_OFFSET(PipelineGraphFitState, micro_batch), FALSE},
                {"evaluation_rows", G_STRUCT_OFFSET(PipelineGraphFitState, evaluation_rows), FALSE},
                {"finished", G_STRUCT_OFFSET(PipelineGraphFitState, finished), FALSE}};

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

/* A parameter has the dimensions of its initialiser. */
static void set_shapes(GArray *parts, const OnnxGraph *graph)
{
  for (guint i = 0; i < parts->len; i++) {
    PipelineSafetensorsPart *part = &g_array_index(parts, PipelineSafetensorsPart, i);
    const OnnxTensor *tensor = g_str_has_prefix(part->name, "parameters/")
                                   ? onnx_graph_find_initialiser(graph, part->name + strlen("parameters/"))
                                   : NULL;
    if (tensor == NULL) continue;
    part->n_dims = tensor->n_dims;
    part->dims = tensor->dims;
  }
}

gboolean pipeline_graph_checkpoint_write(const gchar *path, const PipelineGraphFitState *state,
                                         const PipelineGraphPlan *plan, const OnnxGraph *graph,
                                         const gchar *fingerprint, const gchar *environment, GError **error)
{
  PipelineGraphFitState copy = *state; /* only its arrays are pointed into */
  g_autoptr(GArray) parts = list_parts(&copy, plan);
  set_shapes(parts, graph);
  return pipeline_safetensors_write(path, parts, metadata_of(state, fingerprint, environment), error);
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

static gboolean decode(const gchar *path, const PipelineSafetensors *file, const gchar *fingerprint,
                       const PipelineGraphPlan *plan, PipelineGraphFitState *state, GError **error)
{
  const gchar *written = json_string_value(json_object_get(file->metadata, "fingerprint"));
  if (written == NULL || !g_str_equal(written, fingerprint))
    return pipeline_safetensors_damaged(path, "it belongs to another training (data, options or model differ)", error);
  PipelineGraphFitState read = *state;
  if (!read_metadata(file->metadata, &read))
    return pipeline_safetensors_damaged(path, "its metadata is damaged", error);
  g_autoptr(GArray) parts = list_parts(state, plan);
  g_autofree const gchar **sources = g_new0(const gchar *, parts->len);
  const PipelineSafetensorsPart *list = (const PipelineSafetensorsPart *)(gpointer)parts->data;
  if (!pipeline_safetensors_find(file, list, parts->len, sources))
    return pipeline_safetensors_damaged(path, "a tensor is missing or has another size", error);
  *state = read;
  pipeline_safetensors_copy(list, parts->len, sources);
  return TRUE;
}

gboolean pipeline_graph_checkpoint_read(const gchar *path, PipelineGraphFitState *state, const PipelineGraphPlan *plan,
                                        const gchar *fingerprint, const gchar *environment, gboolean *found,
                                        gchar **written_in, GError **error)
{
  g_auto(PipelineSafetensors) file = {.contents = NULL};
  gboolean there;
  *found = FALSE;
  *written_in = NULL;
  if (!pipeline_safetensors_read(path, MAX_HEADER_BYTES, MAX_FILE_BYTES, &file, &there, error)) return FALSE;
  if (!there) return TRUE;
  *found = decode(path, &file, fingerprint, plan, state, error);
  const gchar *written = json_string_value(json_object_get(file.metadata, "environment"));
  if (*found && g_strcmp0(written, environment) != 0) *written_in = g_strdup(written != NULL ? written : "unknown");
  return *found;
}
