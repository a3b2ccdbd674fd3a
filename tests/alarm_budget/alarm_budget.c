/* False alarms of the default window verdict over simulated months, and what it finds.
 *   alarm_budget [--short] [--power] [--no-baseline] [--law NAME]... [--columns N] [--reference N] [--months N]
 * A cell is looked at after 4, 8, 16 and 24 months and goes on only while an interval reaches over the budget: most
 * cells say all they can in 4. (At a rate of the whole budget a window length is found within it at one of the looks in
 * 5 cases of 100.) Cells are independent and run on both cores. Exit status 1 when a cell's interval lies wholly above
 * the budget; with
 * --inside also when it is not wholly within it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "drift/distributions.h"
#include "tests/alarm_budget/power.h"
#include "tests/alarm_budget/watch.h"

static const guint column_counts[] = {1, 20, 200};
static const guint reference_sizes[] = {500, 5000, 50000};
static const double looks[] = {4, 8, 16, 24}; /* months after which a cell is looked at */

typedef struct {
  Law law;
  guint columns, reference;
  gboolean baseline;
  double months; /* to simulate; 0: as many as the looks ask for */
  double cost;
} Cell;

typedef struct {
  double months;
  guint64 alarms[N_LENGTHS], alarms_of_sums[N_LENGTHS], months_with_alarms[N_LENGTHS];
  double seconds;
  gboolean done;
} Outcome;

typedef struct {
  gint next; /* cell to be taken */
  Outcome outcomes[];
} Shared;

static struct {
  gboolean brief, power, no_baseline, inside, verbose;
  gchar **laws;
  gint columns, reference, workers;
  double months;
  gint64 seed;
} options = {.workers = 2, .seed = 1};

/* --- one cell -------------------------------------------------------------------------------------------------------
 */

/* Exact (Garwood's) 95 % interval of a Poisson rate. */
static void poisson_interval(guint64 count, double months, double *low, double *high)
{
  *low = count > 0 ? drift_chi_squared_quantile(.025, 2.0 * (double)count) / 2 / months : 0;
  *high = drift_chi_squared_quantile(.975, 2.0 * (double)count + 2) / 2 / months;
}

/* A month (or what is left of the time) with a reference of its own. */
static void run_month(const Cell *cell, guint64 seed, double months, Outcome *outcome)
{
  Traffic traffic;
  Watch watch;
  traffic_init(&traffic, cell->law, cell->columns, MAX(cell->reference / 7, 1), seed);
  traffic.row = (guint64)(traffic_uniform(&traffic) * (double)traffic.period);
  watch_init(&watch, &traffic, cell->reference, cell->baseline);
  watch.verbose = options.verbose;
  guint64 rows = (guint64)(months * ROWS_A_MONTH);
  for (guint64 row = 0; row < rows; row += PANE) watch_pane(&watch, &traffic, NULL);
  for (guint i = 0; i < N_LENGTHS; i++) {
    outcome->alarms[i] += watch.of[i].alarms;
    outcome->alarms_of_sums[i] += watch.of[i].alarms_of_sums;
    outcome->months_with_alarms[i] += watch.of[i].alarms + watch.of[i].alarms_of_sums > 0;
  }
  watch_clear(&watch);
  traffic_clear(&traffic);
}

static double cpu_seconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_until(const Cell *cell, double months, Outcome *outcome)
{
  while (outcome->months < months) {
    guint64 month = (guint64)outcome->months;
    double length = fmin(1, months - outcome->months);
    guint64 seed =
        (guint64)options.seed * 1000003 + month * 977 + cell->law * 131 + cell->columns * 17 + cell->reference;
    run_month(cell, seed * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15), length, outcome);
    outcome->months += length;
  }
}

static gboolean is_within(const Outcome *outcome)
{
  for (guint i = 0; i < N_LENGTHS; i++) {
    double low, high;
    poisson_interval(outcome->alarms[i] + outcome->alarms_of_sums[i], outcome->months, &low, &high);
    if (high > BUDGET) return FALSE;
  }
  return TRUE;
}

static void run_cell(const Cell *cell, Outcome *outcome)
{
  double start = cpu_seconds();
  if (cell->months > 0)
    run_until(cell, cell->months, outcome);
  else
    for (guint look = 0; look < G_N_ELEMENTS(looks) && (look == 0 || !is_within(outcome)); look++)
      run_until(cell, looks[look], outcome);
  outcome->seconds = cpu_seconds() - start;
  outcome->done = TRUE;
}

/* --- all cells ------------------------------------------------------------------------------------------------------
 */

static gboolean is_asked(Law law)
{
  if (options.laws == NULL) return TRUE;
  return g_strv_contains((const gchar *const *)options.laws, law_names[law]);
}

static double months_of(guint columns)
{
  if (options.months > 0) return options.months;
  if (options.brief) return columns == 1 ? 4 : 1;
  return 0;
}

static gint compare_cost(gconstpointer a, gconstpointer b)
{
  double left = ((const Cell *)a)->cost, right = ((const Cell *)b)->cost;
  return (left < right) - (left > right);
}

static void add_cell(GArray *cells, Law law, guint columns, guint reference, gboolean baseline)
{
  Cell cell = {
      .law = law, .columns = columns, .reference = reference, .baseline = baseline, .months = months_of(columns)};
  cell.cost = (cell.months > 0 ? cell.months : looks[0]) * columns * (1 + reference / 25000.0);
  g_array_append_val(cells, cell);
}

static GArray *list_cells(void)
{
  GArray *cells = g_array_new(FALSE, TRUE, sizeof(Cell));
  for (Law law = 0; law < N_LAWS; law++)
    for (guint c = 0; c < G_N_ELEMENTS(column_counts); c++)
      for (guint r = 0; r < G_N_ELEMENTS(reference_sizes); r++) {
        if (!is_asked(law)) continue;
        if (options.brief && (column_counts[c] > 20 || reference_sizes[r] > 5000)) continue;
        if (options.columns > 0 && column_counts[c] != (guint)options.columns) continue;
        if (options.reference > 0 && reference_sizes[r] != (guint)options.reference) continue;
        add_cell(cells, law, column_counts[c], reference_sizes[r], !options.no_baseline);
      }
  g_array_sort(cells, compare_cost);
  return cells;
}

static void work(const GArray *cells, Shared *shared)
{
  for (;;) {
    gint i = g_atomic_int_add(&shared->next, 1);
    if (i >= (gint)cells->len) return;
    const Cell *cell = &g_array_index(cells, Cell, i);
    run_cell(cell, &shared->outcomes[i]);
    const Outcome *o = &shared->outcomes[i];
    fprintf(stderr, "%3d/%u %-14s %3u columns, reference %5u: %.4g months, alarms %lu+%lu %lu+%lu %lu+%lu, %.0f s\n",
            i + 1, cells->len, law_names[cell->law], cell->columns, cell->reference, o->months, o->alarms[0],
            o->alarms_of_sums[0], o->alarms[1], o->alarms_of_sums[1], o->alarms[2], o->alarms_of_sums[2], o->seconds);
  }
}

static gboolean run_all(const GArray *cells, Shared *shared)
{
  gboolean good = TRUE;
  fflush(NULL);
  for (gint i = 0; i < options.workers; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      work(cells, shared);
      _exit(0);
    }
    good = good && pid > 0;
  }
  int status;
  while (wait(&status) > 0) good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  return good;
}

/* --- the table ------------------------------------------------------------------------------------------------------
 */

typedef struct {
  guint above, not_inside, n;
} Tally;

static void print_entry(const Outcome *outcome, guint i, Tally *tally)
{
  double low, high;
  guint64 count = outcome->alarms[i] + outcome->alarms_of_sums[i];
  poisson_interval(count, outcome->months, &low, &high);
  tally->n++;
  tally->above += low > BUDGET;
  tally->not_inside += high > BUDGET;
  printf(" %.2g (%.2g to %.2g) |", (double)count / outcome->months, low, high);
}

static void print_table(const GArray *cells, const Shared *shared, Tally *tally)
{
  printf("| law | features | reference | months | windows of 200 | 2,000 | 50,000 |\n| --- | --- | --- | --- | --- | "
         "--- | --- |\n");
  for (Law law = 0; law < N_LAWS; law++)
    for (guint c = 0; c < G_N_ELEMENTS(column_counts); c++)
      for (guint r = 0; r < G_N_ELEMENTS(reference_sizes); r++)
        for (guint i = 0; i < cells->len; i++) {
          const Cell *cell = &g_array_index(cells, Cell, i);
          if (cell->law != law || cell->columns != column_counts[c] || cell->reference != reference_sizes[r]) continue;
          printf("| %s | %u | %u | %.4g |", law_names[law], cell->columns, cell->reference, shared->outcomes[i].months);
          for (guint l = 0; l < N_LENGTHS; l++) print_entry(&shared->outcomes[i], l, tally);
          printf("\n");
        }
}

static int measure_budget(void)
{
  g_autoptr(GArray) cells = list_cells();
  gsize size = sizeof(Shared) + cells->len * sizeof(Outcome);
  Shared *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED || !run_all(cells, shared)) {
    fprintf(stderr, "alarm budget: a worker failed\n");
    return EXIT_FAILURE;
  }
  Tally tally = {0};
  print_table(cells, shared, &tally);
  printf("\n%u cells of law, features, reference and window; above the budget of %.3g a month: %u; interval not wholly "
         "within it: %u\n",
         tally.n, BUDGET, tally.above, tally.not_inside);
  guint failed = options.inside ? tally.not_inside : tally.above;
  printf("%u passed, %u failed\n", tally.n - failed, failed);
  return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
  const GOptionEntry entries[] = {
      {"short", 0, 0, G_OPTION_ARG_NONE, &options.brief, "few months, small cells", NULL},
      {"power", 0, 0, G_OPTION_ARG_NONE, &options.power, "what is found, and when", NULL},
      {"no-baseline", 0, 0, G_OPTION_ARG_NONE, &options.no_baseline, "take rows as independent", NULL},
      {"verbose", 0, 0, G_OPTION_ARG_NONE, &options.verbose, "every alarm on standard error", NULL},
      {"inside", 0, 0, G_OPTION_ARG_NONE, &options.inside, "fail unless every interval is within the budget", NULL},
      {"law", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.laws, "only this law", "NAME"},
      {"columns", 0, 0, G_OPTION_ARG_INT, &options.columns, "only so many features", "N"},
      {"reference", 0, 0, G_OPTION_ARG_INT, &options.reference, "only references of so many rows", "N"},
      {"months", 0, 0, G_OPTION_ARG_DOUBLE, &options.months, "months a cell", "N"},
      {"workers", 0, 0, G_OPTION_ARG_INT, &options.workers, "processes", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &options.seed, "of everything", "N"},
      {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL}};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error)) {
    fprintf(stderr, "alarm_budget: %s\n", error->message);
    return 2;
  }
  return options.power ? power_measure((guint64)options.seed, (const gchar *const *)options.laws) : measure_budget();
}
