/* A window verdict as a pure function of what is stored: shared by the leader and `kedge replay`. */
#pragma once

#include "daemon/leader_internal.h"

G_BEGIN_DECLS

/* The settings that the sum of the last 2^scale windows (0: the window itself) is judged by: levels are shares of the
 * alarm budget of `events` events or rows, those of one window that no window before it has judged. */
void window_settings_for(const SettingsModel *settings, double events, guint scale, DriftWindowSettings *out);
/* Sum of the panes named (LeaderPane: partition, number); NULL with error. */
DriftAccumulator *window_sum(RegistryStore *store, const gchar *model, DriftGrid *grid, const LeaderPane *panes,
                             guint n, GError **error);
/* All label rows of the label panes named, in order; NULL with error. */
GArray *window_label_rows(RegistryStore *store, const gchar *model, const LeaderRows *panes, guint n, GError **error);
/* The verdict's body as it is stored; n_windows: windows that the sum has, above 1 in the body too; performance TRUE:
 * without features. */
json_t *window_body(const DriftWindowVerdict *verdict, const DriftWindowSettings *settings, guint64 n,
                    gint64 first_time, guint n_windows, gboolean performance);
/* Clean windows in a row that close an incident. */
enum { WINDOW_CLEAR_AFTER = 3 };
/* What entered the verdict, for replay; new. */
gchar *window_inputs(const LeaderModel *model, const DriftWindowSettings *settings, guint n_windows);
/* Inside a decision transaction. panes: taken; inputs, body: borrowed; *id: new. */
gboolean window_put_verdict(LeaderModel *model, LeaderContext *context, const gchar *kind, gint64 number,
                            gint64 event_time, gboolean drift, json_t *panes, const gchar *inputs, json_t *body,
                            gchar **id, GError **error);
json_t *window_panes_to_json(const LeaderPane *panes, guint n);       /* [[partition, number], …] */
json_t *window_label_panes_to_json(const LeaderRows *panes, guint n); /* [[partition, label partition, number], …] */

G_END_DECLS
