/* Learning: see mixture.h. */
#include "pipeline/mixture_internal.h"

#include <math.h>
#include <string.h>

#include "drift/change.h"
#include "pipeline/trainer.h"
#include "pipeline/trainer_rows.h"

enum { RIGHT = 0, WRONG = 1, UNKNOWN = 2 };
static const double LOWEST = .02, HIGHEST = .98; /* of a probability that moves a weight */

const gchar *const pipeline_expert_kinds[PIPELINE_N_EXPERTS] = {"base", "steady", "reset", "trained"};

void pipeline_mixture_options_init(PipelineMixtureOptions *options)
{
  *options = (PipelineMixtureOptions){.block = 10,
                                      .experts = 12,
                                      .rate = .1,
                                      .share = 1e-4,
                                      .penalty = 1,
                                      .forgetting = .9995,
                                      .alarm = 25,
                                      .takeover = 12.5,
                                      .history = 2500,
                                      .minimum_side = 5,
                                      .steps = {100, 300, 1000, 3200},
                                      .tokens = 8,
                                      .token_rows = 2000,
                                      .keep_rows = 4000,
                                      .architecture = "mlp:64,64",
                                      .weight_decay = .05,
                                      .seed = 1};
}

void pipeline_mixture_step_clear(PipelineMixtureStep *step)
{
  g_clear_pointer(&step->errors, g_byte_array_unref);
}

PipelineExpert *pipeline_expert_new(PipelineExpertKind kind, const gchar *name)
{
  PipelineExpert *expert = g_new0(PipelineExpert, 1);
  expert->kind = kind;
  expert->name = g_strdup(name);
  expert->change = -1;
  return expert;
}

void pipeline_expert_free(PipelineExpert *expert)
{
  if (expert == NULL) return;
  g_free(expert->name);
  g_clear_pointer(&expert->onnx, g_bytes_unref);
  pipeline_model_free(expert->model);
  pipeline_mixture_head_free(expert->head);
  g_free(expert);
}

PipelineExpert *pipeline_mixture_get_expert(const PipelineMixture *mixture, guint index)
{
  return g_ptr_array_index(mixture->experts, index);
}

void pipeline_mixture_free(PipelineMixture *mixture)
{
  if (mixture == NULL) return;
  pipeline_hidden_reader_free(mixture->hidden);
  pipeline_network_graph_free(mixture->base_graph);
  g_clear_pointer(&mixture->experts, g_ptr_array_unref);
  g_clear_pointer(&mixture->errors, g_byte_array_unref);
  drift_schema_free(mixture->schema);
  g_free(mixture->architecture);
  g_free(mixture);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static PipelineMixture *mixture_alloc(const DriftSchema *schema)
{
  PipelineMixture *mixture = g_new0(PipelineMixture, 1);
  mixture->schema = drift_schema_copy(schema);
  mixture->experts = g_ptr_array_new_with_free_func((GDestroyNotify)pipeline_expert_free);
  mixture->errors = g_byte_array_new();
  mixture->change = -1;
  return mixture;
}

static gboolean refuse(GError **error, PipelineError code, const gchar *why)
{
  g_set_error(error, PIPELINE_ERROR, code, "a mixture cannot be made of this model: %s", why);
  return FALSE;
}

/* The base's network, whose last hidden layer the ridges read. */
static gboolean read_base(PipelineMixture *mixture, GError **error)
{
  PipelineExpert *base = pipeline_mixture_get_expert(mixture, 0);
  mixture->base_graph = pipeline_network_graph_read(base->onnx, mixture->schema, error);
  if (mixture->base_graph == NULL) return FALSE;
  const PipelineNetwork *network = mixture->base_graph->network;
  guint last = network->layers->len - 1;
  const PipelineLayer *layer = pipeline_network_get_layer(network, last);
  if (network->loss.kind != PIPELINE_LOSS_SOFTMAX || layer->kind != PIPELINE_LAYER_DENSE ||
      layer->n_in > PIPELINE_HIDDEN_MAX)
    return refuse(error, PIPELINE_ERROR_MODEL, "it must end in a Gemm and a Softmax");
  for (guint c = 0; c < mixture->schema->classes->len; c++)
    if (mixture->base_graph->column_of[c] != c)
      return refuse(error, PIPELINE_ERROR_MODEL, "its outputs are not in the order of the schema's classes");
  /* oneDNN's sums depend on how many rows it is given; what was learned must not */
  mixture->hidden = pipeline_hidden_reader_new(mixture->base_graph, last, mixture->schema, "reference", error);
  return mixture->hidden != NULL;
}

static gboolean load_expert(const PipelineMixture *mixture, PipelineExpert *expert, GBytes *onnx, GError **error)
{
  expert->onnx = pipeline_mixture_canonical(onnx, error);
  expert->model = expert->onnx != NULL ? pipeline_model_load(expert->onnx, mixture->schema, NULL, error) : NULL;
  return expert->model != NULL;
}

static gboolean check_options(const PipelineMixtureOptions *o, GError **error)
{
  gboolean good = o->block > 0 && o->experts >= 4 && o->rate > 0 && o->share >= 0 && o->share < 1 && o->penalty >= 0 &&
                  o->forgetting > 0 && o->forgetting <= 1 && o->alarm > 0 && o->history >= 2 * o->minimum_side &&
                  o->minimum_side > 0 && o->keep_rows >= o->history && o->tokens >= 0;
  if (!good)
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                        "the options of a mixture are out of range (pipeline/mixture.h)");
  return good;
}

PipelineMixture *pipeline_mixture_new(GBytes *base, const DriftSchema *schema, const PipelineMixtureOptions *options,
                                      GError **error)
{
  if (!check_options(options, error)) return NULL;
  if (schema->task == DRIFT_TASK_REGRESSION) {
    refuse(error, PIPELINE_ERROR_UNSUPPORTED, "it is a regression; mixtures are for classes");
    return NULL;
  }
  g_autoptr(PipelineMixture) mixture = mixture_alloc(schema);
  mixture->options = *options;
  mixture->architecture = g_strdup(options->architecture);
  mixture->options.architecture = mixture->architecture;
  mixture->tokens = options->tokens;
  for (guint kind = PIPELINE_EXPERT_BASE; kind <= PIPELINE_EXPERT_RESET; kind++) {
    PipelineExpert *expert = pipeline_expert_new(kind, pipeline_expert_kinds[kind]);
    expert->weight = 1.0 / 3;
    g_ptr_array_add(mixture->experts, expert);
  }
  if (!load_expert(mixture, pipeline_mixture_get_expert(mixture, 0), base, error) || !read_base(mixture, error))
    return NULL;
  for (guint i = 1; i < mixture->experts->len; i++)
    pipeline_mixture_get_expert(mixture, i)->head =
        pipeline_mixture_head_new(pipeline_hidden_reader_n_columns(mixture->hidden) + 1, schema->classes->len);
  return g_steal_pointer(&mixture);
}

gboolean pipeline_mixture_is_revision(GBytes *onnx)
{
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, NULL);
  return graph != NULL && onnx_graph_get_metadata(graph, PIPELINE_MIXTURE_KEY) != NULL;
}

PipelineMixture *pipeline_mixture_from_onnx(GBytes *onnx, const DriftSchema *schema, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = onnx_graph_from_bytes(onnx, &cause);
  const gchar *state = graph != NULL ? onnx_graph_get_metadata(graph, PIPELINE_MIXTURE_KEY) : NULL;
  if (state == NULL) {
    refuse(error, PIPELINE_ERROR_MODEL, cause != NULL ? cause->message : "it carries no state of a mixture");
    return NULL;
  }
  g_autoptr(PipelineMixture) mixture = mixture_alloc(schema);
  if (!pipeline_mixture_state_parse(mixture, state, error) || !check_options(&mixture->options, error)) return NULL;
  for (guint i = 0; i < mixture->experts->len; i++) {
    PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    if (expert->kind != PIPELINE_EXPERT_BASE && expert->kind != PIPELINE_EXPERT_TRAINED) continue;
    g_autoptr(GBytes) own = pipeline_mixture_split(graph, expert->name, error);
    if (own == NULL || !load_expert(mixture, expert, own, error)) return NULL;
  }
  if (!read_base(mixture, error)) return NULL;
  guint size = pipeline_hidden_reader_n_columns(mixture->hidden) + 1, classes = schema->classes->len;
  for (guint i = 0; i < mixture->experts->len; i++) {
    const PipelineMixtureHead *head = pipeline_mixture_get_expert(mixture, i)->head;
    if (head == NULL || (head->size == size && head->n_classes == classes)) continue;
    refuse(error, PIPELINE_ERROR_MODEL, "the state of its ridges does not fit its base");
    return NULL;
  }
  return g_steal_pointer(&mixture);
}

GBytes *pipeline_mixture_to_onnx(PipelineMixture *mixture, GError **error)
{
  g_autoptr(GError) cause = NULL;
  g_autoptr(OnnxGraph) graph = pipeline_mixture_merge(mixture, error);
  if (graph == NULL) return NULL;
  g_autofree gchar *state = pipeline_mixture_state_format(mixture);
  onnx_graph_set_metadata(graph, PIPELINE_MIXTURE_KEY, state);
  GBytes *onnx = onnx_graph_to_bytes(graph, &cause);
  if (onnx == NULL) g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_MODEL, cause->message);
  return onnx;
}

static void drop_errors_before(PipelineMixture *mixture, gint64 row)
{
  gint64 first = mixture->rows - mixture->errors->len;
  if (row > first) g_byte_array_remove_range(mixture->errors, 0, (guint)MIN(row - first, (gint64)mixture->errors->len));
}

void pipeline_mixture_begin_at(PipelineMixture *mixture, gint64 row)
{
  mixture->rows = row;
  mixture->change = -1;
  g_byte_array_set_size(mixture->errors, 0);
}

void pipeline_mixture_forget_before(PipelineMixture *mixture, gint64 row)
{
  drop_errors_before(mixture, row);
}

double pipeline_mixture_get_error(const PipelineMixture *mixture, guint n, guint *n_known)
{
  guint known = 0, wrong = 0;
  for (guint i = mixture->errors->len; i-- > 0 && known < n;) {
    if (mixture->errors->data[i] == UNKNOWN) continue;
    known++;
    wrong += mixture->errors->data[i] == WRONG;
  }
  *n_known = known;
  return known > 0 ? (double)wrong / known : NAN;
}

const gchar *pipeline_mixture_get_weight(const PipelineMixture *mixture, guint index, double *weight)
{
  if (index >= mixture->experts->len) return NULL;
  const PipelineExpert *expert = pipeline_mixture_get_expert(mixture, index);
  *weight = expert->weight;
  return expert->name;
}

gint64 pipeline_mixture_get_rows(const PipelineMixture *mixture)
{
  return mixture->rows;
}

static gboolean has_steps(const PipelineMixture *mixture)
{
  return mixture->change >= 0 && mixture->step < PIPELINE_MIXTURE_STEPS && mixture->options.steps[mixture->step] > 0;
}

gint64 pipeline_mixture_get_first_row(const PipelineMixture *mixture)
{
  gint64 first = mixture->rows - mixture->errors->len;
  if (has_steps(mixture)) first = MIN(first, mixture->change);
  return MAX(first, mixture->rows - (gint64)mixture->options.keep_rows);
}

gchar *pipeline_mixture_describe(const PipelineMixture *mixture)
{
  GString *text = g_string_new(NULL);
  for (guint i = 0; i < mixture->experts->len; i++) {
    const PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    g_string_append_printf(text, "%s%s %.3f", i > 0 ? ", " : "", expert->name, expert->weight);
  }
  return g_string_free(text, FALSE);
}

/* --- rows with what the experts say of them ----------------------------------------------------------------------- */

typedef struct {
  DriftTable *rows;
  float *targets, *hidden; /* [n]: class, NaN: none; [n, hidden columns] */
  GHashTable *answers;     /* name of an expert with a model → double [n, classes] */
} Window;

static void window_clear(Window *window)
{
  g_clear_pointer(&window->rows, drift_table_free);
  g_clear_pointer(&window->targets, g_free);
  g_clear_pointer(&window->hidden, g_free);
  g_clear_pointer(&window->answers, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Window, window_clear)

static DriftTable *select_rows(const DriftTable *table, gint64 offset, guint64 n)
{
  g_autofree guint64 *rows = g_new(guint64, n + 1);
  for (guint64 i = 0; i < n; i++) rows[i] = (guint64)offset + i;
  return drift_table_select(table, rows, n);
}

/* Rows [offset, offset + n) of the table. */
static gboolean window_read(Window *window, PipelineMixture *mixture, const DriftTable *table, gint64 offset, guint64 n,
                            GError **error)
{
  const DriftColumn *label = drift_table_get_column(table, mixture->schema->label);
  if (label == NULL) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "label column \"%s\" is not in the data",
                mixture->schema->label);
    return FALSE;
  }
  window->rows = select_rows(table, offset, n);
  window->targets = g_new(float, n + 1);
  for (guint64 i = 0; i < n; i++) {
    DriftValue value = drift_column_get_value(label, (guint64)offset + i);
    gint class_index = drift_schema_class_of(mixture->schema, &value);
    window->targets[i] = class_index < 0 ? NAN : (float)class_index;
  }
  window->answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  window->hidden = pipeline_hidden_reader_read(mixture->hidden, window->rows, error);
  return window->hidden != NULL;
}

/* Borrowed: [n, classes] of an expert with a model. */
static const double *window_answers(Window *window, const PipelineMixture *mixture, PipelineExpert *expert,
                                    GError **error)
{
  const double *known = g_hash_table_lookup(window->answers, expert->name);
  if (known != NULL) return known;
  gsize n = window->rows->n_rows * mixture->schema->classes->len;
  g_autofree float *outputs = g_new(float, n + 1);
  if (!pipeline_model_predict_table(expert->model, window->rows, outputs, error)) return NULL;
  double *answers = g_new(double, n + 1);
  for (gsize i = 0; i < n; i++) answers[i] = (double)outputs[i];
  g_hash_table_insert(window->answers, g_strdup(expert->name), answers);
  return answers;
}

/* What every expert says of rows [start, start + n) of the window: new [experts][n, classes], free each by the array.
 */
static GPtrArray *ask(Window *window, const PipelineMixture *mixture, guint64 start, guint n, GError **error)
{
  guint classes = mixture->schema->classes->len, width = pipeline_hidden_reader_n_columns(mixture->hidden);
  g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func(g_free);
  for (guint i = 0; i < mixture->experts->len; i++) {
    PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    double *own = g_new(double, (gsize)n *classes + 1);
    g_ptr_array_add(answers, own);
    if (expert->head != NULL) {
      pipeline_mixture_head_predict(expert->head, window->hidden + start * width, n, own);
      continue;
    }
    const double *all = window_answers(window, mixture, expert, error);
    if (all == NULL) return NULL;
    memcpy(own, all + start * classes, (gsize)n * classes * sizeof(double));
  }
  return g_steal_pointer(&answers);
}

/* mixed [n, classes] = Σ w_i p_i. */
static void mix(const PipelineMixture *mixture, const GPtrArray *answers, guint n, double *mixed)
{
  gsize size = (gsize)n * mixture->schema->classes->len;
  memset(mixed, 0, size * sizeof(double));
  for (guint i = 0; i < answers->len; i++) {
    double weight = pipeline_mixture_get_expert(mixture, i)->weight;
    const double *own = g_ptr_array_index(answers, i);
    for (gsize k = 0; k < size; k++) mixed[k] += weight * own[k];
  }
}

static guint8 judge(const double *probabilities, guint classes, float target)
{
  guint best = 0;
  if (isnan(target)) return UNKNOWN;
  for (guint c = 1; c < classes; c++)
    if (probabilities[c] > probabilities[best]) best = c;
  return best == (guint)target ? RIGHT : WRONG;
}

/* Errors of the present mixture on rows [start, start + n) of the window, into errors [n]. */
static gboolean judge_rows(Window *window, const PipelineMixture *mixture, const GPtrArray *answers, guint64 start,
                           guint n, guint8 *errors)
{
  guint classes = mixture->schema->classes->len;
  g_autofree double *mixed = g_new(double, (gsize)n *classes + 1);
  mix(mixture, answers, n, mixed);
  for (guint i = 0; i < n; i++) errors[i] = judge(mixed + (gsize)i * classes, classes, window->targets[start + i]);
  return TRUE;
}

gboolean pipeline_mixture_predict(PipelineMixture *mixture, const DriftTable *table, double *probabilities,
                                  GError **error)
{
  g_auto(Window) window = {0};
  window.rows = select_rows(table, 0, table->n_rows);
  window.answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
  window.hidden = pipeline_hidden_reader_read(mixture->hidden, window.rows, error);
  g_autoptr(GPtrArray) answers = window.hidden != NULL ? ask(&window, mixture, 0, (guint)table->n_rows, error) : NULL;
  if (answers == NULL) return FALSE;
  mix(mixture, answers, (guint)table->n_rows, probabilities);
  return TRUE;
}

/* --- weights and ridges ------------------------------------------------------------------------------------------- */

static void normalise_weights(PipelineMixture *mixture)
{
  double sum = 0;
  for (guint i = 0; i < mixture->experts->len; i++) sum += pipeline_mixture_get_expert(mixture, i)->weight;
  for (guint i = 0; i < mixture->experts->len; i++) pipeline_mixture_get_expert(mixture, i)->weight /= sum;
}

static void learn_weights(PipelineMixture *mixture, const GPtrArray *answers, const float *targets, guint n)
{
  guint classes = mixture->schema->classes->len;
  for (guint e = 0; e < answers->len; e++) {
    const double *own = g_ptr_array_index(answers, e);
    double evidence = 0;
    for (guint i = 0; i < n; i++) {
      if (isnan(targets[i])) continue;
      evidence += log(CLAMP(own[(gsize)i * classes + (guint)targets[i]], LOWEST, HIGHEST));
    }
    pipeline_mixture_get_expert(mixture, e)->weight *= exp(mixture->options.rate * evidence);
  }
  normalise_weights(mixture);
  double spread = 1 - pow(1 - mixture->options.share, n), each = spread / mixture->experts->len;
  for (guint e = 0; e < mixture->experts->len; e++) {
    PipelineExpert *expert = pipeline_mixture_get_expert(mixture, e);
    expert->weight = (1 - spread) * expert->weight + each;
  }
}

static gboolean learn_head(const PipelineMixture *mixture, PipelineMixtureHead *head, const Window *window,
                           guint64 start, guint n, GError **error)
{
  guint width = pipeline_hidden_reader_n_columns(mixture->hidden);
  pipeline_mixture_head_add(head, window->hidden + start * width, window->targets + start, n,
                            mixture->options.forgetting);
  return pipeline_mixture_head_solve(head, mixture->options.penalty, error);
}

static gboolean learn_heads(PipelineMixture *mixture, const Window *window, guint64 start, guint n, GError **error)
{
  for (guint i = 0; i < mixture->experts->len; i++) {
    PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    if (expert->head != NULL && !learn_head(mixture, expert->head, window, start, n, error)) return FALSE;
  }
  return TRUE;
}

gboolean pipeline_mixture_warm(PipelineMixture *mixture, const DriftTable *table, GError **error)
{
  g_auto(Window) window = {0};
  return window_read(&window, mixture, table, 0, table->n_rows, error) &&
         learn_heads(mixture, &window, 0, (guint)table->n_rows, error);
}

/* --- alarms ------------------------------------------------------------------------------------------------------- */

/* A table whose row 0 is labelled row `first`. */
typedef struct {
  const DriftTable *table;
  gint64 first;
} Rows;

/* The likelihood ratio of the known errors; *change gets the first row after the most likely change. */
static double find_rise(const PipelineMixture *mixture, gint64 *change)
{
  g_autofree guint8 *known = g_new(guint8, mixture->errors->len + 1);
  g_autofree gint64 *rows = g_new(gint64, mixture->errors->len + 1);
  gint64 first = mixture->rows - mixture->errors->len;
  guint n = 0, split = 0;
  double statistic = 0;
  for (guint i = 0; i < mixture->errors->len; i++) {
    if (mixture->errors->data[i] == UNKNOWN) continue;
    known[n] = mixture->errors->data[i];
    rows[n++] = first + i;
  }
  if (!drift_glr(known, n, mixture->options.minimum_side, TRUE, &statistic, &split) || split == 0) return 0;
  *change = rows[split];
  double inflation = drift_error_autocorrelation(known, split);
  return statistic / (isnan(inflation) ? 1 : inflation);
}

/* An alarm of the errors as they were: the rows since the change are judged again by the present experts and weights.
 */
static gboolean look_again(PipelineMixture *mixture, Window *since, gint64 change, gboolean *taken_over, GError **error)
{
  guint n = (guint)(mixture->rows - change);
  g_autoptr(GPtrArray) answers = ask(since, mixture, 0, n, error);
  if (answers == NULL) return FALSE;
  g_autofree guint8 *before = g_memdup2(mixture->errors->data + mixture->errors->len - n, n);
  gint64 ignored = 0;
  judge_rows(since, mixture, answers, 0, n, mixture->errors->data + mixture->errors->len - n);
  *taken_over = find_rise(mixture, &ignored) <= mixture->options.takeover;
  if (!*taken_over) memcpy(mixture->errors->data + mixture->errors->len - n, before, n);
  return TRUE;
}

static gboolean begin_regime(PipelineMixture *mixture, const Window *since, gint64 change, GError **error)
{
  mixture->change = change;
  mixture->step = 0;
  drop_errors_before(mixture, change);
  PipelineMixtureHead *head = pipeline_mixture_get_expert(mixture, PIPELINE_EXPERT_RESET)->head;
  pipeline_mixture_head_reset(head);
  return learn_head(mixture, head, since, 0, (guint)(mixture->rows - change), error);
}

static gboolean watch_errors(PipelineMixture *mixture, const Rows *rows, PipelineMixtureStep *step, GError **error)
{
  gint64 change = 0;
  double statistic = find_rise(mixture, &change);
  step->statistic = MAX(step->statistic, statistic);
  if (statistic <= mixture->options.alarm) return TRUE;
  g_auto(Window) since = {0};
  gboolean taken_over = FALSE;
  if (!window_read(&since, mixture, rows->table, change - rows->first, (guint64)(mixture->rows - change), error) ||
      !look_again(mixture, &since, change, &taken_over, error))
    return FALSE;
  if (taken_over) {
    step->takeovers++;
    return TRUE;
  }
  step->alarms++;
  step->change_row = change;
  return begin_regime(mixture, &since, change, error);
}

/* --- training ----------------------------------------------------------------------------------------------------- */

static gboolean of_regime(const PipelineMixture *mixture, const PipelineExpert *expert)
{
  return expert->kind == PIPELINE_EXPERT_RESET ||
         (expert->kind == PIPELINE_EXPERT_TRAINED && expert->change == mixture->change);
}

static double regime_weight(const PipelineMixture *mixture)
{
  double weight = 0;
  for (guint i = 0; i < mixture->experts->len; i++) {
    const PipelineExpert *expert = pipeline_mixture_get_expert(mixture, i);
    if (of_regime(mixture, expert)) weight += expert->weight;
  }
  return weight;
}

static gboolean training_is_due(PipelineMixture *mixture)
{
  gint64 since = mixture->rows - mixture->change;
  gboolean due = FALSE;
  while (has_steps(mixture) && since >= mixture->options.steps[mixture->step]) {
    due = TRUE;
    mixture->step++;
  }
  return due && mixture->architecture != NULL && mixture->tokens >= 1 && regime_weight(mixture) >= .5;
}

static gboolean has_two_classes(const PipelineMixture *mixture, const DriftTable *table)
{
  const DriftColumn *label = drift_table_get_column(table, mixture->schema->label);
  gint seen = -1;
  for (guint64 row = 0; row < table->n_rows; row++) {
    DriftValue value = drift_column_get_value(label, row);
    gint class_index = drift_schema_class_of(mixture->schema, &value);
    if (class_index >= 0 && seen >= 0 && class_index != seen) return TRUE;
    if (class_index >= 0) seen = class_index;
  }
  return FALSE;
}

/* The new version takes the place of the regime's older ones and half of what the reset ridge weighs. */
static void admit(PipelineMixture *mixture, PipelineExpert *expert)
{
  PipelineExpert *reset = pipeline_mixture_get_expert(mixture, PIPELINE_EXPERT_RESET);
  expert->weight = reset->weight /= 2;
  for (guint i = mixture->experts->len; i-- > 0;) {
    PipelineExpert *older = pipeline_mixture_get_expert(mixture, i);
    if (older->kind != PIPELINE_EXPERT_TRAINED || older->change != mixture->change) continue;
    expert->weight += older->weight;
    g_ptr_array_remove_index(mixture->experts, i);
  }
  g_ptr_array_add(mixture->experts, expert);
  while (mixture->experts->len > mixture->options.experts)
    g_ptr_array_remove_index(mixture->experts, PIPELINE_EXPERT_TRAINED); /* the oldest */
  normalise_weights(mixture);
}

static gboolean train(PipelineMixture *mixture, const Rows *rows, PipelineMixtureStep *step, GError **error)
{
  gint64 from = MAX(MAX(mixture->change, rows->first), mixture->rows - (gint64)mixture->options.keep_rows);
  g_autoptr(DriftTable) table = select_rows(rows->table, from - rows->first, (guint64)(mixture->rows - from));
  if (!has_two_classes(mixture, table)) return TRUE; /* nothing to tell apart yet */
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = mixture->architecture;
  options.weight_decay = mixture->options.weight_decay;
  options.seed = mixture->options.seed + mixture->made;
  PipelineTrainResult result = {0};
  g_autoptr(GError) cause = NULL;
  mixture->tokens -= 1;
  mixture->made++;
  step->trainings++;
  if (!pipeline_train(table, mixture->schema, &options, NULL, NULL, &result, &cause)) {
    if (g_error_matches(cause, PIPELINE_ERROR, PIPELINE_ERROR_DIVERGED)) return TRUE; /* the mixture does without */
    g_propagate_error(error, g_steal_pointer(&cause));
    return FALSE;
  }
  g_autofree gchar *name = g_strdup_printf("trained_%u", mixture->made);
  PipelineExpert *expert = pipeline_expert_new(PIPELINE_EXPERT_TRAINED, name);
  expert->change = mixture->change;
  expert->rows = mixture->rows;
  gboolean loaded = load_expert(mixture, expert, result.onnx, error);
  pipeline_train_result_clear(&result);
  gboolean fits = loaded && pipeline_mixture_fits(pipeline_mixture_get_expert(mixture, 0)->onnx, expert->onnx);
  if (fits) {
    admit(mixture, expert);
  } else { /* an imported base that is fed in another way: it learns without trainings */
    pipeline_expert_free(expert);
    g_clear_pointer(&mixture->architecture, g_free);
    mixture->options.architecture = NULL;
  }
  return loaded;
}

/* --- learning ----------------------------------------------------------------------------------------------------- */

static void append_errors(PipelineMixture *mixture, const guint8 *errors, guint n)
{
  g_byte_array_append(mixture->errors, errors, n);
  mixture->rows += n;
  if (mixture->errors->len > mixture->options.history)
    g_byte_array_remove_range(mixture->errors, 0, mixture->errors->len - mixture->options.history);
}

static void count_tokens(PipelineMixture *mixture, guint n)
{
  if (mixture->options.token_rows == 0) return;
  mixture->tokens = MIN(mixture->tokens + (double)n / mixture->options.token_rows, mixture->options.tokens);
}

static gboolean learn_block(PipelineMixture *mixture, Window *window, guint64 start, const Rows *rows,
                            PipelineMixtureStep *step, GError **error)
{
  guint n = mixture->options.block;
  g_autoptr(GPtrArray) answers = ask(window, mixture, start, n, error);
  if (answers == NULL) return FALSE;
  g_autofree guint8 *errors = g_new(guint8, n);
  judge_rows(window, mixture, answers, start, n, errors);
  g_byte_array_append(step->errors, errors, n);
  append_errors(mixture, errors, n);
  count_tokens(mixture, n);
  learn_weights(mixture, answers, window->targets + start, n);
  if (!learn_heads(mixture, window, start, n, error) || !watch_errors(mixture, rows, step, error)) return FALSE;
  return !training_is_due(mixture) || train(mixture, rows, step, error);
}

gboolean pipeline_mixture_learn(PipelineMixture *mixture, const DriftTable *table, gint64 first, gint64 next,
                                PipelineMixtureStep *step, GError **error)
{
  const Rows rows = {table, first};
  gint64 start = mixture->rows;
  gint64 least = start - (gint64)mixture->errors->len;
  if (first > least || next > first + (gint64)table->n_rows || next < start) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "rows %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                " were given; the mixture learns from row %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                " and looks back to row %" G_GINT64_FORMAT,
                first, first + (gint64)table->n_rows - 1, start, next - 1, least);
    return FALSE;
  }
  PipelineMixtureStep done = {.change_row = -1, .errors = g_byte_array_new()};
  guint64 whole = (guint64)(next - start) / mixture->options.block * mixture->options.block;
  g_auto(Window) window = {0};
  gboolean good = whole == 0 || window_read(&window, mixture, table, start - first, whole, error);
  for (guint64 at = 0; good && at < whole; at += mixture->options.block)
    good = learn_block(mixture, &window, at, &rows, &done, error);
  if (!good) {
    pipeline_mixture_step_clear(&done);
    return FALSE;
  }
  done.n_rows = done.errors->len;
  for (guint i = 0; i < done.errors->len; i++) done.n_unusable += done.errors->data[i] == UNKNOWN;
  *step = done;
  return TRUE;
}
