#include "pipeline/compress_plan.h"

typedef struct {
  const PipelineCompressPlan *plan;
  const DriftSchema *schema;
  const DriftTable *rows;
  json_t *steps;
  const PipelineCompressWatch *watch;
} Work;

void pipeline_compress_plan_init(PipelineCompressPlan *plan)
{
  *plan = (PipelineCompressPlan){.distils = FALSE};
  pipeline_distil_options_init(&plan->distil);
  pipeline_prune_options_init(&plan->prune);
  pipeline_quantize_options_init(&plan->quantize);
}

static PipelineTrainProgressFunc progress_of(const Work *work)
{
  return work->watch != NULL ? work->watch->progress : NULL;
}

static gpointer user_data_of(const Work *work)
{
  return work->watch != NULL ? work->watch->user_data : NULL;
}

/* --- the steps ---------------------------------------------------------------------------------------------------- */

static GBytes *distil(const Work *work, GBytes *onnx, GError **error)
{
  const PipelineDistilOptions *options = &work->plan->distil;
  PipelineDistilled result = {0};
  GBytes *small =
      pipeline_distil(onnx, work->schema, work->rows, options, progress_of(work), user_data_of(work), &result, error);
  if (small != NULL)
    json_array_append_new(work->steps,
                          json_pack("{s:s, s:s, s:f, s:f, s:i, s:i, s:I, s:I, s:I, s:f}", "step", "distill", "student",
                                    options->architecture, "temperature", options->temperature, "label_share",
                                    options->label_share, "epochs", (int)result.epochs, "best_epoch",
                                    (int)result.best_epoch, "rows_train", (json_int_t)result.n_train, "rows_validation",
                                    (json_int_t)result.n_validation, "rows_labelled", (json_int_t)result.n_labelled,
                                    "seconds", result.seconds));
  return small;
}

static json_t *describe_pruned(const PipelinePruned *result, const PipelinePruneOptions *options)
{
  json_t *layers = json_array();
  const gchar *unit = options->structured ? "units" : "weights",
              *left = options->structured ? "units_left" : "weights_left";
  for (guint i = 0; i < result->layers->len; i++) {
    const PipelinePrunedLayer *layer = g_ptr_array_index(result->layers, i);
    json_array_append_new(layers, json_pack("{s:s, s:I, s:I}", "name", layer->name, unit, (json_int_t)layer->n, left,
                                            (json_int_t)layer->n_left));
  }
  json_t *step = json_pack(
      "{s:s, s:f, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:o}", "step", "prune", "share", options->share, "scope",
      options->global ? "global" : "layer", "by", options->activation ? "activation" : "l1", unit,
      (json_int_t)result->n, left, (json_int_t)result->n_left, "epochs", (int)options->epochs, "rows_train",
      (json_int_t)result->rows_trained, "rows_validation", (json_int_t)result->rows_validated, "layers", layers);
  if (!options->structured)
    json_object_set_new(step, "sparsity", json_real(1 - (double)result->n_left / (double)result->n));
  if (result->warning) json_object_set_new(step, "warning", json_string(result->warning));
  return step;
}

static GBytes *prune(const Work *work, GBytes *onnx, GError **error)
{
  const PipelinePruneOptions *options = &work->plan->prune;
  PipelinePruned result = {0};
  GBytes *small =
      pipeline_prune(onnx, work->schema, work->rows, options, progress_of(work), user_data_of(work), &result, error);
  if (small != NULL) json_array_append_new(work->steps, describe_pruned(&result, options));
  pipeline_pruned_clear(&result);
  return small;
}

static GBytes *quantize(const Work *work, GBytes *onnx, GError **error)
{
  const PipelineQuantizeOptions *options = &work->plan->quantize;
  PipelineQuantized result;
  GBytes *small = pipeline_quantize(onnx, work->schema, work->rows, options, &result, error);
  if (small != NULL)
    json_array_append_new(
        work->steps, json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I}", "step", "int8", "activations",
                               onnx_type_get_name(options->rewrite.activations), "ranges", options->method, "layers",
                               (int)result.n_products, "sums", (int)result.n_sums, "layers_kept", (int)result.n_kept,
                               "normalisations_folded", (int)result.n_folded, "rows", (json_int_t)result.n_rows));
  return small;
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

/* In the order in which they are done. */
typedef struct {
  const gchar *name;
  gboolean asked;
  GBytes *(*apply)(const Work *work, GBytes *onnx, GError **error);
} Step;

GBytes *pipeline_compress_apply(const PipelineCompressPlan *plan, GBytes *onnx, const DriftSchema *schema,
                                const DriftTable *rows, json_t *steps, const PipelineCompressWatch *watch,
                                GError **error)
{
  const Work work = {plan, schema, rows, steps, watch};
  const Step table[] = {
      {"distill", plan->distils, distil}, {"prune", plan->prunes, prune}, {"int8", plan->quantizes, quantize}};
  g_autoptr(GBytes) now = g_bytes_ref(onnx);
  for (guint i = 0; i < G_N_ELEMENTS(table); i++) {
    if (!table[i].asked) continue;
    if (watch != NULL && watch->begins != NULL) watch->begins(table[i].name, watch->user_data);
    GBytes *next = table[i].apply(&work, now, error);
    if (watch != NULL && watch->ended != NULL) watch->ended(table[i].name, next != NULL, watch->user_data);
    if (next == NULL) return NULL;
    g_bytes_unref(now);
    now = next;
  }
  return g_steal_pointer(&now);
}
