#include "pipeline/search_propose.h"

#include <math.h>
#include <string.h>

#define GOOD_SHARE .2
#define CANDIDATES 24u

/* --- dimensions on [0, 1] ----------------------------------------------------------------------------------------- */

static gboolean is_log(const PipelineSearchDimension *dimension)
{
  return dimension->scale == PIPELINE_SEARCH_LOG || dimension->scale == PIPELINE_SEARCH_LOG_INTEGER;
}

static gboolean is_whole(const PipelineSearchDimension *dimension)
{
  return dimension->scale == PIPELINE_SEARCH_INTEGER || dimension->scale == PIPELINE_SEARCH_LOG_INTEGER;
}

/* Whole numbers own half a step to both sides. */
static void bounds(const PipelineSearchDimension *dimension, double *low, double *high)
{
  double half = is_whole(dimension) ? .5 : 0;
  *low = dimension->low - half;
  *high = dimension->high + half;
  if (!is_log(dimension)) return;
  *low = log(*low);
  *high = log(*high);
}

static double to_unit(const PipelineSearchDimension *dimension, double value)
{
  double low, high;
  bounds(dimension, &low, &high);
  if (is_log(dimension)) value = log(value);
  return high > low ? CLAMP((value - low) / (high - low), 0, 1) : .5;
}

static double from_unit(const PipelineSearchDimension *dimension, double unit)
{
  double low, high;
  bounds(dimension, &low, &high);
  double value = low + unit * (high - low);
  if (is_log(dimension)) value = exp(value);
  if (is_whole(dimension)) value = round(value);
  return CLAMP(value, dimension->low, dimension->high);
}

/* allowed [table's choices]: those that the part has; their number. */
static guint find_choices(const PipelineSearchPart *part, guint d, gboolean *allowed)
{
  g_auto(GStrv) all = g_strsplit(part->family->table[d].choices, ",", -1);
  g_auto(GStrv) own = g_strsplit(part->choices[d] != NULL ? part->choices[d] : part->family->table[d].choices, ",", -1);
  guint n = 0;
  for (guint i = 0; all[i] != NULL; i++) {
    allowed[i] = g_strv_contains((const gchar *const *)own, all[i]);
    n += allowed[i];
  }
  return n;
}

/* --- densities ---------------------------------------------------------------------------------------------------- */

typedef struct {
  double *centres, *widths; /* [n], centres in rising order */
  guint n;
} Mixture;

static void mixture_clear(Mixture *mixture)
{
  g_free(mixture->centres);
  g_free(mixture->widths);
}

static int compare_doubles(gconstpointer a, gconstpointer b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* points [n] on [0, 1]; taken. */
static Mixture mixture_new(double *points, guint n)
{
  Mixture mixture = {points, g_new(double, n), n};
  double least = 1.0 / MIN(100, n + 1);
  if (n > 1) qsort(points, n, sizeof *points, compare_doubles);
  for (guint i = 0; i < n; i++) {
    double left = points[i] - (i > 0 ? points[i - 1] : 0), right = (i + 1 < n ? points[i + 1] : 1) - points[i];
    mixture.widths[i] = CLAMP(MAX(left, right), least, 1);
  }
  return mixture;
}

static double normal_below(double x)
{
  return .5 * erfc(-x / G_SQRT2);
}

static double mixture_density(const Mixture *mixture, double x)
{
  double sum = 1; /* the uniform part */
  for (guint i = 0; i < mixture->n; i++) {
    double width = mixture->widths[i], z = (x - mixture->centres[i]) / width;
    double inside = normal_below((1 - mixture->centres[i]) / width) - normal_below(-mixture->centres[i] / width);
    sum += exp(-z * z / 2) / (width * sqrt(2 * G_PI) * inside);
  }
  return sum / (mixture->n + 1);
}

/* Box and Muller (1958). */
static double draw_normal(PipelineRandom *random)
{
  double radius = sqrt(-2 * log(1 - pipeline_random_uniform(random)));
  return radius * cos(2 * G_PI * pipeline_random_uniform(random));
}

static double mixture_draw(const Mixture *mixture, PipelineRandom *random)
{
  guint i = (guint)pipeline_random_below(random, mixture->n + 1);
  if (i == mixture->n) return pipeline_random_uniform(random);
  for (;;) { /* a truncated normal whose centre is inside holds at least a third of the mass */
    double x = mixture->centres[i] + mixture->widths[i] * draw_normal(random);
    if (x >= 0 && x <= 1) return x;
  }
}

/* --- proposals ---------------------------------------------------------------------------------------------------- */

typedef struct {
  double loss;
  guint index;
} Ranked;

static int compare_ranked(gconstpointer a, gconstpointer b)
{
  const Ranked *x = a, *y = b;
  if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
  return (x->index > y->index) - (x->index < y->index);
}

/* order [n]: the observations, best first; the number of good ones. */
static guint rank(const double *losses, guint n, guint *order)
{
  g_autofree Ranked *ranked = g_new(Ranked, n);
  for (guint i = 0; i < n; i++) ranked[i] = (Ranked){losses[i], i};
  qsort(ranked, n, sizeof *ranked, compare_ranked);
  for (guint i = 0; i < n; i++) order[i] = ranked[i].index;
  return MAX(2u, (guint)ceil(GOOD_SHARE * n));
}

static double propose_number(const PipelineSearchPart *part, guint d, const double *values, const guint *order,
                             guint n_good, guint n, PipelineRandom *random)
{
  const PipelineSearchDimension *dimension = &part->dimensions[d];
  guint n_dimensions = part->family->n_dimensions;
  double *good = g_new(double, n_good), *others = g_new(double, MAX(1u, n - n_good));
  for (guint i = 0; i < n; i++)
    *(i < n_good ? &good[i] : &others[i - n_good]) = to_unit(dimension, values[order[i] * n_dimensions + d]);
  Mixture likely = mixture_new(good, n_good), unlikely = mixture_new(others, n - n_good);
  double best = 0, best_ratio = -1;
  for (guint c = 0; c < CANDIDATES; c++) {
    double value = from_unit(dimension, mixture_draw(&likely, random)), unit = to_unit(dimension, value);
    double ratio = mixture_density(&likely, unit) / mixture_density(&unlikely, unit);
    if (ratio <= best_ratio) continue;
    best = value;
    best_ratio = ratio;
  }
  mixture_clear(&likely);
  mixture_clear(&unlikely);
  return best;
}

/* Draws by the good ones' frequencies, keeps the best ratio. allowed [n_choices]: NULL: all. */
static guint propose_choice(const guint *chosen, const guint *order, guint n_good, guint n, guint n_choices,
                            const gboolean *allowed, PipelineRandom *random)
{
  g_autofree double *good = g_new0(double, n_choices), *others = g_new0(double, n_choices);
  double total = 0;
  for (guint i = 0; i < n; i++) (i < n_good ? good : others)[chosen[order[i]]]++;
  for (guint c = 0; c < n_choices; c++) total += allowed == NULL || allowed[c] ? good[c] + 1 : 0;
  guint best = n_choices;
  double best_ratio = -1;
  /* Two draws: with few choices more of them would always find the one with the largest ratio, and never explore. */
  for (guint draw = 0; draw < 2; draw++) {
    double left = total * pipeline_random_uniform(random);
    guint c = 0, last = 0;
    for (; c < n_choices && left >= 0; c++) {
      if (allowed != NULL && !allowed[c]) continue;
      left -= good[c] + 1;
      last = c;
    }
    double ratio = (good[last] + 1) / (others[last] + 1);
    if (ratio <= best_ratio) continue;
    best = last;
    best_ratio = ratio;
  }
  return best;
}

void pipeline_search_draw(const PipelineSearchPart *part, PipelineRandom *random, double *values)
{
  for (guint d = 0; d < part->family->n_dimensions; d++) {
    const PipelineSearchDimension *dimension = &part->dimensions[d];
    if (dimension->choices == NULL) {
      values[d] = from_unit(dimension, pipeline_random_uniform(random));
      continue;
    }
    guint n_choices = pipeline_search_n_choices(dimension), c = 0;
    g_autofree gboolean *allowed = g_new(gboolean, n_choices);
    guint64 left = pipeline_random_below(random, find_choices(part, d, allowed));
    while (!allowed[c] || left-- > 0) c++;
    values[d] = c;
  }
}

void pipeline_search_propose(const PipelineSearchPart *part, const double *values, const double *losses, guint n,
                             PipelineRandom *random, double *proposal)
{
  guint n_dimensions = part->family->n_dimensions;
  if (n < PIPELINE_SEARCH_STARTUP) {
    pipeline_search_draw(part, random, proposal);
    return;
  }
  g_autofree guint *order = g_new(guint, n), *chosen = g_new(guint, n);
  guint n_good = rank(losses, n, order);
  for (guint d = 0; d < n_dimensions; d++) {
    const PipelineSearchDimension *dimension = &part->dimensions[d];
    if (dimension->choices == NULL) {
      proposal[d] = propose_number(part, d, values, order, n_good, n, random);
      continue;
    }
    guint n_choices = pipeline_search_n_choices(dimension);
    g_autofree gboolean *allowed = g_new(gboolean, n_choices);
    find_choices(part, d, allowed);
    for (guint i = 0; i < n; i++) chosen[i] = (guint)values[i * n_dimensions + d];
    proposal[d] = propose_choice(chosen, order, n_good, n, n_choices, allowed, random);
  }
}

guint pipeline_search_propose_choice(const guint *chosen, const double *losses, guint n, guint n_choices,
                                     PipelineRandom *random)
{
  if (n_choices < 2) return 0;
  if (n < PIPELINE_SEARCH_STARTUP) return (guint)pipeline_random_below(random, n_choices);
  g_autofree guint *order = g_new(guint, n);
  guint n_good = rank(losses, n, order);
  return propose_choice(chosen, order, n_good, n, n_choices, NULL, random);
}
