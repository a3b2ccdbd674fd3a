/* `kedge train` on a graph: its options, and what they mean to pipeline/graph_trainer.h. */
#include <math.h>
#include <string.h>

#include "daemon/command_train_internal.h"
#include "pipeline/graph_build.h"
#include "pipeline/graph_trainer.h"
#include "pipeline/npz.h"

void command_train_graph_init(TrainGraphArguments *arguments)
{
  *arguments = (TrainGraphArguments){.momentum = 0.9, .dropout = NAN};
}

void command_train_graph_clear(TrainGraphArguments *arguments)
{
  gchar *texts[] = {arguments->features,      arguments->image,     arguments->loss,
                    arguments->class_weights, arguments->optimiser, arguments->schedule,
                    arguments->average,       arguments->freeze,    arguments->log};
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) g_free(texts[i]);
}

GArray *command_train_graph_entries(TrainGraphArguments *a, const GOptionEntry *first)
{
  const GOptionEntry entries[] = {
      {"features", 0, 0, G_OPTION_ARG_STRING, &a->features, "of an .npz: the array of rows (default: the other one)",
       "X"},
      {"image", 0, 0, G_OPTION_ARG_STRING, &a->image,
       "rows are images: channels,height,width (default: as the array has it)", "C,H,W"},
      {"loss", 0, 0, G_OPTION_ARG_STRING, &a->loss,
       "cross-entropy, focal, binary, squared, huber or quantile (default: by the model)", "NAME"},
      {"label-smoothing", 0, 0, G_OPTION_ARG_DOUBLE, &a->label_smoothing, "of the target's probability (default 0)",
       "E"},
      {"class-weights", 0, 0, G_OPTION_ARG_STRING, &a->class_weights, "balanced: rare classes count more", "balanced"},
      {"optimiser", 0, 0, G_OPTION_ARG_STRING, &a->optimiser,
       "sgd, momentum, nesterov, rmsprop, adam or adamw (default adamw)", "NAME"},
      {"momentum", 0, 0, G_OPTION_ARG_DOUBLE, &a->momentum, "of momentum and nesterov (default 0.9)", "M"},
      {"schedule", 0, 0, G_OPTION_ARG_STRING, &a->schedule,
       "of the learning rate: constant, step, exponential, cosine, one-cycle or plateau (default cosine)", "NAME"},
      {"warm-up", 0, 0, G_OPTION_ARG_INT, &a->warm_up, "steps in which the learning rate rises from 0 (default 0)",
       "N"},
      {"clip-norm", 0, 0, G_OPTION_ARG_DOUBLE, &a->clip_norm, "largest norm of a gradient; 0: any", "N"},
      {"clip-value", 0, 0, G_OPTION_ARG_DOUBLE, &a->clip_value, "largest element of a gradient; 0: any", "V"},
      {"l1", 0, 0, G_OPTION_ARG_DOUBLE, &a->l1, "penalty on the size of weights (default 0)", "L"},
      {"l2", 0, 0, G_OPTION_ARG_DOUBLE, &a->l2, "penalty on the squares of weights (default 0)", "L"},
      {"average", 0, 0, G_OPTION_ARG_STRING, &a->average, "of weights: none, ema or swa (default none)", "KIND"},
      {"dropout", 0, 0, G_OPTION_ARG_DOUBLE, &a->dropout, "share of units that new networks drop (default 0.5)", "P"},
      {"freeze", 0, 0, G_OPTION_ARG_STRING, &a->freeze, "patterns of weights or nodes that stay as they are", "P,…"},
      {"new-head", 0, 0, G_OPTION_ARG_NONE, &a->new_head, "with --from: a fresh last layer for the classes of the data",
       NULL},
      {"noise", 0, 0, G_OPTION_ARG_DOUBLE, &a->noise, "standard deviation of noise on every number (default 0)", "S"},
      {"mixup", 0, 0, G_OPTION_ARG_DOUBLE, &a->mixup, "alpha of mixup (default 0: off)", "A"},
      {"shift", 0, 0, G_OPTION_ARG_INT, &a->shift, "images are moved by up to N pixels (default 0)", "N"},
      {"flip", 0, 0, G_OPTION_ARG_DOUBLE, &a->flip, "share of images that are mirrored (default 0)", "P"},
      {"cutout", 0, 0, G_OPTION_ARG_INT, &a->cutout, "side of a square cut out of images (default 0: none)", "N"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a->test,
       "share of the rows, the very last ones, that only measures (default 0)", "F"},
      {"log", 0, 0, G_OPTION_ARG_FILENAME, &a->log, "append a JSON object a line to this file", "FILE"},
      G_OPTION_ENTRY_NULL};
  GArray *all = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
  for (guint i = 0; first[i].long_name != NULL; i++) g_array_append_val(all, first[i]);
  for (guint i = 0; entries[i].long_name != NULL; i++) g_array_append_val(all, entries[i]);
  return all;
}

gboolean command_train_graph_is_asked(const TrainArguments *arguments)
{
  const TrainGraphArguments *a = &arguments->graph;
  const gchar *texts[] = {a->features, a->image,  a->loss, a->class_weights, a->optimiser, a->schedule,
                          a->average,  a->freeze, a->log};
  gboolean asked = g_str_has_suffix(arguments->data, ".npz") ||
                   (arguments->architecture != NULL && pipeline_graph_is_architecture(arguments->architecture)) ||
                   a->new_head || a->warm_up != 0 || a->shift != 0 || a->cutout != 0 || a->label_smoothing != 0 ||
                   a->clip_norm != 0 || a->clip_value != 0 || a->l1 != 0 || a->l2 != 0 || !isnan(a->dropout) ||
                   a->noise != 0 || a->mixup != 0 || a->flip != 0 || (a->test != 0 && arguments->split == NULL);
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) asked = asked || texts[i] != NULL;
  return asked;
}

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

/* --- data --------------------------------------------------------------------------------------------------------- */

/* The array of rows: named, or the only one besides the label. */
static const gchar *find_features(const PipelineNpz *npz, const TrainArguments *arguments, GError **error)
{
  const gchar *found = arguments->graph.features;
  guint others = 0;
  gboolean labelled = FALSE;
  for (guint i = 0; i < pipeline_npz_get_n_arrays(npz); i++)
    labelled = labelled || strcmp(pipeline_npz_get_name(npz, i), arguments->label) == 0;
  if (!labelled) { /* reading it lists what there is */
    pipeline_array_free(pipeline_npz_read(npz, arguments->label, error));
    return NULL;
  }
  for (guint i = 0; found == NULL && i < pipeline_npz_get_n_arrays(npz); i++)
    others += strcmp(pipeline_npz_get_name(npz, i), arguments->label) != 0;
  for (guint i = 0; found == NULL && others == 1 && i < pipeline_npz_get_n_arrays(npz); i++)
    if (strcmp(pipeline_npz_get_name(npz, i), arguments->label) != 0) found = pipeline_npz_get_name(npz, i);
  if (found == NULL)
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "%s: %u arrays besides '%s'; name the rows by --features",
                arguments->data, others, arguments->label);
  return found;
}

static PipelineGraphRows *read_arrays(const TrainArguments *arguments, GError **error)
{
  g_autoptr(PipelineNpz) npz = pipeline_npz_open(arguments->data, error);
  const gchar *features = npz != NULL ? find_features(npz, arguments, error) : NULL;
  if (features == NULL) return NULL;
  g_autoptr(PipelineArray) labels = pipeline_npz_read(npz, arguments->label, error);
  g_autoptr(PipelineArray) x = labels != NULL ? pipeline_npz_read(npz, features, error) : NULL;
  return x != NULL ? pipeline_graph_rows_from_arrays(x, labels, arguments->label, error) : NULL;
}

/* *model: the bytes of --from, or NULL. */
static PipelineGraphRows *read_rows(const CommandCommon *common, const TrainArguments *arguments, GBytes **model,
                                    GError **error)
{
  CommandModel start = {0};
  PipelineGraphRows *rows = NULL;
  if (g_str_has_suffix(arguments->data, ".npz")) {
    rows = read_arrays(arguments, error);
    if (rows == NULL || arguments->from == NULL) return rows;
    gchar *contents = NULL;
    gsize length;
    if (g_file_get_contents(arguments->from, &contents, &length, error)) {
      *model = g_bytes_new_take(contents, length);
      return rows;
    }
    pipeline_graph_rows_free(rows);
    return NULL;
  }
  g_autoptr(DriftTable) table = command_read_table(arguments->data, error);
  if (table == NULL) return NULL;
  if (arguments->from != NULL
          ? command_load_model(common, arguments->from, table, arguments->label, &start, error)
          : (start.schema = command_infer_schema(table, arguments->label, arguments->sensitive, arguments->exclude,
                                                 arguments->positive, error)) != NULL)
    rows = pipeline_graph_rows_from_table(table, start.schema, error);
  if (rows != NULL && start.onnx != NULL) *model = g_bytes_ref(start.onnx);
  command_model_clear(&start);
  return rows;
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static gboolean fill_image(const TrainGraphArguments *a, PipelineGraphTrainOptions *options, GError **error)
{
  if (a->image == NULL) return TRUE;
  g_auto(GStrv) parts = g_strsplit(a->image, ",", -1);
  guint *sizes[] = {&options->channels, &options->height, &options->width};
  gboolean good = g_strv_length(parts) == G_N_ELEMENTS(sizes);
  for (guint i = 0; good && i < G_N_ELEMENTS(sizes); i++) {
    guint64 size = 0;
    good = g_ascii_string_to_unsigned(parts[i], 10, 1, 65536, &size, NULL);
    *sizes[i] = (guint)size;
  }
  return good || invalid(error, "--image: write channels,height,width, e.g. 1,28,28");
}

static const struct {
  const gchar *name;
  PipelineAverage average;
} averages[] = {{"none", PIPELINE_AVERAGE_NONE}, {"ema", PIPELINE_AVERAGE_EMA}, {"swa", PIPELINE_AVERAGE_SWA}};

static gboolean fill_average(const TrainGraphArguments *a, PipelineGraphFitOptions *fit, GError **error)
{
  for (guint i = 0; i < G_N_ELEMENTS(averages); i++) {
    if (g_strcmp0(a->average, averages[i].name) != 0) continue;
    fit->average = averages[i].average;
    return TRUE;
  }
  return a->average == NULL || invalid(error, "--average: none, ema or swa");
}

static gboolean fill_fit(const TrainArguments *arguments, PipelineGraphFitOptions *fit, GError **error)
{
  const TrainGraphArguments *a = &arguments->graph;
  if (arguments->epochs > 0) fit->epochs = (guint)arguments->epochs;
  if (arguments->batch_size > 0) fit->batch_size = (guint)arguments->batch_size;
  fit->patience = (guint)arguments->patience;
  fit->seed = (guint64)arguments->seed;
  if (!isnan(arguments->learning_rate)) fit->learning_rate = arguments->learning_rate;
  if (!isnan(arguments->weight_decay)) fit->optimiser_options.weight_decay = arguments->weight_decay;
  fit->optimiser_options.momentum = a->momentum;
  fit->optimiser_options.l1 = a->l1;
  fit->optimiser_options.l2 = a->l2;
  fit->clip_norm = a->clip_norm;
  fit->clip_value = a->clip_value;
  fit->augment.noise = a->noise;
  fit->augment.mixup = a->mixup;
  fit->augment.flip = a->flip;
  if (a->warm_up < 0 || a->shift < 0 || a->cutout < 0)
    return invalid(error, "--warm-up, --shift and --cutout cannot be negative");
  fit->augment.shift = (guint)a->shift;
  fit->augment.cutout = (guint)a->cutout;
  fit->schedule_options.warm_up = (guint64)a->warm_up;
  if (a->optimiser != NULL && (fit->optimiser = pipeline_optimiser_find(a->optimiser, error)) == NULL) return FALSE;
  if (a->schedule != NULL && (fit->schedule = pipeline_schedule_find(a->schedule, error)) == NULL) return FALSE;
  return fill_average(a, fit, error);
}

static gboolean fill_options(const TrainArguments *arguments, gchar **freeze, GBytes *model,
                             PipelineGraphTrainOptions *options, GError **error)
{
  const TrainGraphArguments *a = &arguments->graph;
  pipeline_graph_train_options_init(options);
  options->architecture = arguments->architecture != NULL             ? arguments->architecture
                          : g_str_has_suffix(arguments->data, ".npz") ? "cnn:32,64"
                                                                      : "mlp:64,64";
  options->from = model;
  options->new_head = a->new_head;
  options->freeze = a->freeze != NULL ? (const gchar *const *)freeze : NULL;
  options->backend = arguments->backend;
  options->loss = a->loss;
  options->loss_options.label_smoothing = a->label_smoothing;
  options->balanced = g_strcmp0(a->class_weights, "balanced") == 0;
  if (!isnan(a->dropout)) options->dropout = a->dropout;
  options->validation_fraction = arguments->validation;
  options->test_fraction = a->test;
  options->shuffle_split = arguments->shuffle;
  options->checkpoint = arguments->checkpoint;
  options->checkpoint_seconds = arguments->checkpoint_seconds;
  if (a->class_weights != NULL && !options->balanced) return invalid(error, "--class-weights: balanced");
  if (arguments->adversarial_epsilon > 0)
    return invalid(error, "--adversarial-epsilon is for tables of --arch mlp without options of a graph");
  return fill_image(a, options, error) && fill_fit(arguments, &options->fit, error);
}

gboolean command_train_graph_run(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                                 GError **error)
{
  g_autoptr(GBytes) model = NULL;
  g_auto(GStrv) freeze = command_split_names(arguments->graph.freeze);
  PipelineGraphTrainOptions options;
  g_autoptr(PipelineGraphRows) rows = read_rows(common, arguments, &model, error);
  return rows != NULL && fill_options(arguments, freeze, model, &options, error) &&
         pipeline_graph_train(rows, &options, progress, user_data, result, error);
}
