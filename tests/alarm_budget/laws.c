#include "tests/alarm_budget/laws.h"

#include <math.h>

/* Laws are tables of their quantiles: the same law for reference and traffic, which is all that a null asks, at the
 * cost of a look-up a value. */
#define QUANTILES 65536
#define AUTOCORRELATION .5
#define SEASON_AMPLITUDE .5
#define MAX_CATEGORIES 200

const gchar *const law_names[N_LAWS] = {"normal",         "t(3)",     "2 categories", "20 categories",
                                        "200 categories", "AR(1) .5", "seasonal"};
static const guint n_categories[N_LAWS] = {[LAW_CATEGORY_2] = 2, [LAW_CATEGORY_20] = 20, [LAW_CATEGORY_200] = 200};

static float normal_quantiles[QUANTILES], t3_quantiles[QUANTILES];
static guint8 category_quantiles[N_LAWS][QUANTILES];
static gchar category_names[MAX_CATEGORIES][8];

static double normal_cdf(double x)
{
  return erfc(-x / G_SQRT2) / 2;
}

static double t3_cdf(double x)
{
  double scaled = x / sqrt(3);
  return .5 + (scaled / (1 + scaled * scaled) + atan(scaled)) / G_PI;
}

static void fill(float *quantiles, double (*cdf)(double))
{
  for (guint i = 0; i < QUANTILES; i++) {
    double low = -1e3, high = 1e3;
    while (high - low > 1e-9 * fmax(1, fabs(low))) {
      double middle = (low + high) / 2;
      if (cdf(middle) < (i + .5) / QUANTILES)
        low = middle;
      else
        high = middle;
    }
    quantiles[i] = (float)high;
  }
}

/* The i-th category has a share in proportion to 1/i. */
static void fill_categories(Law law)
{
  double total = 0, below = 0;
  for (guint i = 0; i < n_categories[law]; i++) total += 1.0 / (i + 1);
  for (guint i = 0, at = 0; i < n_categories[law]; i++) {
    below += 1.0 / (i + 1) / total;
    for (; at < QUANTILES && (i + 1 == n_categories[law] || (at + .5) / QUANTILES < below); at++)
      category_quantiles[law][at] = (guint8)i;
  }
}

static void fill_tables(void)
{
  if (category_names[0][0] != '\0') return;
  fill(normal_quantiles, normal_cdf);
  fill(t3_quantiles, t3_cdf);
  for (Law law = 0; law < N_LAWS; law++)
    if (n_categories[law] > 0) fill_categories(law);
  for (guint i = 0; i < MAX_CATEGORIES; i++) g_snprintf(category_names[i], sizeof category_names[i], "c%u", i);
}

/* SplitMix64's finaliser. */
static guint64 mix(guint64 z)
{
  z = (z ^ (z >> 30)) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static guint64 next_random(Traffic *traffic)
{
  return mix(traffic->state += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));
}

double traffic_uniform(Traffic *traffic)
{
  return (double)(next_random(traffic) >> 11) / 9007199254740992.0;
}

void traffic_init(Traffic *traffic, Law law, guint n_columns, guint64 period, guint64 seed)
{
  fill_tables();
  *traffic = (Traffic){.law = law,
                       .n_columns = n_columns,
                       .state = mix(seed), /* else seeds that differ by multiples of the step share a stream, shifted */
                       .period = period,
                       .previous = g_new0(double, n_columns),
                       .season = g_new0(float, period),
                       .values = g_new0(DriftValue, n_columns)};
  for (guint64 i = 0; i < period; i++)
    traffic->season[i] = (float)(SEASON_AMPLITUDE * sin(2 * G_PI * (double)i / (double)period));
  for (guint i = 0; i < n_columns; i++) traffic->previous[i] = normal_quantiles[next_random(traffic) % QUANTILES];
}

void traffic_clear(Traffic *traffic)
{
  g_free(traffic->previous);
  g_free(traffic->season);
  g_free(traffic->values);
}

static double number_of(Traffic *traffic, guint column, guint bits)
{
  double normal = normal_quantiles[bits];
  if (traffic->law == LAW_T3) return t3_quantiles[bits];
  if (traffic->law == LAW_SEASONAL) return normal + traffic->season[traffic->row % traffic->period];
  if (traffic->law != LAW_AR1) return normal;
  double *previous = &traffic->previous[column];
  *previous = AUTOCORRELATION * *previous + sqrt(1 - AUTOCORRELATION * AUTOCORRELATION) * normal;
  return *previous;
}

void traffic_next(Traffic *traffic, const Change *change)
{
  guint64 random = 0;
  gboolean categories = n_categories[traffic->law] > 0;
  for (guint i = 0; i < traffic->n_columns; i++) {
    if (i % 4 == 0) random = next_random(traffic);
    guint bits = random & (QUANTILES - 1);
    random >>= 16;
    traffic->values[i] = categories ? drift_value_text(category_names[category_quantiles[traffic->law][bits]], -1)
                                    : drift_value_number(number_of(traffic, i, bits));
  }
  if (change != NULL && !categories) traffic->values[0].number += change->shift;
  if (change != NULL && categories && traffic_uniform(traffic) < change->share)
    traffic->values[0] = drift_value_text(category_names[1], -1);
  traffic->row++;
}

DriftSchema *traffic_schema(const Traffic *traffic)
{
  DriftSchema *schema = drift_schema_new(DRIFT_TASK_REGRESSION, "");
  DriftFeatureKind kind = n_categories[traffic->law] > 0 ? DRIFT_CATEGORICAL : DRIFT_NUMERIC;
  for (guint i = 0; i < traffic->n_columns; i++) {
    g_autofree gchar *name = g_strdup_printf("x%u", i);
    drift_schema_add_feature(schema, name, kind, FALSE, TRUE);
  }
  return schema;
}

DriftTable *traffic_table(Traffic *traffic, guint64 n_rows)
{
  DriftTable *table = drift_table_new();
  gboolean categories = n_categories[traffic->law] > 0;
  for (guint i = 0; i < traffic->n_columns; i++) {
    g_autofree gchar *name = g_strdup_printf("x%u", i);
    drift_table_add_column(table, name, categories ? DRIFT_CATEGORICAL : DRIFT_NUMERIC);
  }
  for (guint64 row = 0; row < n_rows; row++) {
    traffic_next(traffic, NULL);
    for (guint i = 0; i < traffic->n_columns; i++) {
      DriftColumn *column = g_ptr_array_index(table->columns, i);
      const DriftValue *value = &traffic->values[i];
      if (categories)
        drift_column_append_text(column, value->text, (gssize)value->length);
      else
        drift_column_append_number(column, value->number);
    }
  }
  table->n_rows = n_rows;
  return table;
}

void traffic_count(Traffic *traffic, DriftAccumulator *into, guint64 n_rows, const Change *change)
{
  const DriftEvent event = {.score = NAN, .latency_ms = NAN, .features = traffic->values};
  for (guint64 row = 0; row < n_rows; row++) {
    traffic_next(traffic, change);
    drift_accumulator_add(into, &event);
  }
}
