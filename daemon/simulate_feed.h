/* A table as a model's traffic: scored by the champion of the moment, sent to the model's topics, its labels delayed.
 * Order is kept exactly, and every `pane` labels the feed waits until all that was sent is consumed, decided and
 * carried out (daemon/wait.h), so that training takes no stream time and the broker's memory is never outrun. */
#pragma once

#include "daemon/settings.h"
#include "drift/table.h"
#include "registry/artifact.h"
#include "registry/store.h"

G_BEGIN_DECLS

typedef struct {
  guint64 row;         /* of the table */
  gint64 version;      /* that predicted it */
  gint32 predicted;    /* class; -1 for regression */
  double value;        /* regression; NaN otherwise */
  double merit;        /* 1 right, 0 wrong, or the absolute error of a regression; NaN without a label */
  double static_merit; /* the same of the first version */
} SimulatePrediction;

typedef struct {
  guint64 sent, labels;
  double served; /* accuracy of what was served so far; mean absolute error for regression; NaN: none yet */
  gint64 champion;
  double fraction;
} SimulateProgress;
/* FALSE: stop. */
typedef gboolean (*SimulateProgressFunc)(const SimulateProgress *progress, gpointer user_data);

typedef struct {
  const Settings *settings;   /* broker */
  const SettingsModel *model; /* topics */
  RegistryStore *store;
  RegistryArtifacts *artifacts;
  const DriftTable *table;
  const guint64 *order;                 /* [n_rows]: the table's rows in the order of the stream */
  guint64 n_rows, warm_up, delay, pane; /* rows before warm_up are not sent */
  gint64 first_time, interval_us;       /* event time of the first row sent, and between rows */
  double rows_per_second;               /* 0: as fast as the daemon follows */
  gint64 timeout_us;                    /* of one wait */
  guint poll_ms;
} SimulateFeed;

typedef struct {
  GArray *predictions;          /* of SimulatePrediction, in the order sent */
  double served, static_served; /* accuracy (or mean absolute error) as served, and of the first version kept */
  guint64 n;                    /* rows with a label that both are measured on */
  gboolean regression;
  double wait_seconds, score_seconds, send_seconds;
} SimulateResult;
void simulate_result_clear(SimulateResult *result);

gboolean simulate_feed(const SimulateFeed *feed, SimulateProgressFunc progress, gpointer user_data,
                       SimulateResult *result, GError **error);

G_END_DECLS
