/* Seven rates of five groups, over all and the largest differences between groups, from labels, predictions and a
 * column of texts. kedge's figures have intervals; the peers' have none. */
#include "drift/fairness.h"
#include "tests/bench/drift/bench.h"

typedef struct {
  DriftFairnessRows rows;
  const DriftColumn *group;
} Fairness;

static void run_fairness(gpointer data)
{
  static const DriftFairnessRateKind kinds[] = {
      DRIFT_RATE_ACCURACY,       DRIFT_RATE_PRECISION,      DRIFT_RATE_TRUE_POSITIVE, DRIFT_RATE_SELECTION,
      DRIFT_RATE_FALSE_POSITIVE, DRIFT_RATE_FALSE_NEGATIVE, DRIFT_RATE_TRUE_NEGATIVE};
  const Fairness *fairness = data;
  DriftFairnessSettings settings;
  drift_fairness_settings_init(&settings);
  g_autoptr(DriftGrouping) grouping = drift_grouping_new(&fairness->group, 1, fairness->rows.n, NULL);
  g_autoptr(DriftFairness) table = drift_fairness_new(&fairness->rows, grouping, &settings, NULL);
  bench_require(table != NULL, "fairness");
  for (guint k = 0; k < G_N_ELEMENTS(kinds); k++) {
    DriftFairnessValue value;
    DriftFairnessRange range;
    for (guint g = 0; g < table->n_groups; g++) drift_fairness_rate(&table->groups[g], kinds[k], &settings, &value);
    drift_fairness_rate(&table->overall, kinds[k], &settings, &value);
    drift_fairness_between(table, kinds[k], &range);
  }
}

void bench_fairness(const gchar *folder)
{
  static const gchar *const names[] = {"north", "south", "east", "west", "abroad"};
  gsize n;
  g_autofree double *codes = bench_read(folder, "fair", &n); /* group, label, prediction one after the other */
  gsize rows = n / 3;
  g_autofree gint8 *label = g_new(gint8, rows + 1), *prediction = g_new(gint8, rows + 1);
  g_autoptr(DriftTable) table = drift_table_new();
  DriftColumn *group = drift_table_add_column(table, "region", DRIFT_CATEGORICAL);
  for (gsize i = 0; i < rows; i++) {
    drift_column_append_text(group, names[(guint)codes[i]], -1);
    label[i] = (gint8)codes[rows + i];
    prediction[i] = (gint8)codes[2 * rows + i];
  }
  Fairness fairness = {{.n = rows, .label = label, .prediction = prediction}, group};
  bench_print("fairness", bench_best(10, run_fairness, &fairness), (double)rows);
}
