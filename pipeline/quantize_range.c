/* From a histogram of an activation to the range that its 8 bits span. */
#include <math.h>
#include <string.h>

#include "pipeline/quantize.h"

#define BINS PIPELINE_QUANTIZE_BINS
#define LEVELS 256u
#define LEAST_SHARE 0.1 /* of the full range that is tried */
#define STEPS 90u

static double bin_width(const PipelineQuantizeHistogram *h)
{
  return (h->high - h->low) / BINS;
}

static OnnxQuantizeRange choose_min_max(const PipelineQuantizeHistogram *h, double percentile)
{
  (void)percentile;
  return (OnnxQuantizeRange){(float)h->low, (float)h->high};
}

static OnnxQuantizeRange choose_percentile(const PipelineQuantizeHistogram *h, double percentile)
{
  double cut = (1 - percentile / 100) / 2 * (double)h->n, below = 0, above = 0;
  guint first = 0, last = BINS - 1;
  while (first < last && below + (double)h->counts[first] <= cut) below += (double)h->counts[first++];
  while (last > first && above + (double)h->counts[last] <= cut) above += (double)h->counts[last--];
  return (OnnxQuantizeRange){(float)(h->low + first * bin_width(h)), (float)(h->low + (last + 1) * bin_width(h))};
}

/* Mean squares of clipping and of rounding (a twelfth of the squared step). */
static double squared_error(const PipelineQuantizeHistogram *h, double low, double high)
{
  double step = (high - low) / (LEVELS - 1), sum = 0;
  for (guint i = 0; i < BINS; i++) {
    double x = h->low + (i + 0.5) * bin_width(h), beyond = x < low ? low - x : x > high ? x - high : 0;
    sum += (double)h->counts[i] * (beyond > 0 ? beyond * beyond : step * step / 12);
  }
  return sum;
}

/* Σ p ln(p / q): p what lies in the range, with what is clipped at its ends; q the same spread evenly over the bins of
 * each level that are not empty. Bins of p that q says are empty cost a large constant. */
static double divergence(const PipelineQuantizeHistogram *h, double low, double high)
{
  double p[BINS] = {0}, level_sum[LEVELS] = {0}, sum = 0;
  guint level_bins[LEVELS] = {0}, level_of[BINS];
  for (guint i = 0; i < BINS; i++) {
    double x = CLAMP(h->low + (i + 0.5) * bin_width(h), low, high);
    guint at = (guint)CLAMP((x - h->low) / bin_width(h), 0, BINS - 1);
    p[at] += (double)h->counts[i];
  }
  for (guint i = 0; i < BINS; i++) {
    double x = h->low + (i + 0.5) * bin_width(h);
    level_of[i] = (guint)CLAMP((x - low) / (high - low) * LEVELS, 0, LEVELS - 1);
    /* q does not know what was clipped */
    if (x >= low && x <= high) level_sum[level_of[i]] += (double)h->counts[i];
    level_bins[level_of[i]] += p[i] > 0;
  }
  for (guint i = 0; i < BINS; i++) {
    if (p[i] == 0) continue;
    double q = level_sum[level_of[i]] / MAX(level_bins[level_of[i]], 1);
    sum += p[i] * (q > 0 ? log(p[i] / q) : 100);
  }
  return sum;
}

static OnnxQuantizeRange search(const PipelineQuantizeHistogram *h,
                                double (*score)(const PipelineQuantizeHistogram *h, double low, double high))
{
  double low = MIN(h->low, 0), high = MAX(h->high, 0), best = INFINITY, share = 1;
  for (guint i = 0; i <= STEPS; i++) {
    double tried = 1 - i * (1 - LEAST_SHARE) / STEPS, value = score(h, low * tried, high * tried);
    if (!(value < best)) continue;
    best = value;
    share = tried;
  }
  return (OnnxQuantizeRange){(float)(low * share), (float)(high * share)};
}

static OnnxQuantizeRange choose_mse(const PipelineQuantizeHistogram *h, double percentile)
{
  (void)percentile;
  return search(h, squared_error);
}

static OnnxQuantizeRange choose_entropy(const PipelineQuantizeHistogram *h, double percentile)
{
  (void)percentile;
  return search(h, divergence);
}

static const struct {
  const gchar *name;
  OnnxQuantizeRange (*choose)(const PipelineQuantizeHistogram *h, double percentile);
} methods[] = {
    {"min-max", choose_min_max}, {"percentile", choose_percentile}, {"entropy", choose_entropy}, {"mse", choose_mse}};

gboolean pipeline_quantize_choose(const PipelineQuantizeHistogram *histogram, const gchar *method, double percentile,
                                  OnnxQuantizeRange *range, GError **error)
{
  for (gsize i = 0; i < G_N_ELEMENTS(methods); i++) {
    if (strcmp(methods[i].name, method) != 0) continue;
    gboolean flat = !(histogram->high > histogram->low);
    *range = flat ? choose_min_max(histogram, percentile) : methods[i].choose(histogram, percentile);
    return TRUE;
  }
  g_set_error(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID,
              "there is no way '%s' to find ranges; known: min-max, percentile, entropy, mse", method);
  return FALSE;
}
