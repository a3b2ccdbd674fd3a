/* A model that is watched: windows of several lengths side by side, each as the daemon judges them, with the sums of 2
 * … 32 windows. */
#pragma once

#include "drift/horizon.h"
#include "drift/window.h"
#include "tests/alarm_budget/laws.h"

G_BEGIN_DECLS

/* Months of 30 days of 50,000 events; one false alarm a month is allowed. */
#define ROWS_A_DAY 50000
#define ROWS_A_MONTH (30 * ROWS_A_DAY)
#define BUDGET 1.0

enum { N_LENGTHS = 3 };
extern const guint window_lengths[N_LENGTHS];
#define PANE 200

typedef struct {
  DriftAccumulator *profile;
  DriftBaseline *baseline; /* NULL: independent rows assumed */
  DriftAccumulator *pane;
  struct {
    gboolean watched;
    DriftAccumulator *window;
    DriftHorizon *horizon;
    guint64 rows, n_windows; /* of the open window; closed ones */
    guint64 alarms, alarms_of_sums;
    guint64 first_alarm; /* rows since the start (or `watch_restart`), 0: none yet */
    guint first_scale;   /* 0: by the window itself */
  } of[N_LENGTHS];
  guint64 rows;
  gboolean verbose; /* every alarm on stderr */
} Watch;

/* A reference of n rows from `traffic`. */
void watch_init(Watch *watch, Traffic *traffic, guint64 n_reference, gboolean with_baseline);
void watch_clear(Watch *watch);
/* The next PANE rows of traffic. */
void watch_pane(Watch *watch, Traffic *traffic, const Change *change);
/* Alarms before this do not count as the first. */
void watch_restart(Watch *watch);

G_END_DECLS
