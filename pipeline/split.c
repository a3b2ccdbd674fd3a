#include "pipeline/split.h"

#include <math.h>
#include <string.h>

#include "pipeline/trainer_random.h"

#define TENTHS 10u

typedef struct {
  const DriftTable *table;
  const DriftSchema *schema;
  const PipelineTrainerRows *rows;
  const double *shares;
  guint n_parts;
  guint64 seed;
  const gchar *column;
} SplitRequest;

struct _PipelineSplitKind {
  const gchar *name;
  gboolean takes_column, ordered;
  gboolean (*assign)(const SplitRequest *request, guint8 *part, GError **error);
};

/* --- parts by shares ---------------------------------------------------------------------------------------------- */

static gint compare_rows(gconstpointer a, gconstpointer b)
{
  guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
  return (x > y) - (x < y);
}

/* The usable rows in row order; new. */
static guint64 *sorted_rows(const PipelineTrainerRows *rows)
{
  guint64 *sorted = g_memdup2(rows->rows, MAX(rows->n, 1) * sizeof(guint64));
  qsort(sorted, rows->n, sizeof *sorted, compare_rows);
  return sorted;
}

/* Cuts a list of rows at the shares' running sums. */
static void cut(const SplitRequest *request, const guint64 *list, guint64 n, guint8 *part)
{
  double sum = 0;
  guint64 next = 0;
  for (guint p = 0; p < request->n_parts; p++) {
    sum += request->shares[p];
    guint64 end = p + 1 == request->n_parts ? n : MIN(n, (guint64)floor(sum * (double)n + .5));
    for (; next < end; next++) part[list[next]] = (guint8)p;
  }
}

static gboolean assign_in_time(const SplitRequest *request, guint8 *part, GError **error)
{
  (void)error;
  g_autofree guint64 *list = sorted_rows(request->rows);
  cut(request, list, request->rows->n, part);
  return TRUE;
}

static gboolean assign_shuffled(const SplitRequest *request, guint8 *part, GError **error)
{
  (void)error;
  PipelineRandom random;
  g_autofree guint64 *list = sorted_rows(request->rows);
  pipeline_random_seed(&random, request->seed);
  pipeline_random_shuffle(&random, list, request->rows->n);
  cut(request, list, request->rows->n, part);
  return TRUE;
}

/* --- stratified --------------------------------------------------------------------------------------------------- */

typedef struct {
  float target;
  guint64 row;
} Targeted;

static gint compare_targets(gconstpointer a, gconstpointer b)
{
  const Targeted *x = a, *y = b;
  if (x->target != y->target) return x->target > y->target ? 1 : -1;
  return (x->row > y->row) - (x->row < y->row);
}

/* One list a stratum, in order of the targets: runs of equal classes, or tenths. */
static gboolean assign_stratified(const SplitRequest *request, guint8 *part, GError **error)
{
  (void)error;
  guint64 n = request->rows->n;
  gboolean regression = request->schema->task == DRIFT_TASK_REGRESSION;
  g_autofree Targeted *all = g_new(Targeted, MAX(n, 1));
  g_autofree guint64 *list = g_new(guint64, MAX(n, 1));
  PipelineRandom random;
  pipeline_random_seed(&random, request->seed);
  for (guint64 i = 0; i < n; i++)
    all[i] = (Targeted){request->rows->targets[request->rows->rows[i]], request->rows->rows[i]};
  qsort(all, n, sizeof *all, compare_targets);
  for (guint64 start = 0, end; start < n; start = end) {
    guint64 tenth = start * TENTHS / n;
    for (end = start + 1; end < n; end++)
      if (regression ? end * TENTHS / n != tenth : all[end].target != all[start].target) break;
    for (guint64 i = start; i < end; i++) list[i - start] = all[i].row;
    pipeline_random_shuffle(&random, list, end - start);
    cut(request, list, end - start, part);
  }
  return TRUE;
}

/* --- grouped ------------------------------------------------------------------------------------------------------ */

typedef struct {
  guint64 order; /* random, for equal sizes */
  GArray *rows;  /* of guint64 */
} Group;

static void group_free(gpointer data)
{
  Group *group = data;
  g_array_unref(group->rows);
  g_free(group);
}

static gint compare_groups(gconstpointer a, gconstpointer b)
{
  const Group *x = *(Group *const *)a, *y = *(Group *const *)b;
  if (x->rows->len != y->rows->len) return x->rows->len < y->rows->len ? 1 : -1;
  return (x->order > y->order) - (x->order < y->order);
}

/* Groups in order of their first rows. */
static GPtrArray *find_groups(const SplitRequest *request, const DriftColumn *column)
{
  GPtrArray *groups = g_ptr_array_new_with_free_func(group_free);
  g_autoptr(GHashTable) of_text = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  g_autofree guint64 *list = sorted_rows(request->rows);
  for (guint64 i = 0; i < request->rows->n; i++) {
    gchar buffer[DRIFT_NUMBER_TEXT_SIZE];
    gsize length = 0;
    DriftValue value = drift_column_get_value(column, list[i]);
    const gchar *text = value.kind == DRIFT_VALUE_MISSING ? "" : drift_value_to_text(&value, buffer, &length);
    g_autofree gchar *key = g_strndup(text, length);
    Group *group = g_hash_table_lookup(of_text, key);
    if (!group) {
      group = g_new0(Group, 1);
      group->rows = g_array_new(FALSE, FALSE, sizeof(guint64));
      g_ptr_array_add(groups, group);
      g_hash_table_insert(of_text, g_steal_pointer(&key), group);
    }
    g_array_append_val(group->rows, list[i]);
  }
  return groups;
}

static gboolean assign_grouped(const SplitRequest *request, guint8 *part, GError **error)
{
  const DriftColumn *column = drift_table_get_column(request->table, request->column);
  if (!column) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA, "split by groups: the data has no column \"%s\"",
                request->column);
    return FALSE;
  }
  PipelineRandom random;
  double missing[PIPELINE_SPLIT_MAX_PARTS];
  g_autoptr(GPtrArray) groups = find_groups(request, column);
  pipeline_random_seed(&random, request->seed);
  for (guint g = 0; g < groups->len; g++)
    ((Group *)g_ptr_array_index(groups, g))->order = pipeline_random_next(&random);
  g_ptr_array_sort(groups, compare_groups);
  for (guint p = 0; p < request->n_parts; p++) missing[p] = request->shares[p] * (double)request->rows->n;
  for (guint g = 0; g < groups->len; g++) {
    const Group *group = g_ptr_array_index(groups, g);
    guint best = 0;
    for (guint p = 1; p < request->n_parts; p++)
      if (missing[p] > missing[best]) best = p;
    missing[best] -= group->rows->len;
    for (guint i = 0; i < group->rows->len; i++) part[g_array_index(group->rows, guint64, i)] = (guint8)best;
  }
  return TRUE;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static const PipelineSplitKind kinds[] = {
    {"time", FALSE, TRUE, assign_in_time},      {"blocks", FALSE, FALSE, assign_in_time},
    {"shuffle", FALSE, FALSE, assign_shuffled}, {"stratified", FALSE, FALSE, assign_stratified},
    {"grouped", TRUE, FALSE, assign_grouped},
};

gboolean pipeline_split_parse(const gchar *text, PipelineSplit *split, GError **error)
{
  const gchar *colon = strchr(text, ':');
  gsize length = colon ? (gsize)(colon - text) : strlen(text);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    if (strlen(kinds[i].name) != length || strncmp(kinds[i].name, text, length) != 0) continue;
    if (kinds[i].takes_column ? !colon || !colon[1] : colon != NULL) break;
    *split = (PipelineSplit){.kind = &kinds[i], .column = colon ? g_strdup(colon + 1) : NULL};
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "split \"%s\": write time, blocks, shuffle, stratified or grouped:COLUMN", text);
  return FALSE;
}

void pipeline_split_clear(PipelineSplit *split)
{
  g_clear_pointer(&split->column, g_free);
  split->kind = NULL;
}

gchar *pipeline_split_format(const PipelineSplit *split)
{
  return split->column ? g_strdup_printf("%s:%s", split->kind->name, split->column) : g_strdup(split->kind->name);
}

gboolean pipeline_split_is_ordered(const PipelineSplit *split)
{
  return split->kind->ordered;
}

const gchar *pipeline_split_get_kind(const PipelineSplit *split)
{
  return split->kind->name;
}

static gboolean check_parts(const SplitRequest *request, const gchar *name, const guint8 *part, GError **error)
{
  guint64 counts[PIPELINE_SPLIT_MAX_PARTS] = {0};
  for (guint64 i = 0; i < request->rows->n; i++) counts[part[request->rows->rows[i]]]++;
  for (guint p = 0; p < request->n_parts; p++) {
    if (counts[p] > 0 || request->shares[p] == 0) continue;
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_DATA,
                "split %s%s%s: part %u of %u (a share of %g) gets none of the %" G_GUINT64_FORMAT
                " usable rows; give more rows%s or smaller shares",
                name, request->column ? ":" : "", request->column ? request->column : "", p + 1, request->n_parts,
                request->shares[p], request->rows->n, request->column ? ", a column with more groups" : "");
    return FALSE;
  }
  return TRUE;
}

gboolean pipeline_split_parts(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                              const PipelineTrainerRows *rows, const double *shares, guint n_parts, guint64 seed,
                              guint8 *part, GError **error)
{
  g_return_val_if_fail(n_parts > 0 && n_parts <= PIPELINE_SPLIT_MAX_PARTS, FALSE);
  const SplitRequest request = {table, schema, rows, shares, n_parts, seed, split->column};
  memset(part, PIPELINE_SPLIT_NONE, table->n_rows);
  return split->kind->assign(&request, part, error) && check_parts(&request, split->kind->name, part, error);
}

gboolean pipeline_split_folds(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                              const PipelineTrainerRows *rows, guint k, guint64 seed, guint8 *fold, GError **error)
{
  double shares[PIPELINE_SPLIT_MAX_PARTS];
  guint n = k + (split->kind->ordered ? 1 : 0);
  if (k < 2 || n > PIPELINE_SPLIT_MAX_PARTS) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "%u folds; 2 to %u are supported", k,
                PIPELINE_SPLIT_MAX_PARTS - 1);
    return FALSE;
  }
  for (guint i = 0; i < n; i++) shares[i] = !split->kind->ordered ? 1.0 / n : i == 0 ? .5 : .5 / k;
  return pipeline_split_parts(split, table, schema, rows, shares, n, seed, fold, error);
}

PipelineSplitUse pipeline_split_use(const PipelineSplit *split, guint8 part, guint fold)
{
  if (part == PIPELINE_SPLIT_NONE) return PIPELINE_USE_NONE;
  if (!split->kind->ordered) return part == fold ? PIPELINE_USE_VALIDATE : PIPELINE_USE_TRAIN;
  return part == fold + 1 ? PIPELINE_USE_VALIDATE : part <= fold ? PIPELINE_USE_TRAIN : PIPELINE_USE_NONE;
}

gboolean pipeline_split_rows(const PipelineSplit *split, const DriftTable *table, const DriftSchema *schema,
                             PipelineTrainerRows *rows, double validation, double test, guint64 least, guint64 seed,
                             GError **error)
{
  if (validation < 0 || test < 0 || validation + test >= 1) {
    g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
                "shares of %g for validation and %g for test leave nothing to train on", validation, test);
    return FALSE;
  }
  g_autofree guint8 *part = g_new(guint8, MAX(table->n_rows, 1));
  if ((guint64)(validation * (double)rows->n) < least) validation = 0;
  const double shares[] = {1 - validation - test, validation, test};
  if (!pipeline_split_parts(split, table, schema, rows, shares, G_N_ELEMENTS(shares), seed, part, error)) return FALSE;
  g_autofree guint64 *list = sorted_rows(rows);
  guint64 counts[3] = {0}, next = 0;
  for (guint p = 0; p < G_N_ELEMENTS(shares); p++)
    for (guint64 i = 0; i < rows->n; i++)
      if (part[list[i]] == p) rows->rows[next++] = list[i], counts[p]++;
  rows->n_train = counts[0], rows->n_validation = counts[1], rows->n_test = counts[2];
  return TRUE;
}
