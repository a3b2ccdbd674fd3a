/* Power: 20 features of which the first changes; how long until an alarm, at the budget of the null tables. */
#include "tests/alarm_budget/power.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/alarm_budget/watch.h"

#define COLUMNS 20
#define RUNS 20

typedef struct {
  const gchar *name;
  Law law;
  Change change;
  double ramp_days; /* 0: abrupt */
  double days;      /* simulated after the change begins */
} Shift;

static const Shift shifts[] = {{"mean by .25 deviations", LAW_NORMAL, {.shift = .25}, 0, 20},
                               {"mean by .5", LAW_NORMAL, {.shift = .5}, 0, 20},
                               {"mean by 1", LAW_NORMAL, {.shift = 1}, 0, 4},
                               {"mean by .5, AR(1) .5", LAW_AR1, {.shift = .5}, 0, 20},
                               {"mean by 1, AR(1) .5", LAW_AR1, {.shift = 1}, 0, 4},
                               {"mean by 1, seasonal", LAW_SEASONAL, {.shift = 1}, 0, 20},
                               {"20 categories: second one 14 % to 22 %", LAW_CATEGORY_20, {.share = .1}, 0, 20},
                               {"20 categories: second one 14 % to 31 %", LAW_CATEGORY_20, {.share = .2}, 0, 4},
                               {"mean from 0 to 1 in 60 days", LAW_NORMAL, {.shift = 1}, 60, 60}};

static const guint references[] = {500, 5000, 50000};

typedef struct {
  double delays[RUNS];
  guint found, by_sums;
} Finding;

static gboolean all_found(const Watch *watch)
{
  for (guint i = 0; i < N_LENGTHS; i++)
    if (watch->of[i].first_alarm == 0) return FALSE;
  return TRUE;
}

static void run(const Shift *shift, guint reference, guint64 seed, Finding findings[N_LENGTHS])
{
  Traffic traffic;
  Watch watch;
  traffic_init(&traffic, shift->law, COLUMNS, reference / 7, seed * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15));
  watch_init(&watch, &traffic, reference, TRUE);
  /* The change comes at an odd time, so that the first window has a part of it only. */
  guint64 before = PANE * (guint64)(20 + 230 * traffic_uniform(&traffic));
  for (guint64 row = 0; row < before; row += PANE) watch_pane(&watch, &traffic, NULL);
  watch_restart(&watch);
  guint64 rows = (guint64)(shift->days * ROWS_A_DAY);
  for (guint64 row = 0; row < rows && !all_found(&watch); row += PANE) {
    Change now = shift->change;
    if (shift->ramp_days > 0) now.shift *= fmin(1, (double)row / (shift->ramp_days * ROWS_A_DAY));
    for (guint i = 0; i < N_LENGTHS; i++) watch.of[i].watched = watch.of[i].first_alarm == 0;
    watch_pane(&watch, &traffic, &now);
  }
  for (guint i = 0; i < N_LENGTHS; i++) {
    if (watch.of[i].first_alarm == 0) continue;
    findings[i].delays[findings[i].found++] = (double)watch.of[i].first_alarm;
    findings[i].by_sums += watch.of[i].first_scale > 0;
  }
  watch_clear(&watch);
  traffic_clear(&traffic);
}

static int compare_doubles(const void *a, const void *b)
{
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

static void print_finding(Finding *finding, gboolean ramp)
{
  qsort(finding->delays, finding->found, sizeof(double), compare_doubles);
  if (finding->found == 0) {
    printf(" none |");
    return;
  }
  double median = finding->delays[finding->found / 2];
  if (ramp)
    printf(" %.1f days", median / ROWS_A_DAY);
  else
    printf(" %.0f rows", median);
  if (finding->found < RUNS) printf(", %u of %d", finding->found, RUNS);
  if (finding->by_sums > 0) printf(" (sums %u)", finding->by_sums);
  printf(" |");
}

int power_measure(guint64 seed, const gchar *const *laws)
{
  printf("| change | reference | windows of 200 | 2,000 | 50,000 |\n| --- | --- | --- | --- | --- |\n");
  for (guint s = 0; s < G_N_ELEMENTS(shifts); s++)
    for (guint r = 0; r < G_N_ELEMENTS(references); r++) {
      if (laws != NULL && !g_strv_contains(laws, law_names[shifts[s].law])) continue;
      Finding findings[N_LENGTHS] = {0};
      for (guint64 i = 0; i < RUNS; i++) run(&shifts[s], references[r], seed * 7919 + i * 31 + r, findings);
      printf("| %s | %u |", shifts[s].name, references[r]);
      for (guint i = 0; i < N_LENGTHS; i++) print_finding(&findings[i], shifts[s].ramp_days > 0);
      printf("\n");
      fflush(stdout);
    }
  return EXIT_SUCCESS;
}
