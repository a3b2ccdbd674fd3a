/* `kedge train` of boosted trees: which options they take, and what the report says of them. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_train_internal.h"
#include "onnx/file.h"
#include "pipeline/tree_graph.h"
#include "pipeline/tree_options.h"

#define PRINTED_COLUMNS 5

static gboolean starts_from_trees(const CommandCommon *common, const gchar *reference)
{
  CommandModel model = {0};
  if (g_str_has_suffix(reference, ".onnx"))
    model.onnx = onnx_file_read(reference, NULL, NULL);
  else
    command_load_model(common, reference, NULL, NULL, &model, NULL);
  gboolean trees = model.onnx != NULL && pipeline_tree_onnx_is_ensemble(model.onnx);
  command_model_clear(&model);
  return trees; /* what cannot be read is said by whoever reads it for good */
}

gboolean command_train_tree_is_asked(const CommandCommon *common, const TrainArguments *arguments)
{
  return pipeline_tree_is_architecture(arguments->architecture) ||
         (arguments->from != NULL && !g_str_has_suffix(arguments->data, ".npz") &&
          starts_from_trees(common, arguments->from));
}

gboolean command_train_tree_fill(const TrainArguments *arguments, PipelineTrainOptions *options, GError **error)
{
  const TrainGraphArguments *a = &arguments->graph;
  const struct {
    gboolean given;
    const gchar *option, *instead;
  } refused[] = {
      {g_str_has_suffix(arguments->data, ".npz"), "an .npz", "a CSV, JSON lines or an .npy"},
      {!isnan(arguments->learning_rate), "--learning-rate", "--arch trees:eta=0.1"},
      {!isnan(arguments->weight_decay), "--weight-decay", "--arch trees:lambda=1"},
      {arguments->batch_size != 0, "--batch-size", "--arch trees:subsample=0.5"},
      {a->l1 != 0, "--l1", "--arch trees:alpha=1"},
      {a->l2 != 0, "--l2", "--arch trees:lambda=1"},
      {a->loss != NULL && !g_str_equal(a->loss, "quantile"), "--loss", "quantile"},
      {!isnan(a->quantile) && a->loss == NULL, "--quantile without --loss", "--loss quantile"},
      {!isnan(a->focal_gamma) || !isnan(a->huber_delta), "--focal-gamma and --huber-delta", NULL},
      {a->optimiser != NULL, "--optimiser", NULL},
      {a->schedule != NULL, "--schedule", NULL},
      {a->average != NULL, "--average", NULL},
      {a->freeze != NULL, "--freeze", NULL},
      {a->features != NULL, "--features", NULL},
      {a->image != NULL, "--image", NULL},
      {a->new_head, "--new-head", NULL},
      {a->warm_up != 0, "--warm-up", NULL},
      {!isnan(a->dropout), "--dropout", NULL},
      {a->clip_norm != 0 || a->clip_value != 0, "--clip-norm and --clip-value", NULL},
      {a->label_smoothing != 0, "--label-smoothing", NULL},
      {a->noise != 0 || a->mixup != 0 || a->shift != 0 || a->flip != 0 || a->cutout != 0, "augmentation", NULL},
      {a->rehearse != NULL, "--rehearse", NULL},
      {a->layer_decay != 1, "--layer-decay", NULL},
      {a->row_visits != 0, "--row-visits", NULL},
      {arguments->harden.method != NULL, "--adversarial", NULL},
      {a->class_weights != NULL && g_strcmp0(a->class_weights, "balanced") != 0, "--class-weights", "balanced"}};
  for (guint i = 0; i < G_N_ELEMENTS(refused); i++) {
    if (!refused[i].given) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%s is not for trees%s%s", refused[i].option,
                refused[i].instead != NULL ? "; take " : "", refused[i].instead != NULL ? refused[i].instead : "");
    return FALSE;
  }
  options->test_fraction = a->test;
  options->interval = a->interval;
  if (a->loss != NULL) options->quantile = isnan(a->quantile) ? .5 : a->quantile;
  options->balanced = a->class_weights != NULL;
  return TRUE;
}

void command_train_tree_describe(const PipelineTrainResult *result, json_t *report)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(result->onnx, NULL);
  json_t *importance = graph != NULL ? pipeline_tree_importance(graph) : NULL;
  if (importance != NULL) json_object_set_new(report, "importance", importance);
}

void command_train_tree_print(const json_t *report)
{
  const json_t *importance = json_object_get(report, "importance");
  for (gsize i = 0; i < MIN(json_array_size(importance), PRINTED_COLUMNS); i++) {
    const json_t *column = json_array_get(importance, i);
    printf("%s%s: %.4g in %" JSON_INTEGER_FORMAT " splits", i == 0 ? "mean gain a split: " : ", ",
           json_string_value(json_object_get(column, "column")), json_real_value(json_object_get(column, "gain")),
           json_integer_value(json_object_get(column, "weight")));
  }
  if (json_array_size(importance) > PRINTED_COLUMNS)
    printf(" (the first %d of %zu columns)", PRINTED_COLUMNS, json_array_size(importance));
  if (json_array_size(importance) > 0) printf("\n");
}
