/* Expected confusion matrices: their elements, their value, and the ratios of one class against the rest. */
#include <math.h>

#include "drift/cbpe_internal.h"

DriftConfusion drift_cbpe_confusion(const double *p, const guint32 *predicted, guint32 positive, gsize n)
{
  DriftConfusion confusion = {0};
  gsize n_positive = 0;
  double sum_positive = 0, sum_negative = 0;
  for (gsize i = 0; i < n; i++) {
    gboolean is_positive = predicted[i] == positive;
    n_positive += is_positive ? 1 : 0;
    sum_positive += is_positive ? p[i] : 0;
    sum_negative += is_positive ? 0 : p[i];
  }
  confusion.true_positive = sum_positive;
  confusion.false_negative = sum_negative;
  confusion.false_positive = (double)n_positive - sum_positive;
  confusion.true_negative = (double)(n - n_positive) - sum_negative;
  return confusion;
}

double drift_confusion_accuracy(const DriftConfusion *c)
{
  double right = c->true_positive + c->true_negative;
  return right / (right + c->false_positive + c->false_negative);
}

double drift_confusion_precision(const DriftConfusion *c)
{
  return c->true_positive / (c->true_positive + c->false_positive);
}

double drift_confusion_recall(const DriftConfusion *c)
{
  return c->true_positive / (c->true_positive + c->false_negative);
}

double drift_confusion_f1(const DriftConfusion *c)
{
  return c->true_positive / (c->true_positive + .5 * (c->false_positive + c->false_negative));
}

double drift_confusion_specificity(const DriftConfusion *c)
{
  return c->true_negative / (c->true_negative + c->false_positive);
}

/* --- elements ----------------------------------------------------------------------------------------------------- */

/* Expected rows of class `truth` that were predicted `predicted`, of all such truths, and of all such predictions. */
typedef struct {
  double count, of_truth, of_predicted;
} Cell;

static Cell cell_of(const CbpeView *view, guint truth, guint predicted)
{
  Cell cell = {0, 0, 0};
  gboolean complement = view->n_scores == 1 && truth == 0;
  const double *p = view->positive[view->n_scores == 1 ? 0 : truth];
  for (gsize i = 0; i < view->n; i++) {
    double share = complement ? 1 - p[i] : p[i];
    cell.of_truth += share;
    if (view->predicted[i] != predicted) continue;
    cell.count += share;
    cell.of_predicted++;
  }
  return cell;
}

/* Binary elements in nannyml's order; others by rows of the matrix. */
static void cell_position(const CbpeSettings *settings, guint element, guint *truth, guint *predicted)
{
  static const guint binary[4][2] = {{1, 1}, {0, 0}, {0, 1}, {1, 0}};
  gboolean is_binary = settings->n_scores == 1;
  *truth = is_binary ? binary[element][0] : element / settings->n_classes;
  *predicted = is_binary ? binary[element][1] : element % settings->n_classes;
}

guint cbpe_confusion_n_elements(const CbpeSettings *settings)
{
  return settings->n_classes * settings->n_classes;
}

gchar *cbpe_confusion_name(const CbpeSettings *settings, guint element)
{
  static const gchar *const binary[] = {"true_positive", "true_negative", "false_positive", "false_negative"};
  guint truth, predicted;
  if (settings->n_scores == 1) return g_strdup(binary[element]);
  cell_position(settings, element, &truth, &predicted);
  if (settings->class_names == NULL) return g_strdup_printf("true_%u_pred_%u", truth, predicted);
  return g_strdup_printf("true_%s_pred_%s", settings->class_names[truth], settings->class_names[predicted]);
}

static double cell_total(const CbpeView *view, const CbpeSettings *settings, const Cell *cell)
{
  const double totals[] = {[DRIFT_CONFUSION_COUNT] = 1,
                           [DRIFT_CONFUSION_ALL] = (double)view->n,
                           [DRIFT_CONFUSION_TRUE] = cell->of_truth,
                           [DRIFT_CONFUSION_PREDICTED] = cell->of_predicted};
  return totals[settings->confusion_scale];
}

double cbpe_confusion_measure(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined)
{
  guint truth, predicted;
  cell_position(settings, element, &truth, &predicted);
  Cell cell = cell_of(view, truth, predicted);
  double total = cell_total(view, settings, &cell);
  if (total > 0) return cell.count / total;
  *undefined = settings->confusion_scale == DRIFT_CONFUSION_PREDICTED ? "no row of the chunk was predicted this class"
                                                                      : "no row of the chunk is expected in this class";
  return NAN;
}

double cbpe_confusion_error(CbpeView *reference, const CbpeSettings *settings, guint element)
{
  guint truth, predicted;
  cell_position(settings, element, &truth, &predicted);
  Cell cell = cell_of(reference, truth, predicted);
  double n = (double)reference->n, total = cell_total(reference, settings, &cell);
  if (settings->confusion_scale == DRIFT_CONFUSION_COUNT) total = n;
  double share = cell.count / total;
  return sqrt(share * (1 - share)) / sqrt(total / n);
}

gboolean cbpe_confusion_is_total(const CbpeSettings *settings)
{
  return settings->confusion_scale == DRIFT_CONFUSION_COUNT;
}

/* --- value -------------------------------------------------------------------------------------------------------- */

double cbpe_business_measure(CbpeView *view, const CbpeSettings *settings, guint element, const gchar **undefined)
{
  (void)element;
  double value = 0;
  if (settings->business_value == NULL) {
    *undefined = "no business value matrix was given";
    return NAN;
  }
  for (guint truth = 0; truth < settings->n_classes; truth++)
    for (guint predicted = 0; predicted < settings->n_classes; predicted++) {
      Cell cell = cell_of(view, truth, predicted);
      double total = settings->business_value_per_prediction ? cell.of_predicted : 1;
      if (total > 0) value += settings->business_value[truth * settings->n_classes + predicted] * cell.count / total;
    }
  return value;
}

/* Divisor n for two classes, n - 1 for more, as nannyml has it. */
double cbpe_business_error(CbpeView *reference, const CbpeSettings *settings, guint element)
{
  (void)element;
  double sum = 0, squares = 0, n = (double)reference->n;
  if (settings->business_value == NULL) return NAN;
  for (gsize i = 0; i < reference->n; i++)
    sum += settings->business_value[reference->truth[i] * settings->n_classes + reference->predicted[i]];
  for (gsize i = 0; i < reference->n; i++)
    squares +=
        pow(settings->business_value[reference->truth[i] * settings->n_classes + reference->predicted[i]] - sum / n, 2);
  return sqrt(squares / (settings->n_scores == 1 ? n : n - 1));
}

gboolean cbpe_business_is_total(const CbpeSettings *settings)
{
  return !settings->business_value_per_prediction;
}
