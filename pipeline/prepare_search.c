#include "pipeline/prepare_search.h"

#include <math.h>
#include <string.h>

#include "pipeline/prepare_folds.h"

#define LEAST_ROWS 200u
#define LEAST_GAIN 1e-3      /* of the loss */
#define STANDARD_ERRORS 1.0  /* over folds */
#define LEAST_DEVIATIONS 2.5 /* of the loss saved a row, beside the two rules over folds */
#define REPEATS 2u
#define SMALLEST_P 1e-7

void pipeline_plan_search_options_init(PipelinePlanSearchOptions *options)
{
  *options = (PipelinePlanSearchOptions){
      .folds = 4, .trials = 60, .max_rows = 8000, .architecture = "mlp:32", .epochs = 10, .seed = 1};
}

/* --- candidates --------------------------------------------------------------------------------------------------- */

static gboolean always(const DriftColumn *column)
{
  (void)column;
  return TRUE;
}

static gboolean has_missing(const DriftColumn *column)
{
  for (guint i = 0; i < column->numbers->len; i++)
    if (isnan(g_array_index(column->numbers, double, i))) return TRUE;
  return FALSE;
}

/* Whole numbers of the years 1980 to 2100. */
static gboolean looks_like_seconds(const DriftColumn *column)
{
  guint known = 0;
  for (guint i = 0; i < column->numbers->len; i++) {
    double x = g_array_index(column->numbers, double, i);
    if (isnan(x)) continue;
    if (x != floor(x) || x < 3e8 || x > 4.2e9) return FALSE;
    known++;
  }
  return known > 0;
}

static gboolean has_many(const DriftColumn *column)
{
  return column->dictionary->len > 4;
}

/* What may stand in place of a column's default, in the order in which it is tried. */
static const struct {
  DriftFeatureKind kind;
  gboolean (*applies)(const DriftColumn *column);
  const gchar *chains[2];
} candidates[] = {
    {DRIFT_NUMERIC, looks_like_seconds, {"calendar", NULL}},
    {DRIFT_NUMERIC, looks_like_seconds, {"calendar", "mean+standard"}},
    {DRIFT_NUMERIC, has_missing, {"missing", "median+standard"}},
    {DRIFT_NUMERIC, always, {"mean+quantile", NULL}},
    {DRIFT_NUMERIC, always, {"mean+yeo-johnson+standard", NULL}},
    {DRIFT_NUMERIC, always, {"mean+winsorise:0.01+standard", NULL}},
    {DRIFT_NUMERIC, always, {"bins:8", "mean+standard"}},
    {DRIFT_NUMERIC, always, {"bins:24", "mean+standard"}},
    {DRIFT_CATEGORICAL, has_many, {"target+standard", NULL}},
    {DRIFT_CATEGORICAL, has_many, {"unseen:20+one-hot", NULL}},
    {DRIFT_CATEGORICAL, has_many, {"target+standard", "unseen:20+one-hot"}},
};

static const struct {
  DriftFeatureKind kind;
  const gchar *chain;
} pair_candidates[] = {{DRIFT_NUMERIC, "mean+winsorise:0.001+standard"}, {DRIFT_CATEGORICAL, "unseen:20+one-hot"}};

/* --- scores ------------------------------------------------------------------------------------------------------- */

typedef struct {
  const DriftTable *table; /* the rows that are looked at */
  const DriftSchema *schema;
  const PipelinePlanSearchOptions *options;
  const PipelineSplit *split;
  PipelineTrainerRows *rows;
  guint8 *fold;
  double variance; /* of a regression's label */
  guint trial;
  gint64 started;
  const gchar *stopped;
  PipelinePlan *plan; /* the best so far */
  double *losses;     /* [n_rows] of it; NaN: no fold validates the row */
  double *tried;      /* [n_rows] of a candidate */
  json_t *chosen, *candidates;
  PipelinePlanSearchFunc progress;
  gpointer user_data;
} Search;

static double mean_loss(const Search *search, const double *losses, gint fold)
{
  double sum = 0, n = 0;
  guint ahead = pipeline_split_is_ordered(search->split) ? 1 : 0;
  for (guint64 i = 0; i < search->table->n_rows; i++) {
    if (isnan(losses[i]) || (fold >= 0 && search->fold[i] != (guint)fold + ahead)) continue;
    sum += losses[i], n++;
  }
  return sum / n;
}

/* Adds a share of the loss of every row on which a model of the other folds was asked. */
static gboolean add_losses(const Search *search, const PipelinePlan *plan, guint64 seed, double share, double *losses,
                           GError **error)
{
  guint width = search->schema->task == DRIFT_TASK_REGRESSION ? 1 : search->schema->classes->len;
  g_autofree float *outputs = g_new(float, MAX(1, search->table->n_rows * width));
  PipelineTrainOptions options;
  pipeline_train_options_init(&options);
  options.architecture = search->options->architecture;
  options.epochs = search->options->epochs;
  options.seed = seed;
  options.plan = plan;
  if (!pipeline_predict_folds(search->table, search->schema, search->split, search->fold, search->options->folds,
                              &options, outputs, error))
    return FALSE;
  for (guint64 i = 0; i < search->table->n_rows; i++) {
    double target = (double)search->rows->targets[i], off = (double)outputs[i * width] - target, loss = NAN;
    if (!isnan(target) && !isnan(outputs[i * width]))
      loss = search->schema->task == DRIFT_TASK_REGRESSION
                 ? off * off / search->variance
                 : -log(fmax(SMALLEST_P, (double)outputs[i * width + (guint)target]));
    losses[i] += share * loss;
  }
  return TRUE;
}

/* Of several first weights: what one of them likes by chance is no gain. */
static gboolean score(const Search *search, const PipelinePlan *plan, double *losses, GError **error)
{
  memset(losses, 0, search->table->n_rows * sizeof *losses);
  for (guint r = 0; r < REPEATS; r++)
    if (!add_losses(search, plan, search->options->seed + r, 1.0 / REPEATS, losses, error)) return FALSE;
  return TRUE;
}

typedef struct {
  double saved, standard_error, deviations; /* a row; over folds; saved over its standard error over rows */
  gboolean everywhere;                      /* every fold saves */
  gboolean good;
} Gain;

static Gain compare(const Search *search)
{
  guint k = search->options->folds;
  double sum = 0, squares = 0, n = 0, fold_sum = 0, fold_squares = 0;
  gboolean everywhere = TRUE;
  for (guint64 i = 0; i < search->table->n_rows; i++) {
    if (isnan(search->losses[i]) || isnan(search->tried[i])) continue;
    double difference = search->losses[i] - search->tried[i];
    sum += difference, squares += difference * difference, n++;
  }
  for (guint f = 0; f < k; f++) {
    double difference = mean_loss(search, search->losses, (gint)f) - mean_loss(search, search->tried, (gint)f);
    everywhere = everywhere && difference > 0;
    fold_sum += difference / k, fold_squares += difference * difference / k;
  }
  double row_error = sqrt(fmax(0, squares / n - (sum / n) * (sum / n)) / n);
  Gain gain = {.saved = fold_sum,
               .standard_error = sqrt(fmax(0, fold_squares - fold_sum * fold_sum) / (k - 1)),
               .deviations = row_error > 0 ? sum / n / row_error : 0,
               .everywhere = everywhere};
  gain.good = everywhere && gain.deviations >= LEAST_DEVIATIONS &&
              gain.saved - STANDARD_ERRORS * gain.standard_error > LEAST_GAIN * mean_loss(search, search->losses, -1);
  return gain;
}

/* --- the search --------------------------------------------------------------------------------------------------- */

static gboolean may_go_on(Search *search)
{
  if (search->stopped) return FALSE;
  if (search->trial >= search->options->trials)
    search->stopped = "trials";
  else if (search->options->seconds > 0 &&
           (double)(g_get_monotonic_time() - search->started) / 1e6 > search->options->seconds)
    search->stopped = "seconds";
  return search->stopped == NULL;
}

/* The best plan with the chains of a or of the pair a, b replaced by these, in the same place: columns keep their
 * order, and with it most of their first weights. */
static PipelinePlan *replace(const PipelinePlan *plan, const gchar *a, const gchar *b, const gchar *const *chains)
{
  PipelinePlan *copy = pipeline_plan_copy(plan);
  guint place = copy->chains->len;
  for (guint i = copy->chains->len; i-- > 0;) {
    const PipelineChain *chain = g_ptr_array_index(copy->chains, i);
    if (strcmp(chain->columns[0], a) != 0 || g_strcmp0(chain->columns[1], b) != 0) continue;
    g_ptr_array_remove_index(copy->chains, i);
    place = i;
  }
  for (guint i = 0; i < 2 && chains[i]; i++)
    g_ptr_array_insert(copy->chains, (gint)(place + i), pipeline_chain_new(a, b, chains[i], NULL));
  return copy;
}

static json_t *describe(const gchar *a, const gchar *b, const gchar *const *chains, const Gain *gain)
{
  g_autofree gchar *text = g_strdup_printf("%s%s%s=%s%s%s", a, b ? "*" : "", b ? b : "", chains[0],
                                           chains[1] ? " and " : "", chains[1] ? chains[1] : "");
  return json_pack("{s:s, s:b, s:f, s:f, s:f}", "chain", text, "every_fold_saves", gain->everywhere, "saved",
                   gain->saved, "standard_error", gain->standard_error, "deviations", gain->deviations);
}

typedef struct {
  PipelinePlan *plan;
  double *losses;
  json_t *item;
  double saved;
} Best;

/* Scores the candidate; the best good one of a column is kept in `best`. */
static void try_candidate(Search *search, const gchar *a, const gchar *b, const gchar *const *chains, Best *best)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(PipelinePlan) plan = replace(search->plan, a, b, chains);
  if (!pipeline_plan_complete(plan, search->schema, PIPELINE_PLAN_STANDARD, NULL))
    return; /* it would drop the last column */
  search->trial++;
  Gain gain = {0};
  if (score(search, plan, search->tried, &error)) gain = compare(search);
  json_t *item = describe(a, b, chains, &gain);
  if (error) json_object_set_new(item, "failed", json_string(error->message));
  json_array_append(search->candidates, item);
  if (gain.good && gain.saved > best->saved) {
    pipeline_plan_free(best->plan);
    json_decref(best->item);
    best->plan = g_steal_pointer(&plan);
    best->item = json_incref(item);
    best->saved = gain.saved;
    memcpy(best->losses, search->tried, search->table->n_rows * sizeof(double));
  }
  json_decref(item);
  const PipelinePlanSearchProgress now = {search->trial, search->options->trials, mean_loss(search, search->losses, -1),
                                          chains[0]};
  if (search->progress) search->progress(&now, search->user_data);
}

static void adopt(Search *search, Best *best)
{
  if (best->plan) {
    pipeline_plan_free(search->plan);
    search->plan = best->plan;
    memcpy(search->losses, best->losses, search->table->n_rows * sizeof(double));
    json_array_append(search->chosen, best->item);
  }
  json_decref(best->item);
  *best = (Best){.losses = best->losses};
}

static const DriftColumn *input_column(const Search *search, guint index)
{
  const DriftFeature *feature = drift_schema_get_feature(search->schema, index);
  return feature->input ? drift_table_get_column(search->table, feature->name) : NULL;
}

static void search_columns(Search *search, Best *best)
{
  for (guint f = 0; f < drift_schema_n_features(search->schema); f++) {
    const DriftColumn *column = input_column(search, f);
    for (guint c = 0; column && c < G_N_ELEMENTS(candidates); c++)
      if (candidates[c].kind == column->kind && candidates[c].applies(column) && may_go_on(search))
        try_candidate(search, column->name, NULL, candidates[c].chains, best);
    adopt(search, best);
  }
}

static void search_pairs(Search *search, Best *best)
{
  guint n = drift_schema_n_features(search->schema);
  for (guint i = 0; i < n; i++)
    for (guint j = i + 1; j < n; j++) {
      const DriftColumn *a = input_column(search, i), *b = input_column(search, j);
      if (!a || !b || a->kind != b->kind) continue;
      for (guint c = 0; c < G_N_ELEMENTS(pair_candidates); c++) {
        const gchar *chains[2] = {pair_candidates[c].chain, NULL};
        if (pair_candidates[c].kind == a->kind && may_go_on(search))
          try_candidate(search, a->name, b->name, chains, best);
      }
      adopt(search, best);
    }
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static DriftTable *choose_rows(const DriftTable *table, const guint64 *rows, guint64 n_rows, guint64 most)
{
  guint64 n = MIN(n_rows, most);
  g_autofree guint64 *chosen = g_new(guint64, MAX(n, 1));
  for (guint64 i = 0; i < n; i++) chosen[i] = rows[i * n_rows / n];
  return drift_table_select(table, chosen, n);
}

static double variance_of(const PipelineTrainerRows *rows)
{
  double sum = 0, squares = 0, n = (double)rows->n;
  for (guint64 i = 0; i < rows->n; i++) sum += (double)rows->targets[rows->rows[i]] / n;
  for (guint64 i = 0; i < rows->n; i++) {
    double difference = (double)rows->targets[rows->rows[i]] - sum;
    squares += difference * difference / n;
  }
  return squares > 0 ? squares : 1;
}

static gboolean begin(Search *search, GError **error)
{
  const PipelinePlanSearchOptions *options = search->options;
  if (search->table->n_rows < LEAST_ROWS || options->folds < 2 || options->trials < 1) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "search for transformations: %" G_GUINT64_FORMAT " training rows, %u folds, %u trials; at least %u, 2 "
                "and 1 are needed",
                search->table->n_rows, options->folds, options->trials, LEAST_ROWS);
    return FALSE;
  }
  search->rows = pipeline_trainer_rows_new(search->table, search->schema, error);
  if (!search->rows || !pipeline_split_folds(search->split, search->table, search->schema, search->rows, options->folds,
                                             options->seed, search->fold, error))
    return FALSE;
  search->variance = variance_of(search->rows);
  search->plan = pipeline_plan_new();
  return pipeline_plan_complete(search->plan, search->schema, PIPELINE_PLAN_STANDARD, error) &&
         score(search, search->plan, search->losses, error);
}

static json_t *report_of(const Search *search, double before)
{
  json_t *report = json_pack("{s:I, s:i, s:i, s:s, s:f, s:f}", "rows", (json_int_t)search->table->n_rows, "folds",
                             (int)search->options->folds, "trials", (int)search->trial, "stopped",
                             search->stopped ? search->stopped : "done", "loss_before", before, "loss",
                             mean_loss(search, search->losses, -1));
  g_autofree gchar *split = pipeline_split_format(search->split);
  json_object_set_new(report, "split", json_string(split));
  json_object_set(report, "chosen", search->chosen);
  json_object_set(report, "tried", search->candidates);
  return report;
}

static void search_clear(Search *search)
{
  pipeline_plan_free(search->plan);
  pipeline_trainer_rows_free(search->rows);
  json_decref(search->chosen);
  json_decref(search->candidates);
  g_free(search->losses);
  g_free(search->tried);
  g_free(search->fold);
}

/* Folds follow the order that the rows are said to have, as the model will meet its own test: rows in time by models of
 * earlier rows, rows without an order by models of others of all kinds, groups by models of other groups. */
static gboolean choose_folds(const PipelineSplit *declared, PipelineSplit *split, GError **error)
{
  static const struct {
    const gchar *declared, *folds;
  } table[] = {{"shuffle", "stratified"}};
  g_autofree gchar *text = declared ? pipeline_split_format(declared) : g_strdup("time");
  for (guint i = 0; i < G_N_ELEMENTS(table); i++)
    if (g_str_equal(text, table[i].declared)) return pipeline_split_parse(table[i].folds, split, error);
  return pipeline_split_parse(text, split, error);
}

PipelinePlan *pipeline_plan_search(const DriftTable *table, const DriftSchema *schema, const guint64 *rows,
                                   guint64 n_rows, const PipelinePlanSearchOptions *options,
                                   PipelinePlanSearchFunc progress, gpointer user_data, json_t **report, GError **error)
{
  PipelineSplit split = {0};
  PipelinePlan *plan = NULL;
  if (!choose_folds(options->split, &split, error)) return NULL;
  g_autoptr(DriftTable) chosen = choose_rows(table, rows, n_rows, options->max_rows);
  guint64 n = MAX(chosen->n_rows, 1);
  Search search = {.table = chosen,
                   .schema = schema,
                   .options = options,
                   .split = &split,
                   .fold = g_new(guint8, n),
                   .started = g_get_monotonic_time(),
                   .losses = g_new(double, n),
                   .tried = g_new(double, n),
                   .chosen = json_array(),
                   .candidates = json_array(),
                   .progress = progress,
                   .user_data = user_data};
  if (begin(&search, error)) {
    double before = mean_loss(&search, search.losses, -1);
    Best best = {.losses = g_new(double, n)};
    search_columns(&search, &best);
    search_pairs(&search, &best);
    g_free(best.losses);
    *report = report_of(&search, before);
    plan = g_steal_pointer(&search.plan);
  }
  search_clear(&search);
  pipeline_split_clear(&split);
  return plan;
}
