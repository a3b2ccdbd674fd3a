/* Accuracy under PGD: gradients by the dense network that is in the model's graph, the verdict by the model itself on
 * the moved rows. */
#include <math.h>

#include "pipeline/attack.h"
#include "pipeline/calibration.h"
#include "pipeline/evaluate.h"
#include "pipeline/network_features.h"
#include "pipeline/network_graph.h"
#include "pipeline/trainer_rows.h"

#define CHUNK_ROWS 256u

typedef struct {
  PipelineModel *model;
  const DriftSchema *schema;
  PipelineTrainerRows *rows;
  DriftTable *table; /* the rows with a usable label */
  float *targets;    /* of them: class indices */
  guint n_features;  /* attacked ones */
  float *shifts;     /* [n, n_features], in standard deviations */
} Robustness;

static void robustness_clear(Robustness *robustness)
{
  pipeline_trainer_rows_free(robustness->rows);
  drift_table_free(robustness->table);
  g_free(robustness->targets);
  g_free(robustness->shifts);
}

static gboolean select_rows(Robustness *robustness, const DriftTable *table, GError **error)
{
  robustness->rows = pipeline_trainer_rows_new(table, robustness->schema, error);
  if (!robustness->rows) return FALSE;
  guint64 n = robustness->rows->n;
  robustness->table = drift_table_select(table, robustness->rows->rows, n);
  robustness->targets = g_new(float, n);
  for (guint64 i = 0; i < n; i++) robustness->targets[i] = robustness->rows->targets[robustness->rows->rows[i]];
  return TRUE;
}

static gboolean attack_rows(Robustness *robustness, const PipelineNetworkGraph *graph, const PipelineAttackSpace *space,
                            const float *x, const PipelineAttackOptions *options, guint64 seed, GError **error)
{
  const PipelineNetwork *network = graph->network;
  const PipelineNetworkBackend *backend = pipeline_network_backend_find(NULL, error);
  g_autoptr(PipelinePass) pass = backend ? pipeline_pass_new(network, backend, CHUNK_ROWS, error) : NULL;
  if (!pass) return FALSE;
  g_autoptr(PipelineAttack) attack = pipeline_attack_new(pass, network, space);
  g_autofree float *attacked = g_new(float, (gsize)CHUNK_ROWS * network->n_inputs);
  g_autofree float *targets = g_memdup2(robustness->targets, robustness->rows->n * sizeof(float));
  pipeline_network_graph_map_targets(graph, targets, robustness->rows->n);
  PipelineRandom random;
  pipeline_random_seed(&random, seed);
  robustness->n_features = space->n_features;
  robustness->shifts = g_try_new(float, robustness->rows->n * space->n_features);
  if (!robustness->shifts) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "no memory to attack %" G_GUINT64_FORMAT " rows",
                robustness->rows->n);
    return FALSE;
  }
  for (guint64 start = 0; start < robustness->rows->n; start += CHUNK_ROWS) {
    guint n = (guint)MIN(CHUNK_ROWS, robustness->rows->n - start);
    if (!pipeline_attack_run(attack, options, x + start * network->n_inputs, targets + start, n, &random, attacked,
                             robustness->shifts + start * space->n_features, error))
      return FALSE;
  }
  return TRUE;
}

/* Finds the moves. Fails with the reason why the model cannot be attacked. */
static gboolean find_shifts(Robustness *robustness, const PipelineAttackOptions *options, guint64 seed,
                            GArray **numeric, GError **error)
{
  if (robustness->schema->task == DRIFT_TASK_REGRESSION) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_UNSUPPORTED, "a regression has no accuracy");
    return FALSE;
  }
  /* Gradients by what a calibration leaves in order; the verdict by the model as it is. */
  g_autoptr(GBytes) raw = pipeline_calibration_remove(pipeline_model_get_onnx(robustness->model), NULL, NULL, error);
  g_autoptr(PipelineNetworkGraph) graph =
      raw != NULL ? pipeline_network_graph_read(raw, robustness->schema, error) : NULL;
  g_autoptr(PipelineFeatureReader) reader =
      graph ? pipeline_feature_reader_new(graph, robustness->schema, error) : NULL;
  g_autofree float *x = reader ? pipeline_feature_reader_read(reader, robustness->table, error) : NULL;
  g_autoptr(PipelineAttackSpace) space =
      x ? pipeline_feature_reader_find_space(reader, robustness->table, error) : NULL;
  if (!space || !attack_rows(robustness, graph, space, x, options, seed, error)) return FALSE;
  *numeric = pipeline_feature_reader_list_numeric(reader);
  return TRUE;
}

static void move_rows(Robustness *robustness, const GArray *numeric)
{
  for (guint f = 0; f < numeric->len; f++) {
    const gchar *name = drift_schema_get_feature(robustness->schema, g_array_index(numeric, guint, f))->name;
    DriftColumn *column = drift_table_get_column(robustness->table, name);
    double sd = pipeline_column_sd(column);
    for (guint64 i = 0; i < robustness->rows->n; i++)
      g_array_index(column->numbers, double, i) += sd * robustness->shifts[i * robustness->n_features + f];
  }
}

/* right [n]: is the model's class the true one? The rows that already were wrong stay wrong. */
static gboolean keep_right(Robustness *robustness, gboolean *right, GError **error)
{
  guint n_outputs = pipeline_model_get_n_outputs(robustness->model);
  g_autofree float *outputs = g_new(float, robustness->rows->n *n_outputs);
  if (!pipeline_model_predict_table(robustness->model, robustness->table, outputs, error)) return FALSE;
  for (guint64 i = 0; i < robustness->rows->n; i++)
    if (pipeline_model_decide(robustness->model, outputs + i * n_outputs) != (guint)robustness->targets[i])
      right[i] = FALSE;
  return TRUE;
}

static gboolean measure(Robustness *robustness, const GArray *numeric, double *accuracy, GError **error)
{
  guint64 n = robustness->rows->n, count = 0;
  g_autofree gboolean *right = g_new(gboolean, n);
  for (guint64 i = 0; i < n; i++) right[i] = TRUE;
  if (!keep_right(robustness, right, error)) return FALSE; /* the row itself lies in the ball */
  move_rows(robustness, numeric);
  if (!keep_right(robustness, right, error)) return FALSE;
  for (guint64 i = 0; i < n; i++) count += right[i] ? 1 : 0;
  *accuracy = (double)count / (double)n;
  return TRUE;
}

gboolean pipeline_evaluate_robustness(PipelineModel *model, const DriftTable *table, double epsilon, guint steps,
                                      guint64 seed, PipelineEvaluation *evaluation, GError **error)
{
  if (!(epsilon > 0 && isfinite(epsilon)) || steps == 0) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "an attack needs an epsilon above 0 and at least one step, not %g and %u", epsilon, steps);
    return FALSE;
  }
  Robustness robustness = {.model = model, .schema = pipeline_model_get_schema(model)};
  const PipelineAttackOptions options = {.epsilon = epsilon, .steps = steps, .keep_worst = TRUE};
  g_autoptr(GArray) numeric = NULL;
  g_autoptr(GError) reason = NULL;
  double accuracy = NAN;
  gboolean done = select_rows(&robustness, table, error);
  if (done && find_shifts(&robustness, &options, seed, &numeric, &reason))
    done = measure(&robustness, numeric, &accuracy, error);
  robustness_clear(&robustness);
  if (!done) return FALSE;
  evaluation->robust_accuracy = accuracy;
  evaluation->robust_epsilon = epsilon;
  g_free(evaluation->robust_undefined);
  evaluation->robust_undefined = reason ? g_strdup(reason->message) : NULL;
  return TRUE;
}
