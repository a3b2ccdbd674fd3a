/* Benchmark streams. */
#include "daemon/simulate_streams.h"

#include <math.h>

enum { CONCEPT_ROWS = 10000 };
static const guint64 MAXIMUM_ROWS = 100000000;

static void add_numbers(DriftTable *table, const gchar *const *names)
{
  for (guint i = 0; names[i]; i++) drift_table_add_column(table, names[i], DRIFT_NUMERIC);
}

static void put(DriftTable *table, guint column, double value)
{
  drift_column_append_number(g_ptr_array_index(table->columns, column), value);
}

static void put_text(DriftTable *table, guint column, const gchar *text)
{
  drift_column_append_text(g_ptr_array_index(table->columns, column), text, -1);
}

/* --- SEA: W. N. Street and Y. Kim, KDD 2001. Three attributes in [0, 10], the third irrelevant; positive when the
 * first two add up to more than a threshold that changes in each quarter; 10 % of the labels are flipped.
 * ------------------- */

static void generate_sea(DriftTable *table, guint64 rows, GRand *random)
{
  static const double thresholds[] = {8, 9, 7, 9.5};
  add_numbers(table, (const gchar *const[]){"x1", "x2", "x3", SIMULATE_LABEL, NULL});
  for (guint64 row = 0; row < rows; row++) {
    double x[3];
    for (guint i = 0; i < 3; i++) put(table, i, x[i] = g_rand_double_range(random, 0, 10));
    gboolean positive = x[0] + x[1] > thresholds[row * 4 / rows];
    if (g_rand_double(random) < .1) positive = !positive;
    put(table, 3, positive);
  }
}

/* --- Agrawal: R. Agrawal, T. Imielinski, A. Swami, IEEE TKDE 5 (1993) 914: loan applications. The first half follows
 * function 2 (age and salary), the second function 4 (age, education and salary) with salaries a fifth higher. We add
 * "sex", which the functions ignore, and deny one approval in ten of the women, so that there is a bias to see.
 * -------- */

typedef struct {
  double salary, commission, loan, home_value;
  guint age, education, car, zip_code, home_years;
} Application;

static Application draw_application(GRand *random, gboolean inflated)
{
  Application a;
  a.salary = g_rand_double_range(random, 20000, 150000);
  a.commission = a.salary >= 75000 ? 0 : g_rand_double_range(random, 10000, 75000);
  a.age = (guint)g_rand_int_range(random, 20, 81);
  a.education = (guint)g_rand_int_range(random, 0, 5);
  a.car = (guint)g_rand_int_range(random, 1, 21);
  a.zip_code = (guint)g_rand_int_range(random, 0, 9);
  a.home_value = (9 - a.zip_code) * 100000 * g_rand_double_range(random, .5, 1.5);
  a.home_years = (guint)g_rand_int_range(random, 1, 31);
  a.loan = g_rand_double_range(random, 0, 500000);
  if (inflated) a.salary *= 1.2;
  return a;
}

static gboolean between(double value, double low, double high)
{
  return value >= low && value <= high;
}

static gboolean approve_by_age_and_salary(const Application *a)
{
  if (a->age < 40) return between(a->salary, 50000, 100000);
  if (a->age < 60) return between(a->salary, 75000, 125000);
  return between(a->salary, 25000, 75000);
}

static gboolean approve_by_education(const Application *a)
{
  if (a->age < 40) return a->education <= 1 ? between(a->salary, 25000, 75000) : between(a->salary, 50000, 100000);
  if (a->age < 60)
    return a->education >= 1 && a->education <= 3 ? between(a->salary, 50000, 100000)
                                                  : between(a->salary, 75000, 125000);
  return a->education >= 2 ? between(a->salary, 50000, 100000) : between(a->salary, 25000, 75000);
}

static void generate_agrawal(DriftTable *table, guint64 rows, GRand *random)
{
  add_numbers(table, (const gchar *const[]){"salary", "commission", "age", "education", "car", "zip_code", "home_value",
                                            "home_years", "loan", NULL});
  drift_table_add_column(table, "sex", DRIFT_CATEGORICAL);
  drift_table_add_column(table, SIMULATE_LABEL, DRIFT_NUMERIC);
  for (guint64 row = 0; row < rows; row++) {
    gboolean late = row >= rows / 2, woman = g_rand_boolean(random);
    Application a = draw_application(random, late);
    gboolean approved = late ? approve_by_education(&a) : approve_by_age_and_salary(&a);
    if (woman && g_rand_double(random) < .1) approved = FALSE;
    const double values[] = {a.salary,   a.commission, a.age,        a.education, a.car,
                             a.zip_code, a.home_value, a.home_years, a.loan};
    for (guint i = 0; i < G_N_ELEMENTS(values); i++) put(table, i, values[i]);
    put_text(table, 9, woman ? "female" : "male");
    put(table, 10, approved);
  }
}

/* --- Rotating hyperplane: G. Hulten, L. Spencer, P. Domingos, KDD 2001. Ten attributes in [0, 1]; the weights of the
 * first four drift by a thousandth a row and turn back now and then; 5 % of the labels are flipped. -------------------
 */

static void generate_hyperplane(DriftTable *table, guint64 rows, GRand *random)
{
  enum { N = 10, DRIFTING = 4 };
  double weights[N], directions[N];
  add_numbers(
      table, (const gchar *const[]){"x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", SIMULATE_LABEL, NULL});
  for (guint i = 0; i < N; i++) {
    weights[i] = g_rand_double(random);
    directions[i] = i < DRIFTING ? 1 : 0;
  }
  for (guint64 row = 0; row < rows; row++) {
    double sum = 0, total = 0;
    for (guint i = 0; i < N; i++) {
      double x = g_rand_double(random);
      put(table, i, x);
      sum += weights[i] * x;
      total += weights[i];
    }
    gboolean positive = sum >= total / 2;
    if (g_rand_double(random) < .05) positive = !positive;
    put(table, N, positive);
    for (guint i = 0; i < DRIFTING; i++) {
      weights[i] += directions[i] * .001;
      if (g_rand_double(random) < .1) directions[i] = -directions[i];
    }
  }
}

/* --- Sine and mixed: J. Gama, P. Medas, G. Castillo, P. Rodrigues, SBIA 2004. 10,000 rows a concept, no noise, classes
 * balanced in random order (each row first draws its class, then a point of that class). ------------------------------
 */

static guint sine_class(guint function, const double *x)
{
  double curve = function < 2 ? sin(x[1]) : .5 + .3 * sin(3 * G_PI * x[1]);
  return function % 2 == 0 ? x[0] < curve : x[0] >= curve;
}

static void generate_sine(DriftTable *table, guint64 rows, GRand *random)
{
  add_numbers(table, (const gchar *const[]){"x1", "x2", SIMULATE_LABEL, NULL});
  for (guint64 row = 0; row < rows; row++) {
    guint function = (guint)(row / CONCEPT_ROWS % 4), wanted = g_rand_boolean(random) ? 1 : 0;
    double x[2];
    do {
      x[0] = g_rand_double(random);
      x[1] = g_rand_double(random);
    } while (sine_class(function, x) != wanted);
    put(table, 0, x[0]);
    put(table, 1, x[1]);
    put(table, 2, wanted);
  }
}

static guint mixed_class(guint function, const double *x)
{
  gboolean below = x[3] < .5 + .3 * sin(3 * G_PI * x[2]);
  gboolean most = (x[0] > 0) + (x[1] > 0) + below >= 2;
  return function == 0 ? !most : most;
}

static void generate_mixed(DriftTable *table, guint64 rows, GRand *random)
{
  add_numbers(table, (const gchar *const[]){"v", "w", "x", "y", SIMULATE_LABEL, NULL});
  for (guint64 row = 0; row < rows; row++) {
    guint function = (guint)(row / CONCEPT_ROWS % 2), wanted = g_rand_boolean(random) ? 1 : 0;
    double x[4];
    do {
      x[0] = g_rand_boolean(random) ? 1 : 0;
      x[1] = g_rand_boolean(random) ? 1 : 0;
      x[2] = g_rand_double(random);
      x[3] = g_rand_double(random);
    } while (mixed_class(function, x) != wanted);
    for (guint i = 0; i < 4; i++) put(table, i, x[i]);
    put(table, 4, wanted);
  }
}

static const SimulateStream sea = {"sea", "SEA: a threshold that changes in each quarter, 10 % label noise", 40000,
                                   generate_sea};
static const SimulateStream agrawal = {
    "agrawal",
    "Agrawal loan applications: the rule of approval and the salaries change at half; sensitive attribute sex", 20000,
    generate_agrawal};
static const SimulateStream hyperplane = {
    "hyperplane", "a slowly rotating hyperplane in ten dimensions, 5 % label noise", 40000, generate_hyperplane};
static const SimulateStream sine = {"sine", "functions 0, 1, 2, 3 of Gama et al. 2004, 10,000 rows each", 40000,
                                    generate_sine};
static const SimulateStream mixed = {"mixed", "functions 0, 1, 0, 1 of Gama et al. 2004, 10,000 rows each", 40000,
                                     generate_mixed};

const SimulateStream *const simulate_streams[] = {&sea, &agrawal, &hyperplane, &sine, &mixed, NULL};

const SimulateStream *simulate_stream_find(const gchar *name)
{
  for (guint i = 0; simulate_streams[i]; i++)
    if (g_strcmp0(simulate_streams[i]->name, name) == 0) return simulate_streams[i];
  return NULL;
}

DriftTable *simulate_stream_generate(const SimulateStream *stream, guint64 rows, guint32 seed, GError **error)
{
  if (rows == 0) rows = stream->default_rows;
  if (rows > MAXIMUM_ROWS) {
    g_set_error(error, DRIFT_ERROR, DRIFT_ERROR_LIMIT,
                "%" G_GUINT64_FORMAT " rows are more than the %" G_GUINT64_FORMAT " that can be simulated at once",
                rows, MAXIMUM_ROWS);
    return NULL;
  }
  DriftTable *table = drift_table_new();
  GRand *random = g_rand_new_with_seed(seed);
  stream->generate(table, rows, random);
  g_rand_free(random);
  table->n_rows = rows;
  return table;
}

guint64 *simulate_order(guint64 n, gboolean shuffle, guint32 seed)
{
  guint64 *order = g_new(guint64, MAX(n, 1));
  for (guint64 i = 0; i < n; i++) order[i] = i;
  if (!shuffle) return order;
  GRand *random = g_rand_new_with_seed(seed);
  for (guint64 i = n; i > 1; i--) { /* Fisher–Yates; tables have fewer than 2^31 rows */
    guint64 j = (guint64)g_rand_int_range(random, 0, (gint32)MIN(i, G_MAXINT32)), swap = order[i - 1];
    order[i - 1] = order[j];
    order[j] = swap;
  }
  g_rand_free(random);
  return order;
}
