/* Bias of a label window: groups of each sensitive feature (and of several crossed), counted and compared by
 * fairness.c. The reference group is the first in the grid's order (the most frequent category of the reference data;
 * the lowest quarter of a number) that has at least minimum_group rows here: it does not change from window to window
 * while both are large. */
#include "drift/bias.h"

#include <math.h>
#include <string.h>

#include "drift/fairness.h"
#include "drift/window_internal.h"

/* In the order of drift_bias_metrics. */
const guint32 drift_bias_default_metrics = 7;

/* equal_opportunity_difference is aif360's here, group less reference, as verdicts have always had it. */
const DriftBiasMetric drift_bias_metrics[] = {
    {"selection_rate", NULL, DRIFT_RATE_SELECTION},
    {"disparate_impact", "disparate_impact", DRIFT_RATE_SELECTION},
    {"equal_opportunity_difference", "true_positive_rate_difference", DRIFT_RATE_TRUE_POSITIVE},
    {"statistical_parity_difference", "statistical_parity_difference", DRIFT_RATE_SELECTION},
    {"false_positive_rate_difference", "false_positive_rate_difference", DRIFT_RATE_FALSE_POSITIVE},
    {"false_negative_rate_difference", "false_negative_rate_difference", DRIFT_RATE_FALSE_NEGATIVE},
    {"average_odds_difference", "average_odds_difference", DRIFT_N_RATES},
    {"average_abs_odds_difference", "average_abs_odds_difference", DRIFT_N_RATES},
    {"wrong_prediction_difference", "wrong_prediction_difference", DRIFT_RATE_ERROR},
    {"wrong_prediction_ratio", "wrong_prediction_ratio", DRIFT_RATE_ERROR},
    {"false_discovery_rate_difference", "false_discovery_rate_difference", DRIFT_RATE_FALSE_DISCOVERY},
    {"false_omission_rate_difference", "false_omission_rate_difference", DRIFT_RATE_FALSE_OMISSION},
    {"label_parity_difference", "label_parity_difference", DRIFT_RATE_BASE},
    {"label_disparate_impact", "label_disparate_impact", DRIFT_RATE_BASE},
    {"base_rate", NULL, DRIFT_RATE_BASE},
    {"accuracy", NULL, DRIFT_RATE_ACCURACY},
    {"tpr", NULL, DRIFT_RATE_TRUE_POSITIVE},
    {"fpr", NULL, DRIFT_RATE_FALSE_POSITIVE},
    {"precision", NULL, DRIFT_RATE_PRECISION},
    {NULL, NULL, 0}};

gint drift_bias_metric_find(const gchar *name)
{
  for (guint i = 0; drift_bias_metrics[i].name != NULL; i++)
    if (strcmp(drift_bias_metrics[i].name, name) == 0) return (gint)i;
  return -1;
}

/* --- rows and groups ---------------------------------------------------------------------------------------------- */

typedef struct {
  const DriftGrid *grid;
  const DriftLabelRow *rows;
  guint n;
  const DriftWindowSettings *settings;
  gint8 *label, *prediction; /* [n], 1 the positive class, DRIFT_FAIRNESS_NONE not a known one */
} Window;

static void window_init(Window *window)
{
  gint32 positive = (gint32)window->grid->schema->positive_class;
  window->label = g_new(gint8, window->n);
  window->prediction = g_new(gint8, window->n);
  for (guint i = 0; i < window->n; i++) {
    const DriftLabelRow *row = &window->rows[i];
    window->label[i] = row->label_class < 0 ? DRIFT_FAIRNESS_NONE : row->label_class == positive;
    window->prediction[i] = row->predicted_class < 0 ? DRIFT_FAIRNESS_NONE : row->predicted_class == positive;
  }
}

#define NO_KEY G_MAXUINT64
G_STATIC_ASSERT(DRIFT_GRID_MAX_CATEGORIES < 1u << 15); /* four attributes fit one key */

/* The codes of the attributes in `members`, the first the most significant: sorting keys sorts by the grid's order. */
static guint64 key_of(const Window *window, guint row, guint members)
{
  const DriftLabelRow *label_row = &window->rows[row];
  guint64 key = 0;
  if (window->label[row] < 0 || window->prediction[row] < 0) return NO_KEY;
  for (guint i = 0; i < window->grid->n_sensitive; i++) {
    if (!(members >> i & 1)) continue;
    guint n_groups = drift_quantity_n_groups(&window->grid->quantities[window->grid->sensitive[i]]);
    if (i >= label_row->n_groups || label_row->groups[i] >= n_groups) return NO_KEY;
    key = key << 15 | label_row->groups[i];
  }
  return key;
}

static gint compare_keys(gconstpointer a, gconstpointer b)
{
  guint64 left = *(const guint64 *)a, right = *(const guint64 *)b;
  return (left > right) - (left < right);
}

/* Distinct keys with at least minimum_group rows, in the grid's order; guint64. */
static GArray *large_groups(const Window *window, const guint64 *keys)
{
  guint least = MAX(window->settings->minimum_group, 1);
  g_autofree guint64 *sorted = g_memdup2(keys, window->n * sizeof *keys);
  GArray *large = g_array_new(FALSE, FALSE, sizeof(guint64));
  qsort(sorted, window->n, sizeof *sorted, compare_keys);
  for (guint first = 0, next; first < window->n && sorted[first] != NO_KEY; first = next) {
    for (next = first; next < window->n && sorted[next] == sorted[first];) next++;
    if (next - first >= least) g_array_append_val(large, sorted[first]);
  }
  return large;
}

/* "race|sex" for group -1, else the group's values: "Caucasian|m". */
static gchar *name_of(const DriftGrid *grid, guint members, guint64 key, gboolean group)
{
  GString *name = g_string_new(NULL);
  guint left = (guint)__builtin_popcount(members);
  for (guint i = 0; i < grid->n_sensitive; i++) {
    if (!(members >> i & 1)) continue;
    guint code = (guint)(key >> (15 * --left)) & 0x7fff;
    g_autofree gchar *part = group ? drift_quantity_group_name(&grid->quantities[grid->sensitive[i]], code)
                                   : g_strdup(drift_grid_quantity_name(grid, grid->sensitive[i]));
    g_string_append_printf(name, "%s%s", name->len > 0 ? "|" : "", part);
  }
  return g_string_free(name, FALSE);
}

static guint32 find_key(const GArray *large, guint64 key)
{
  guint index = 0;
  gboolean found = key != NO_KEY && g_array_binary_search((GArray *)large, &key, compare_keys, &index);
  return found ? index : DRIFT_GROUP_NONE;
}

static DriftGrouping *group_rows(const Window *window, guint members, const GArray *large, const guint64 *keys)
{
  DriftGrouping *grouping = g_new0(DriftGrouping, 1);
  grouping->n_rows = window->n;
  grouping->group = g_new(guint32, window->n);
  grouping->n_groups = large->len;
  grouping->names = g_new0(gchar *, large->len + 1);
  grouping->attribute = name_of(window->grid, members, 0, FALSE);
  for (guint i = 0; i < window->n; i++) grouping->group[i] = find_key(large, keys[i]);
  for (guint i = 0; i < large->len; i++)
    grouping->names[i] = name_of(window->grid, members, g_array_index(large, guint64, i), TRUE);
  return grouping;
}

/* --- verdicts ----------------------------------------------------------------------------------------------------- */

static void show_rates(const DriftFairness *fairness, guint group, guint rate, DriftBiasVerdict *verdict)
{
  DriftFairnessValue own, reference;
  if (rate == DRIFT_N_RATES) {
    own = drift_fairness_undefined(NULL, drift_confusion_total(&fairness->groups[group]));
    reference = drift_fairness_undefined(NULL, drift_confusion_total(&fairness->groups[fairness->reference]));
  } else {
    drift_fairness_rate(&fairness->groups[group], rate, &fairness->settings, &own);
    drift_fairness_rate(&fairness->groups[fairness->reference], rate, &fairness->settings, &reference);
  }
  verdict->n_group = own.n;
  verdict->rate_group = own.value;
  verdict->rate_group_low = own.low;
  verdict->rate_group_high = own.high;
  verdict->n_reference = reference.n;
  verdict->rate_reference = reference.value;
  verdict->rate_reference_low = reference.low;
  verdict->rate_reference_high = reference.high;
}

static DriftBiasVerdict *measure(const DriftFairness *fairness, guint group, const DriftBiasMetric *metric,
                                 double impact_bound)
{
  DriftBiasVerdict *verdict = g_new0(DriftBiasVerdict, 1);
  DriftFairnessValue value;
  verdict->metric = metric->name;
  verdict->attribute = g_strdup(fairness->grouping->attribute);
  verdict->group = g_strdup(fairness->grouping->names[group]);
  verdict->reference_group = g_strdup(fairness->grouping->names[fairness->reference]);
  show_rates(fairness, group, metric->rate, verdict);
  if (metric->compare == NULL) {
    drift_fairness_rate(&fairness->groups[group], metric->rate, &fairness->settings, &value);
  } else {
    const DriftFairnessMetric *comparison = drift_fairness_metric_find(metric->compare);
    comparison->compare(comparison, &fairness->groups[group], &fairness->groups[fairness->reference],
                        &fairness->settings, &value);
    gboolean bounded = impact_bound > 0 && strcmp(metric->name, "disparate_impact") == 0;
    if (bounded && value.undefined == NULL)
      drift_fairness_metric_breaches(comparison, &value, impact_bound, &verdict->breach);
  }
  verdict->value = value.value;
  verdict->low = value.low;
  verdict->high = value.high;
  verdict->undefined = value.undefined;
  return verdict;
}

static void measure_groups(const DriftFairness *fairness, const DriftWindowSettings *settings, GPtrArray *verdicts)
{
  for (guint group = 0; group < fairness->n_groups; group++) {
    for (guint m = 0; drift_bias_metrics[m].name != NULL; m++) {
      const DriftBiasMetric *metric = &drift_bias_metrics[m];
      if (!(settings->bias_metrics >> m & 1) || (metric->compare != NULL && group == fairness->reference)) continue;
      g_ptr_array_add(verdicts, measure(fairness, group, metric, settings->disparate_impact_bound));
    }
  }
}

/* More groups than are compared: said, not cut. */
static DriftBiasVerdict *too_many(const Window *window, guint members)
{
  DriftBiasVerdict *verdict = g_new0(DriftBiasVerdict, 1);
  *verdict = (DriftBiasVerdict){.metric = drift_bias_metrics[0].name,
                                .attribute = name_of(window->grid, members, 0, FALSE),
                                .group = g_strdup("(all)"),
                                .n_group = window->n,
                                .rate_group = NAN,
                                .rate_group_low = NAN,
                                .rate_group_high = NAN,
                                .rate_reference = NAN,
                                .rate_reference_low = NAN,
                                .rate_reference_high = NAN,
                                .value = NAN,
                                .low = NAN,
                                .high = NAN,
                                .undefined = "more than 1,024 groups of minimum_group rows"};
  return verdict;
}
G_STATIC_ASSERT(DRIFT_FAIRNESS_MAX_GROUPS == 1024);

static void measure_members(const Window *window, guint members, GPtrArray *verdicts)
{
  g_autofree guint64 *keys = g_new(guint64, window->n);
  for (guint i = 0; i < window->n; i++) keys[i] = key_of(window, i, members);
  g_autoptr(GArray) large = large_groups(window, keys);
  if (large->len == 0) return;
  if (large->len > DRIFT_FAIRNESS_MAX_GROUPS) {
    g_ptr_array_add(verdicts, too_many(window, members));
    return;
  }
  g_autoptr(DriftGrouping) grouping = group_rows(window, members, large, keys);
  DriftFairnessRows rows = {.n = window->n, .label = window->label, .prediction = window->prediction};
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  settings.confidence = window->settings->confidence;
  settings.minimum_group = window->settings->minimum_group;
  settings.reference = 0;
  g_autoptr(DriftFairness) fairness = drift_fairness_new(&rows, grouping, &settings, NULL);
  if (fairness != NULL) measure_groups(fairness, window->settings, verdicts);
}

/* How far from equal a breach is: of a ratio, in either direction. */
static double distance_from_equal(const DriftBiasVerdict *verdict)
{
  return verdict->value > 0 ? fabs(log(verdict->value)) : INFINITY;
}

/* Breaches first, the worst ratio ahead; the others stay in order (the sort is stable). */
static gint compare_bias(gconstpointer a, gconstpointer b, gpointer user_data)
{
  (void)user_data;
  const DriftBiasVerdict *left = *(DriftBiasVerdict *const *)a, *right = *(DriftBiasVerdict *const *)b;
  if (left->breach != right->breach) return left->breach ? -1 : 1;
  if (!left->breach) return 0;
  double difference = distance_from_equal(right) - distance_from_equal(left);
  return (difference > 0) - (difference < 0);
}

static const gchar *why_none(const DriftGrid *grid, guint n)
{
  if (grid->schema->task == DRIFT_TASK_REGRESSION) return "bias is measured on decisions; this model predicts a number";
  if (grid->schema->task != DRIFT_TASK_BINARY)
    return "bias is measured on decisions between two classes; this model has more";
  if (grid->n_sensitive == 0) return "no feature of the model is marked sensitive";
  return n == 0 ? "no labelled row (n = 0)" : "no group has minimum_group rows with a known label and prediction";
}

const gchar *drift_bias_measure(const DriftGrid *grid, const DriftLabelRow *rows, guint n,
                                const DriftWindowSettings *settings, GPtrArray *verdicts)
{
  if (grid->schema->task != DRIFT_TASK_BINARY || n == 0 || grid->n_sensitive == 0) return why_none(grid, n);
  Window window = {.grid = grid, .rows = rows, .n = n, .settings = settings};
  guint crossed = CLAMP(settings->bias_crossed, 1, DRIFT_BIAS_MAX_CROSSED);
  window_init(&window);
  for (gint size = 1; size <= (gint)crossed; size++)
    for (guint members = 1; members < 1u << grid->n_sensitive; members++)
      if (__builtin_popcount(members) == size) measure_members(&window, members, verdicts);
  g_free(window.label);
  g_free(window.prediction);
  g_qsort_with_data(verdicts->pdata, (gint)verdicts->len, sizeof(gpointer), compare_bias, NULL);
  return verdicts->len > 0 ? NULL : why_none(grid, n);
}
