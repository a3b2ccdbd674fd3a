/* A Triton model repository: PATH/MODEL/config.pbtxt and PATH/MODEL/VERSION/model.onnx.
 *
 * The policy "latest, 1" makes Triton serve the largest number present, so going back to an older version means that
 * the newer folders go. The configuration is generated, never taken from anyone: a Triton configuration can name a
 * Python backend, which is code.
 */
#include "deploy/target_types.h"

#include <string.h>
#include <unistd.h>

static const struct {
  const gchar *onnx, *triton;
} tensor_types[] = {
    {"float32", "TYPE_FP32"},  {"float64", "TYPE_FP64"},  {"float16", "TYPE_FP16"}, {"int64", "TYPE_INT64"},
    {"int32", "TYPE_INT32"},   {"int16", "TYPE_INT16"},   {"int8", "TYPE_INT8"},    {"uint64", "TYPE_UINT64"},
    {"uint32", "TYPE_UINT32"}, {"uint16", "TYPE_UINT16"}, {"uint8", "TYPE_UINT8"},  {"bool", "TYPE_BOOL"},
    {"string", "TYPE_STRING"},
};

static const gchar *triton_type(const gchar *onnx)
{
  for (guint i = 0; i < G_N_ELEMENTS(tensor_types); i++)
    if (g_strcmp0(tensor_types[i].onnx, onnx) == 0) return tensor_types[i].triton;
  return NULL;
}

/* Protobuf text format: a double-quoted string with C escapes; octal for whatever is not plain ASCII. */
static void append_string(GString *out, const gchar *text)
{
  g_string_append_c(out, '"');
  for (const guchar *c = (const guchar *)text; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_printf(out, "\\%c", *c);
    else if (g_ascii_isprint((gchar)*c))
      g_string_append_c(out, (gchar)*c);
    else
      g_string_append_printf(out, "\\%03o", *c);
  }
  g_string_append_c(out, '"');
}

static gboolean append_tensors(GString *out, const gchar *field, const DeployTensor *tensors, guint n,
                               const DeployRelease *release, GError **error)
{
  for (guint i = 0; i < n; i++) {
    const gchar *type = triton_type(tensors[i].type);
    if (type == NULL || tensors[i].name == NULL || tensors[i].n_dimensions == 0) {
      g_set_error(error, DEPLOY_ERROR, DEPLOY_ERROR_INVALID,
                  "%s \"%s\" of model \"%s\" cannot be written into config.pbtxt: %s", field,
                  tensors[i].name != NULL ? tensors[i].name : "", release->model,
                  type == NULL ? "Triton has no such element type" : "it has no name or no dimensions");
      return FALSE;
    }
    g_string_append_printf(out, "%s [\n  {\n    name: ", field);
    append_string(out, tensors[i].name);
    g_string_append_printf(out, "\n    data_type: %s\n    dims: [ ", type);
    for (guint d = 0; d < tensors[i].n_dimensions; d++)
      g_string_append_printf(out, "%s%" G_GINT64_FORMAT, d > 0 ? ", " : "", tensors[i].dimensions[d]);
    g_string_append(out, " ]\n  }\n]\n");
  }
  return TRUE;
}

gchar *deploy_triton_config(const DeployRelease *release, GError **error)
{
  g_autoptr(GString) out = g_string_new("name: ");
  append_string(out, release->model);
  /* 0: the dimensions below are the graph's own, batch included, so that clients see the shapes of the ONNX file. */
  g_string_append(out, "\nplatform: \"onnxruntime_onnx\"\nmax_batch_size: 0\n");
  if (!append_tensors(out, "input", release->inputs, release->n_inputs, release, error) ||
      !append_tensors(out, "output", release->outputs, release->n_outputs, release, error))
    return NULL;
  g_string_append(out, "version_policy: { latest: { num_versions: 1 } }\n");
  return g_string_free(g_steal_pointer(&out), FALSE);
}

static gboolean remove_newer(int folder, gint64 version, const DeploySteps *steps, GError **error)
{
  g_autoptr(GArray) present = deploy_place_list_versions(folder, error);
  if (present == NULL) return FALSE;
  for (guint i = present->len; i > 0; i--) {
    gint64 other = g_array_index(present, gint64, i - 1);
    if (other > version && !deploy_place_remove_version(folder, other, steps, error)) return FALSE;
  }
  return TRUE;
}

/* The configuration goes first into an empty folder (nothing is served yet), but last where an older version is being
 * served: if the tensors change, the older version must not be reloaded with a description that is not its own. */
static gboolean place_in_order(int folder, const DeployRelease *release, GBytes *config, const DeploySteps *steps,
                               GError **error)
{
  gboolean first = !deploy_place_has(folder, "config.pbtxt");
  if (first && !deploy_place_file(folder, "config.pbtxt", config, steps, error)) return FALSE;
  if (!deploy_place_version(folder, release->version, release->onnx, steps, error)) return FALSE;
  return first || deploy_place_file(folder, "config.pbtxt", config, steps, error);
}

gboolean deploy_triton_place(const DeployTargetSettings *settings, const DeployRelease *release,
                             const DeploySteps *steps, GError **error)
{
  g_autofree gchar *text = deploy_triton_config(release, error);
  if (text == NULL) return FALSE;
  g_autoptr(GBytes) config = g_bytes_new(text, strlen(text));
  int folder = deploy_place_open_model(settings->path, release->model, steps, error);
  if (folder < 0) return FALSE;
  gboolean placed = place_in_order(folder, release, config, steps, error) &&
                    remove_newer(folder, release->version, steps, error) &&
                    deploy_place_prune(folder, release->version, settings->keep_versions, steps, error);
  close(folder);
  return placed;
}

static gboolean apply(const DeployTargetSettings *settings, const DeployRelease *release, GError **error)
{
  return deploy_triton_place(settings, release, NULL, error) && deploy_load_call(settings, release->model, error);
}

const DeployTargetType deploy_target_triton = {
    .type = "triton",
    .summary = "a Triton model repository: PATH/MODEL/config.pbtxt, PATH/MODEL/VERSION/model.onnx",
    .apply = apply,
};
