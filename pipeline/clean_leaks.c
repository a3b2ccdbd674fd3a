/* Signs that the training rows know more than a model will: a column that tells the label alone, rows on both sides. */
#include <math.h>
#include <string.h>

#include "pipeline/clean_internal.h"
#include "pipeline/evaluate_metrics.h"

#define SUSPICIOUS .99 /* AUC of a number, accuracy of a text's majority classes */
#define SUSPICIOUS_CORRELATION .999
#define LEAST_LEFT .5 /* an accuracy must also leave out this share of what the commonest class gets wrong */

typedef struct {
  const gchar *statistic;
  double value;
  guint64 n;
  gboolean suspicious;
} Telling;

/* AUC of a number against one class (two classes: the second), whichever side is higher. */
static Telling tell_by_number(const DriftColumn *column, const PipelineTrainerRows *rows, guint n_classes)
{
  Telling worst = {"auc", NAN, 0, FALSE};
  g_autofree double *scores = g_new(double, rows->n_train + 1);
  g_autofree guint8 *labels = g_new(guint8, rows->n_train + 1);
  for (guint c = n_classes > 2 ? 0 : 1; c < n_classes; c++) {
    guint64 n = 0;
    for (guint64 i = 0; i < rows->n_train; i++) {
      double x = g_array_index(column->numbers, double, rows->rows[i]);
      if (isnan(x)) continue;
      scores[n] = x;
      labels[n++] = (guint)rows->targets[rows->rows[i]] == c;
    }
    double auc = pipeline_metric_auc(scores, labels, n);
    if (auc < .5) auc = 1 - auc;
    if (isnan(auc) || auc <= worst.value) continue;
    worst = (Telling){"auc", auc, n, auc >= SUSPICIOUS};
  }
  return worst;
}

/* Accuracy on the odd training rows of the commonest class that each text has on the even ones: an identifier, of which
 * every row has another, tells nothing. */
static Telling tell_by_text(const DriftColumn *column, const PipelineTrainerRows *rows, guint n_classes)
{
  guint n_texts = column->dictionary->len;
  g_autofree guint *counts = g_new0(guint, ((gsize)n_texts + 1) * n_classes), *all = g_new0(guint, n_classes);
  guint64 right = 0, n = 0, common = 0;
  for (guint64 i = 0; i < rows->n_train; i++) {
    guint32 code = g_array_index(column->codes, guint32, rows->rows[i]);
    guint *of = counts + (gsize)(code == DRIFT_CODE_MISSING ? n_texts : code) * n_classes;
    guint given = (guint)rows->targets[rows->rows[i]], best = 0;
    all[given]++;
    if (i % 2 == 0) {
      of[given]++;
      continue;
    }
    for (guint c = 1; c < n_classes; c++)
      if (of[c] > of[best]) best = c;
    right += of[best] > 0 && best == given;
    n++;
  }
  for (guint c = 0; c < n_classes; c++) common = MAX(common, all[c]);
  double accuracy = n > 0 ? (double)right / (double)n : NAN;
  double missed = 1 - (double)common / (double)MAX(rows->n_train, 1);
  return (Telling){"accuracy", accuracy, n, accuracy >= SUSPICIOUS && 1 - accuracy <= LEAST_LEFT * missed};
}

static Telling tell_by_correlation(const DriftColumn *column, const PipelineTrainerRows *rows)
{
  double sums[5] = {0}, n = 0;
  for (guint64 i = 0; i < rows->n_train; i++) {
    double x = g_array_index(column->numbers, double, rows->rows[i]), y = (double)rows->targets[rows->rows[i]];
    if (!isfinite(x)) continue;
    sums[0] += x, sums[1] += y, n++;
  }
  for (guint64 i = 0; i < rows->n_train; i++) {
    double x = g_array_index(column->numbers, double, rows->rows[i]) - sums[0] / n,
           y = (double)rows->targets[rows->rows[i]] - sums[1] / n;
    if (!isfinite(x)) continue;
    sums[2] += x * x, sums[3] += y * y, sums[4] += x * y;
  }
  double correlation = sums[2] > 0 && sums[3] > 0 ? fabs(sums[4]) / sqrt(sums[2] * sums[3]) : NAN;
  return (Telling){"correlation", correlation, (guint64)n, correlation >= SUSPICIOUS_CORRELATION};
}

/* Every training row has the label's own text. */
static gboolean equals_label(const DriftTable *table, const DriftSchema *schema, const DriftColumn *column,
                             const PipelineTrainerRows *rows)
{
  const DriftColumn *label = drift_table_get_column(table, schema->label);
  for (guint64 i = 0; i < rows->n_train; i++) {
    gchar buffers[2][DRIFT_NUMBER_TEXT_SIZE];
    gsize lengths[2] = {0};
    DriftValue a = drift_column_get_value(column, rows->rows[i]), b = drift_column_get_value(label, rows->rows[i]);
    const gchar *x = drift_value_to_text(&a, buffers[0], &lengths[0]),
                *y = drift_value_to_text(&b, buffers[1], &lengths[1]);
    if (!x || !y || lengths[0] != lengths[1] || memcmp(x, y, lengths[0]) != 0) return FALSE;
  }
  return rows->n_train > 0;
}

static void add_column(json_t *list, const DriftTable *table, const DriftSchema *schema, const DriftColumn *column,
                       const PipelineTrainerRows *rows)
{
  gboolean regression = schema->task == DRIFT_TASK_REGRESSION, text = column->kind == DRIFT_CATEGORICAL;
  gboolean equal = equals_label(table, schema, column, rows);
  if (regression && text) return;
  Telling telling = regression ? tell_by_correlation(column, rows)
                    : text     ? tell_by_text(column, rows, schema->classes->len)
                               : tell_by_number(column, rows, schema->classes->len);
  if (!equal && !telling.suspicious) return;
  json_array_append_new(list, json_pack("{s:s, s:s, s:f, s:I, s:s}", "column", column->name, "statistic",
                                        telling.statistic, "value", telling.value, "rows", (json_int_t)telling.n, "why",
                                        equal ? "it is the label" : "alone it tells the label almost perfectly"));
}

/* Rows [start, end) in use whose inputs and label a training row has. */
static guint64 count_shared(const DriftTable *table, const DriftSchema *schema, const PipelineTrainerRows *rows,
                            GHashTable *training, guint64 start, guint64 end)
{
  guint64 shared = 0;
  for (guint64 i = start; i < end; i++) {
    g_autofree gchar *key = pipeline_clean_row_key(table, schema, rows->rows[i], TRUE);
    shared += g_hash_table_contains(training, key) != FALSE;
  }
  return shared;
}

json_t *pipeline_clean_find_leaks(const DriftTable *table, const DriftSchema *schema, const PipelineTrainerRows *rows)
{
  json_t *columns = json_array();
  guint checked = 0;
  for (guint f = 0; f < drift_schema_n_features(schema); f++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, f);
    const DriftColumn *column = drift_table_get_column(table, feature->name);
    if (!feature->input || !column) continue;
    checked++;
    add_column(columns, table, schema, column, rows);
  }
  g_autoptr(GHashTable) training = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
  for (guint64 i = 0; i < rows->n_train; i++)
    g_hash_table_add(training, pipeline_clean_row_key(table, schema, rows->rows[i], TRUE));
  guint64 validation = rows->n_train + rows->n_validation, test = validation + rows->n_test;
  return json_pack("{s:o, s:i, s:I, s:I}", "columns", columns, "columns_checked", (int)checked,
                   "validation_rows_in_training",
                   (json_int_t)count_shared(table, schema, rows, training, rows->n_train, validation),
                   "test_rows_in_training", (json_int_t)count_shared(table, schema, rows, training, validation, test));
}
