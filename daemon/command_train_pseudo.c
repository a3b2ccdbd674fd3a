/* `kedge train --unlabelled`: its options, the training, and what is said of the pseudo-labels. */
#include <math.h>
#include <stdio.h>

#include "daemon/command_train_internal.h"

void command_train_pseudo_entries(TrainArguments *a, GArray *entries)
{
  const GOptionEntry own[] = {
      {"unlabelled", 0, 0, G_OPTION_ARG_FILENAME, &a->unlabelled,
       "CSV of rows without labels: those that the model is sure of train too", "U.csv"},
      {"confidence", 0, 0, G_OPTION_ARG_DOUBLE, &a->pseudo.confidence,
       "with --unlabelled: least calibrated probability (default 0.95)", "P"},
      {"pseudo-weight", 0, 0, G_OPTION_ARG_DOUBLE, &a->pseudo.weight,
       "with --unlabelled: weight of such a row beside a labelled one (default 1)", "W"},
      {"pseudo-balance", 0, 0, G_OPTION_ARG_DOUBLE, &a->pseudo.balance,
       "with --unlabelled: most of a class, as a multiple of its share of the labelled rows (default 2)", "B"},
      {"pseudo-rounds", 0, 0, G_OPTION_ARG_INT, &a->pseudo_rounds, "with --unlabelled: teacher and student (default 1)",
       "N"}};
  g_array_append_vals(entries, own, G_N_ELEMENTS(own));
}

const gchar *command_train_pseudo_check(const TrainArguments *arguments)
{
  if (!arguments->unlabelled) return NULL;
  if (arguments->pseudo_rounds < 1) return "--pseudo-rounds must be at least 1";
  if (command_train_graph_is_asked(arguments))
    return "--unlabelled works with dense models without the options of a graph (see --help)";
  return NULL;
}

static json_t *real_or_null(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *describe(const PipelinePseudoLabels *labels, const DriftSchema *schema)
{
  json_t *by_class = json_object();
  for (guint c = 0; c < labels->n_classes; c++)
    json_object_set_new(by_class, g_ptr_array_index(schema->classes, c), json_integer((json_int_t)labels->taken[c]));
  return json_pack("{s:I, s:I, s:I, s:i, s:o, s:I, s:o, s:o}", "unlabelled", (json_int_t)labels->n_unlabelled,
                   "confident", (json_int_t)labels->n_confident, "taken", (json_int_t)labels->n_taken, "rounds",
                   (int)labels->rounds, "by_class", by_class, "calibration_rows", (json_int_t)labels->n_calibration,
                   "scale", real_or_null(labels->scale), "teacher_metric", real_or_null(labels->teacher_metric));
}

gboolean command_train_table(const TrainArguments *arguments, const DriftTable *table, const DriftSchema *schema,
                             const PipelineTrainOptions *options, PipelineTrainProgressFunc progress,
                             gpointer user_data, PipelineTrainResult *result, json_t **told, GError **error)
{
  if (!arguments->unlabelled) return pipeline_train(table, schema, options, progress, user_data, result, error);
  g_autoptr(DriftTable) unlabelled = command_read_table(arguments->unlabelled, error);
  if (!unlabelled) return FALSE;
  PipelinePseudoOptions pseudo = arguments->pseudo;
  PipelinePseudoLabels labels = {0};
  pseudo.rounds = (guint)arguments->pseudo_rounds;
  if (!pipeline_train_pseudo(table, unlabelled, schema, options, &pseudo, progress, user_data, result, &labels, error))
    return FALSE;
  *told = describe(&labels, schema);
  pipeline_pseudo_labels_clear(&labels);
  return TRUE;
}

void command_train_pseudo_print(const json_t *report)
{
  const json_t *labels = json_object_get(report, "pseudo_labels");
  if (!labels) return;
  g_autofree gchar *unlabelled = command_text_count(json_object_get(labels, "unlabelled"));
  g_autofree gchar *confident = command_text_count(json_object_get(labels, "confident"));
  g_autofree gchar *taken = command_text_count(json_object_get(labels, "taken"));
  g_autofree gchar *calibration = command_text_count(json_object_get(labels, "calibration_rows"));
  g_autofree gchar *teacher = command_text_real(json_object_get(labels, "teacher_metric"), 4);
  g_autofree gchar *scale = command_text_real(json_object_get(labels, "scale"), 3);
  const char *name;
  json_t *count;
  printf("pseudo-labels: %s of %s unlabelled rows (%s were sure enough), round %" JSON_INTEGER_FORMAT
         "; logits times %s by %s validation rows; first teacher's accuracy on them %s\n",
         taken, unlabelled, confident, json_integer_value(json_object_get(labels, "rounds")), scale, calibration,
         teacher);
  json_object_foreach (json_object_get(labels, "by_class"), name, count) {
    g_autofree gchar *rows = command_text_count(count);
    printf("  %s: %s rows\n", name, rows);
  }
}
