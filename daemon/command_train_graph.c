/* `kedge train` on a graph: its options, and what they mean to pipeline/graph_trainer.h. */
#include <math.h>
#include <string.h>

#include "daemon/command_arrays.h"
#include "daemon/command_labels.h"
#include "daemon/command_train_internal.h"
#include "pipeline/graph_build.h"
#include "pipeline/graph_trainer.h"

void command_train_graph_init(TrainGraphArguments *arguments)
{
  *arguments = (TrainGraphArguments){.momentum = 0.9,
                                     .dropout = NAN,
                                     .rehearse_share = 0.5,
                                     .layer_decay = 1,
                                     .focal_gamma = NAN,
                                     .huber_delta = NAN,
                                     .quantile = NAN};
}

void command_train_graph_clear(TrainGraphArguments *arguments)
{
  gchar *texts[] = {arguments->features,  arguments->image,    arguments->loss,     arguments->class_weights,
                    arguments->optimiser, arguments->schedule, arguments->average,  arguments->freeze,
                    arguments->log,       arguments->rehearse, arguments->precision};
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
      {"interval", 0, 0, G_OPTION_ARG_DOUBLE, &a->interval,
       "of a regression: also predict bounds that hold the label with this probability, e.g. 0.9", "P"},
      {"focal-gamma", 0, 0, G_OPTION_ARG_DOUBLE, &a->focal_gamma,
       "of the loss focal: how much less easy rows count (default 2)", "G"},
      {"huber-delta", 0, 0, G_OPTION_ARG_DOUBLE, &a->huber_delta,
       "of the loss huber, in standard deviations of the label: differences beyond it count linearly (default 1)", "D"},
      {"quantile", 0, 0, G_OPTION_ARG_DOUBLE, &a->quantile,
       "of the loss quantile: the share of labels below the prediction (default 0.5)", "Q"},
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
      {"layer-decay", 0, 0, G_OPTION_ARG_DOUBLE, &a->layer_decay,
       "the learning rate falls by this factor a layer away from the head (default 1)", "D"},
      {"rehearse", 0, 0, G_OPTION_ARG_FILENAME, &a->rehearse,
       "old rows (as --data) mixed into every batch, against forgetting", "OLD"},
      {"rehearse-share", 0, 0, G_OPTION_ARG_DOUBLE, &a->rehearse_share,
       "of each batch that --rehearse fills (default 0.5)", "F"},
      {"row-visits", 0, 0, G_OPTION_ARG_INT64, &a->row_visits,
       "rows visited at the most, rehearsed ones too; 0: as the epochs ask for", "N"},
      {"noise", 0, 0, G_OPTION_ARG_DOUBLE, &a->noise, "standard deviation of noise on every number (default 0)", "S"},
      {"mixup", 0, 0, G_OPTION_ARG_DOUBLE, &a->mixup, "alpha of mixup (default 0: off)", "A"},
      {"shift", 0, 0, G_OPTION_ARG_INT, &a->shift, "images are moved by up to N pixels (default 0)", "N"},
      {"flip", 0, 0, G_OPTION_ARG_DOUBLE, &a->flip, "share of images that are mirrored (default 0)", "P"},
      {"cutout", 0, 0, G_OPTION_ARG_INT, &a->cutout, "side of a square cut out of images (default 0: none)", "N"},
      {"test", 0, 0, G_OPTION_ARG_DOUBLE, &a->test,
       "share of the rows, the very last ones, that only measures (default 0)", "F"},
      {"spill", 0, 0, G_OPTION_ARG_NONE, &a->spill,
       "train on the graph with the rows in a temporary file instead of in memory (those of files above 256 MiB are)",
       NULL},
      {"precision", 0, 0, G_OPTION_ARG_STRING, &a->precision,
       "of products and convolutions: float32 (default), or bf16 on cuda and reference (with scaling of the loss)",
       "P"},
      {"micro-batch", 0, 0, G_OPTION_ARG_INT, &a->micro_batch,
       "rows of a pass: a batch goes through in several, whose gradients are added up (default: the whole batch where "
       "a "
       "device has memory for it)",
       "N"},
      {"device-memory", 0, 0, G_OPTION_ARG_INT64, &a->device_memory,
       "of a CUDA device that the training may take (default: what is free, or KEDGE_CUDA_MEMORY)", "BYTES"},
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
                          a->average,  a->freeze, a->log,  a->rehearse,      a->precision};
  gboolean asked = g_str_has_suffix(arguments->data, ".npz") || arguments->communicator != NULL ||
                   command_labels_are_several(arguments->label) || arguments->harden.method != NULL ||
                   (arguments->architecture != NULL && pipeline_graph_is_architecture(arguments->architecture)) ||
                   a->new_head || a->warm_up != 0 || a->shift != 0 || a->cutout != 0 || a->label_smoothing != 0 ||
                   a->clip_norm != 0 || a->clip_value != 0 || a->l1 != 0 || a->l2 != 0 || !isnan(a->dropout) ||
                   !isnan(a->focal_gamma) || !isnan(a->huber_delta) || !isnan(a->quantile) || a->interval != 0 ||
                   a->noise != 0 || a->mixup != 0 || a->flip != 0 || (a->test != 0 && arguments->split == NULL) ||
                   a->layer_decay != 1 || a->row_visits != 0 || a->micro_batch != 0 || a->device_memory != 0 ||
                   a->spill;
  for (guint i = 0; i < G_N_ELEMENTS(texts); i++) asked = asked || texts[i] != NULL;
  return asked;
}

static gboolean invalid(GError **error, const gchar *message)
{
  g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, message);
  return FALSE;
}

/* --- data --------------------------------------------------------------------------------------------------------- */

/* The rows of several labels: a table in memory. */
static PipelineGraphRows *read_labels(const TrainArguments *arguments, GError **error)
{
  g_autofree gchar *excluded = command_train_excluded(arguments);
  g_autofree double *weights = NULL;
  const gchar *problem = arguments->from != NULL                     ? "--from: they are for new models"
                         : g_str_has_suffix(arguments->data, ".npz") ? "an .npz: they are columns of a table"
                         : arguments->graph.spill                    ? "--spill: their rows are read as a table"
                         : arguments->positive != NULL               ? "--positive: 1 is positive"
                                                                     : NULL;
  if (problem != NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "several labels do not go with %s", problem);
    return NULL;
  }
  g_autoptr(DriftTable) table = command_read_table(arguments->data, error);
  if (table == NULL ||
      (arguments->weights != NULL && (weights = command_train_read_weights(arguments, table, error)) == NULL))
    return NULL;
  g_autoptr(PipelineGraphRows) rows =
      command_labels_rows(table, arguments->label, arguments->sensitive, excluded, error);
  if (rows != NULL && weights != NULL && !pipeline_graph_rows_set_weights(rows, weights, table->n_rows, error))
    return NULL;
  return g_steal_pointer(&rows);
}

PipelineGraphRows *command_train_graph_read(const CommandCommon *common, const TrainArguments *arguments,
                                            GBytes **model, GError **error)
{
  CommandModel start = {0};
  PipelineGraphRows *rows = NULL;
  if (command_labels_are_several(arguments->label)) return read_labels(arguments, error);
  if (g_str_has_suffix(arguments->data, ".npz")) {
    rows = command_read_arrays(arguments->data, arguments->label, arguments->graph.features, arguments->weights,
                               command_train_streams(arguments, arguments->data), error);
    if (rows == NULL || arguments->from == NULL) return rows;
    *model = command_read_onnx(common, arguments->from, error);
    if (*model != NULL) return rows;
    pipeline_graph_rows_free(rows);
    return NULL;
  }
  if (!command_train_stream_check(arguments, error)) return NULL;
  if (command_train_streams(arguments, arguments->data))
    return command_train_stream_read(common, arguments, model, error);
  g_autofree gchar *excluded = command_train_excluded(arguments);
  g_autofree double *weights = NULL;
  g_autoptr(DriftTable) table = command_read_table(arguments->data, error);
  if (table == NULL) return NULL;
  if (arguments->weights != NULL && (weights = command_train_read_weights(arguments, table, error)) == NULL)
    return NULL;
  if (arguments->from != NULL ? command_load_model(common, arguments->from, table, arguments->label, &start, error)
                              : (start.schema = command_infer_schema(table, arguments->label, arguments->sensitive,
                                                                     excluded, arguments->positive, error)) != NULL)
    rows = pipeline_graph_rows_from_table(table, start.schema, error);
  if (rows != NULL && weights != NULL && !pipeline_graph_rows_set_weights(rows, weights, table->n_rows, error))
    g_clear_pointer(&rows, pipeline_graph_rows_free);
  if (rows != NULL && start.onnx != NULL) *model = g_bytes_ref(start.onnx);
  command_model_clear(&start);
  return rows;
}

/* The rows of --rehearse, read as those of the data; *rows stays NULL without the option. */
static gboolean read_rehearsal(const TrainArguments *arguments, const PipelineGraphRows *fresh,
                               PipelineGraphRows **rows, GError **error)
{
  const gchar *path = arguments->graph.rehearse;
  if (path == NULL) return TRUE;
  if (g_str_has_suffix(path, ".npz"))
    return (*rows = command_read_arrays(path, arguments->label, arguments->graph.features, NULL,
                                        command_train_streams(arguments, path), error)) != NULL;
  if (command_train_streams(arguments, path))
    return (*rows = command_train_stream_read_old(path, fresh->schema, error)) != NULL;
  g_autoptr(DriftTable) table = command_read_table(path, error);
  if (table == NULL || (*rows = pipeline_graph_rows_from_table(table, fresh->schema, error)) == NULL) {
    g_prefix_error(error, "%s: ", path);
    return FALSE;
  }
  return TRUE;
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

static gboolean fill_memory(const TrainGraphArguments *a, PipelineGraphFitOptions *fit, GError **error)
{
  if (a->micro_batch < 0 || a->device_memory < 0)
    return invalid(error, "--micro-batch and --device-memory cannot be negative");
  fit->micro_batch = (guint)a->micro_batch;
  fit->device_memory = (gsize)a->device_memory;
  if (g_strcmp0(a->precision, "bf16") == 0) fit->precision = PIPELINE_PRECISION_BFLOAT16;
  return a->precision == NULL || fit->precision == PIPELINE_PRECISION_BFLOAT16 ||
         g_str_equal(a->precision, "float32") || invalid(error, "--precision: float32 or bf16");
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
  if (a->row_visits < 0) return invalid(error, "--row-visits cannot be negative");
  fit->row_visits = (guint64)a->row_visits;
  fit->rehearsal_share = a->rehearse_share;
  if (a->optimiser != NULL && (fit->optimiser = pipeline_optimiser_find(a->optimiser, error)) == NULL) return FALSE;
  if (a->schedule != NULL && (fit->schedule = pipeline_schedule_find(a->schedule, error)) == NULL) return FALSE;
  return fill_memory(a, fit, error) && fill_average(a, fit, error);
}

/* An option of a loss that is not the one that is taken would be lost in silence. */
static gboolean check_loss_options(const TrainGraphArguments *a, GError **error)
{
  const struct {
    double value;
    const gchar *loss, *message;
  } rules[] = {{a->focal_gamma, "focal", "--focal-gamma needs --loss focal"},
               {a->huber_delta, "huber", "--huber-delta needs --loss huber"},
               {a->quantile, "quantile", "--quantile needs --loss quantile"}};
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++)
    if (!isnan(rules[i].value) && g_strcmp0(a->loss, rules[i].loss) != 0) return invalid(error, rules[i].message);
  return TRUE;
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
  if (!isnan(a->focal_gamma)) options->loss_options.focal_gamma = a->focal_gamma;
  if (!isnan(a->huber_delta)) options->loss_options.huber_delta = a->huber_delta;
  options->quantile = a->quantile;
  options->interval = a->interval;
  if (a->interval != 0 && arguments->from != NULL)
    return invalid(error, "--interval is for new models; --from keeps the interval that the model has");
  if (!isnan(a->dropout)) options->dropout = a->dropout;
  options->validation_fraction = arguments->validation;
  options->test_fraction = a->test;
  options->layer_decay = a->layer_decay;
  options->shuffle_split = arguments->shuffle;
  options->checkpoint = arguments->checkpoint;
  options->checkpoint_seconds = arguments->checkpoint_seconds;
  options->calibration = (PipelineCalibrationOptions){arguments->calibrate, arguments->threshold};
  if (a->class_weights != NULL && !options->balanced) return invalid(error, "--class-weights: balanced");
  if (arguments->reweigh != NULL)
    return invalid(error,
                   "--reweigh works with trees, and with dense models without the options of a graph (see --help)");
  if (arguments->monotone != NULL) return invalid(error, "--monotone is for trees (--arch trees)");
  if (arguments->adversarial_epsilon > 0 && arguments->harden.method == NULL)
    return invalid(error, "--adversarial-epsilon without --adversarial METHOD is for tables of --arch mlp without "
                          "options of a graph");
  return check_loss_options(a, error) && fill_image(a, options, error) && fill_fit(arguments, &options->fit, error) &&
         command_train_harden_fill(arguments, options, error);
}

gboolean command_train_graph_run(const CommandCommon *common, const TrainArguments *arguments,
                                 PipelineTrainProgressFunc progress, PipelineTrainStopFunc stop, gpointer user_data,
                                 PipelineTrainResult *result, GError **error)
{
  g_autoptr(GBytes) model = NULL;
  g_auto(GStrv) freeze = command_split_names(arguments->graph.freeze);
  PipelineGraphTrainOptions options;
  g_autoptr(PipelineGraphRows) rows = command_train_graph_read(common, arguments, &model, error), old = NULL;
  gboolean ready = rows != NULL && read_rehearsal(arguments, rows, &old, error) &&
                   fill_options(arguments, freeze, model, &options, error);
  if (!pipeline_communicator_agree(arguments->communicator, ready, error)) return FALSE;
  options.fit.communicator = arguments->communicator;
  options.rehearsal = old;
  options.stop = stop;
  return pipeline_graph_train(rows, &options, progress, user_data, result, error);
}
