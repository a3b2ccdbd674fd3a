/* Categories that an attack may change, texts and groups of one-hot numbers: a greedy search over their known values,
 * by what the model answers, before the attack on the numbers begins. Each changed category counts one in L0. */
#include <math.h>
#include <string.h>

#include "pipeline/robustness.h"

#define VALUES_MAXIMUM 100u /* of one feature, the most frequent ones */

typedef struct _CategoryKind CategoryKind;

typedef struct {
  const CategoryKind *kind;
  guint feature;     /* of the schema; of a group PIPELINE_ROBUSTNESS_GROUP */
  GPtrArray *values; /* of gchar*, owned; of a group the names of its columns */
  GArray *columns;   /* of guint: where the values of a group are in a point; NULL: a text */
} Category;

static void category_free(gpointer data)
{
  Category *category = data;
  g_ptr_array_unref(category->values);
  if (category->columns != NULL) g_array_unref(category->columns);
  g_free(category);
}

/* --- what a category is: one table -------------------------------------------------------------------------------- */

/* The batch while categories move. Arrays [n]. */
typedef struct {
  PipelineAttackModel *attacked;
  PipelineAttackTarget target;
  const GPtrArray *categories;
  float *points;
  guint n;
  guint *order; /* 0, 1, … */
  double *losses, *best_losses;
  gboolean *fooled, *best_fooled, *ended; /* ended: already wrong, or nothing helps */
  gint *best_category, *best_value;
  guint64 *queries;
  const gchar **moved; /* [n, categories] */
} Search;

/* What a row had before it tried something else. */
typedef struct {
  DriftValue text;
  guint value; /* of a group */
} Held;

struct _CategoryKind {
  void (*hold)(const Search *search, const Category *category, guint row, Held *held);
  gboolean (*has)(const Category *category, const Held *held, guint value);
  void (*set)(const Search *search, const Category *category, guint row, guint value);
  void (*restore)(const Search *search, const Category *category, guint row, const Held *held);
};

static DriftValue text_value(const gchar *text)
{
  return (DriftValue){.kind = DRIFT_VALUE_TEXT, .text = text, .length = strlen(text)};
}

static gboolean is_same(const DriftValue *a, const DriftValue *b)
{
  return a->kind == b->kind && a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

static void hold_text(const Search *search, const Category *category, guint row, Held *held)
{
  held->text = pipeline_attack_model_get_value(search->attacked, row, category->feature);
}

static gboolean has_text(const Category *category, const Held *held, guint value)
{
  const DriftValue other = text_value(g_ptr_array_index(category->values, value));
  return is_same(&held->text, &other);
}

static void set_text(const Search *search, const Category *category, guint row, guint value)
{
  const gchar *text = g_intern_string(g_ptr_array_index(category->values, value)); /* outlives the lists */
  const DriftValue set = text_value(text);
  pipeline_attack_model_set_value(search->attacked, row, category->feature, &set);
}

static void restore_text(const Search *search, const Category *category, guint row, const Held *held)
{
  pipeline_attack_model_set_value(search->attacked, row, category->feature, &held->text);
}

static float *number_of(const Search *search, const Category *category, guint row, guint value)
{
  return search->points + (gsize)row * search->target.n_features + g_array_index(category->columns, guint, value);
}

static void hold_group(const Search *search, const Category *category, guint row, Held *held)
{
  for (guint value = 0; value < category->columns->len; value++)
    if (*number_of(search, category, row, value) == 1) held->value = value;
}

static gboolean has_group(const Category *category, const Held *held, guint value)
{
  (void)category;
  return held->value == value;
}

static void set_group(const Search *search, const Category *category, guint row, guint value)
{
  for (guint other = 0; other < category->columns->len; other++)
    *number_of(search, category, row, other) = other == value;
}

static void restore_group(const Search *search, const Category *category, guint row, const Held *held)
{
  set_group(search, category, row, held->value);
}

static const CategoryKind text_kind = {hold_text, has_text, set_text, restore_text};
static const CategoryKind group_kind = {hold_group, has_group, set_group, restore_group};

/* --- known values --------------------------------------------------------------------------------------------------
 */

typedef struct {
  gchar *text;
  guint64 count;
} Value;

static gint compare_values(gconstpointer a, gconstpointer b)
{
  const Value *left = a, *right = b;
  if (left->count != right->count) return left->count > right->count ? -1 : 1;
  return strcmp(left->text, right->text);
}

/* list: of gchar*, owned; the most frequent first. */
static void list_values(const DriftColumn *column, guint64 n_rows, GPtrArray *list)
{
  g_autoptr(GHashTable) counts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, NULL);
  g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(Value));
  for (guint64 row = 0; row < n_rows; row++) {
    DriftValue value = drift_column_get_value(column, row);
    if (value.kind != DRIFT_VALUE_TEXT) continue;
    g_autofree gchar *text = g_strndup(value.text, value.length);
    guint at = GPOINTER_TO_UINT(g_hash_table_lookup(counts, text));
    if (at == 0) {
      Value fresh = {.text = g_steal_pointer(&text)};
      g_array_append_val(values, fresh);
      at = values->len;
      g_hash_table_insert(counts, fresh.text, GUINT_TO_POINTER(at));
    }
    g_array_index(values, Value, at - 1).count++;
  }
  g_array_sort(values, compare_values);
  for (guint i = 0; i < values->len; i++) {
    gchar *text = g_array_index(values, Value, i).text;
    if (i < VALUES_MAXIMUM)
      g_ptr_array_add(list, text);
    else
      g_free(text);
  }
}

gboolean pipeline_robustness_is_group(const DriftSchema *schema, const gchar *name)
{
  return strchr(name, '+') != NULL && drift_schema_find_feature(schema, name) < 0;
}

static gboolean refuse(const gchar *name, const gchar *why, GError **error)
{
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, "mutable categories: \"%s\" %s", name, why);
  return FALSE;
}

static gboolean is_immutable(const PipelineRobustnessOptions *options, const gchar *name)
{
  return options->immutable != NULL && g_strv_contains(options->immutable, name);
}

static Category *add_category(GPtrArray *categories, const CategoryKind *kind)
{
  Category *category = g_new0(Category, 1);
  category->kind = kind;
  category->values = g_ptr_array_new_with_free_func(g_free);
  g_ptr_array_add(categories, category);
  return category;
}

static gboolean add_text(GPtrArray *categories, const PipelineRobustnessOptions *options, const DriftSchema *schema,
                         const DriftTable *rows, const gchar *name, GError **error)
{
  const DriftTable *reference = options->reference != NULL ? options->reference : rows;
  gint feature = drift_schema_find_feature(schema, name);
  if (feature < 0) return refuse(name, "is no feature of the model", error);
  const DriftFeature *known = drift_schema_get_feature(schema, (guint)feature);
  const DriftColumn *column = drift_table_get_column(reference, name);
  if (!known->input || known->kind != DRIFT_CATEGORICAL)
    return refuse(name, known->input ? "is a number, which an attack moves anyhow" : "is no input of the model", error);
  if (is_immutable(options, name)) return refuse(name, "is said to be immutable, too", error);
  if (column == NULL || column->kind != DRIFT_CATEGORICAL)
    return refuse(name, "is no column of texts in the data", error);
  Category *category = add_category(categories, &text_kind);
  category->feature = (guint)feature;
  list_values(column, reference->n_rows, category->values);
  return TRUE;
}

/* That the rows are one-hot is looked at by pipeline_robustness_ball_init. */
static gboolean add_group(GPtrArray *categories, const PipelineRobustnessOptions *options, const DriftSchema *schema,
                          const GArray *features, const gchar *group, GError **error)
{
  Category *category = add_category(categories, &group_kind);
  category->feature = PIPELINE_ROBUSTNESS_GROUP;
  category->columns = g_array_new(FALSE, FALSE, sizeof(guint));
  g_auto(GStrv) names = g_strsplit(group, "+", -1);
  for (guint i = 0; names[i] != NULL; i++) {
    guint at = pipeline_robustness_find_column(schema, features, names[i]);
    if (at >= features->len) return refuse(group, "has a part that is no numeric input of the model", error);
    if (is_immutable(options, names[i])) return refuse(group, "has a part that is said to be immutable, too", error);
    g_ptr_array_add(category->values, g_strdup(names[i]));
    g_array_append_val(category->columns, at);
  }
  return TRUE;
}

GPtrArray *pipeline_robustness_categories_new(const PipelineRobustnessOptions *options, const DriftSchema *schema,
                                              const GArray *features, const DriftTable *rows, GError **error)
{
  g_autoptr(GPtrArray) categories = g_ptr_array_new_with_free_func(category_free);
  for (guint i = 0; options->mutable_categories != NULL && options->mutable_categories[i] != NULL; i++) {
    const gchar *name = options->mutable_categories[i];
    if (pipeline_robustness_is_group(schema, name) ? !add_group(categories, options, schema, features, name, error)
                                                   : !add_text(categories, options, schema, rows, name, error))
      return NULL;
  }
  return g_steal_pointer(&categories);
}

/* --- the search ----------------------------------------------------------------------------------------------------
 */

static gboolean is_better(const Search *search, guint i)
{
  if (search->fooled[i] != search->best_fooled[i]) return search->fooled[i];
  return search->losses[i] > search->best_losses[i];
}

/* asked: the rows for which it counts as a query; NULL: all. */
static gboolean ask(Search *search, const gboolean *asked, GError **error)
{
  PipelineAttackAnswer answer = {.losses = search->losses, .fooled = search->fooled};
  if (!search->target.answer(search->attacked, search->points, search->order, search->n, &answer, error)) return FALSE;
  for (guint i = 0; i < search->n; i++) search->queries[i] += asked == NULL || asked[i] ? 1 : 0;
  return TRUE;
}

/* Every row that goes on tries this value of the category; those that had it, or moved it already, stay. */
static gboolean try_value(Search *search, guint c, guint v, GError **error)
{
  const Category *category = g_ptr_array_index(search->categories, c);
  guint n_categories = search->categories->len;
  g_autofree Held *before = g_new0(Held, search->n + 1);
  g_autofree gboolean *tried = g_new0(gboolean, search->n + 1);
  for (guint i = 0; i < search->n; i++) {
    category->kind->hold(search, category, i, &before[i]);
    tried[i] = !search->ended[i] && search->moved[i * n_categories + c] == NULL &&
               !category->kind->has(category, &before[i], v);
    if (tried[i]) category->kind->set(search, category, i, v);
  }
  gboolean done = ask(search, tried, error);
  for (guint i = 0; i < search->n; i++) {
    if (!tried[i]) continue;
    category->kind->restore(search, category, i, &before[i]);
    if (!done || !is_better(search, i)) continue;
    search->best_losses[i] = search->losses[i];
    search->best_fooled[i] = search->fooled[i];
    search->best_category[i] = (gint)c;
    search->best_value[i] = (gint)v;
  }
  return done;
}

/* One more category of each row, the one that raises the loss most. */
static gboolean move_one(Search *search, GError **error)
{
  guint n_categories = search->categories->len;
  for (guint i = 0; i < search->n; i++) search->best_category[i] = -1;
  for (guint c = 0; c < n_categories; c++) {
    const Category *category = g_ptr_array_index(search->categories, c);
    for (guint v = 0; v < category->values->len; v++)
      if (!try_value(search, c, v, error)) return FALSE;
  }
  for (guint i = 0; i < search->n; i++) {
    if (search->ended[i]) continue;
    search->ended[i] = search->best_category[i] < 0 || search->best_fooled[i];
    if (search->best_category[i] < 0) continue;
    guint c = (guint)search->best_category[i];
    const Category *category = g_ptr_array_index(search->categories, c);
    guint value = (guint)search->best_value[i];
    category->kind->set(search, category, i, value);
    search->moved[i * n_categories + c] = g_intern_string(g_ptr_array_index(category->values, value));
  }
  return TRUE;
}

static void search_clear(Search *search)
{
  gpointer arrays[] = {search->order,       search->losses, search->best_losses,   search->fooled,
                       search->best_fooled, search->ended,  search->best_category, search->best_value};
  for (guint i = 0; i < G_N_ELEMENTS(arrays); i++) g_free(arrays[i]);
}

gboolean pipeline_robustness_move_categories(PipelineAttackModel *attacked, const GPtrArray *categories, guint budget,
                                             float *points, guint n, guint64 *queries, const gchar **moved,
                                             GError **error)
{
  if (categories->len == 0 || n == 0) return TRUE;
  Search search = {.attacked = attacked,
                   .target = pipeline_attack_model_get_target(attacked),
                   .categories = categories,
                   .points = points,
                   .n = n,
                   .order = g_new(guint, n),
                   .losses = g_new0(double, n),
                   .best_losses = g_new0(double, n),
                   .fooled = g_new0(gboolean, n),
                   .best_fooled = g_new0(gboolean, n),
                   .ended = g_new0(gboolean, n),
                   .best_category = g_new0(gint, n),
                   .best_value = g_new0(gint, n),
                   .queries = queries,
                   .moved = moved};
  for (guint i = 0; i < n; i++) search.order[i] = i;
  gboolean done = ask(&search, NULL, error);
  memcpy(search.best_losses, search.losses, n * sizeof(double));
  memcpy(search.best_fooled, search.fooled, n * sizeof(gboolean));
  for (guint i = 0; i < n; i++) search.ended[i] = search.fooled[i];
  for (guint step = 0; done && step < MIN(budget, categories->len); step++) done = move_one(&search, error);
  search_clear(&search);
  return done;
}

void pipeline_robustness_tabulate_categories(const PipelineRobustness *robustness, const DriftSchema *schema,
                                             DriftTable *moved)
{
  guint n_categories = robustness->categories != NULL ? robustness->categories->len : 0;
  for (guint c = 0; c < n_categories; c++) {
    guint feature = g_array_index(robustness->categories, guint, c);
    if (feature == PIPELINE_ROBUSTNESS_GROUP) continue; /* its numbers are in the points */
    DriftColumn *column = drift_table_get_column(moved, drift_schema_get_feature(schema, feature)->name);
    for (guint64 i = 0; i < robustness->n; i++) {
      const gchar *text = robustness->moved[i * n_categories + c];
      if (text == NULL) continue;
      drift_column_append_text(column, text, -1); /* for its code */
      guint32 code = g_array_index(column->codes, guint32, column->codes->len - 1);
      g_array_set_size(column->codes, column->codes->len - 1);
      g_array_index(column->codes, guint32, i) = code;
    }
  }
}

GArray *pipeline_robustness_list_categories(const GPtrArray *categories)
{
  GArray *features = g_array_new(FALSE, FALSE, sizeof(guint));
  for (guint c = 0; c < categories->len; c++)
    g_array_append_val(features, ((const Category *)g_ptr_array_index(categories, c))->feature);
  return features;
}

guint pipeline_robustness_count_moved(const PipelineRobustness *robustness, guint64 row)
{
  guint n_categories = robustness->categories != NULL ? robustness->categories->len : 0, n = 0;
  for (guint c = 0; c < n_categories; c++) n += robustness->moved[row * n_categories + c] != NULL;
  return n;
}
