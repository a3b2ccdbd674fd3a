/* The panes of the windows judged last, for the sums of 2 … 32 windows (drift/horizon.h). Durable: part of the leader's
 * state, so that another leader closes the same sums. */
#include "daemon/leader_window.h"
#include "drift/horizon.h"

/* Windows that the longest sum has. */
#define LONGEST (1 << DRIFT_HORIZON_SCALES)

static LeaderPast *find_past(LeaderModel *model, const LeaderPane *pane)
{
  for (guint i = 0; i < model->past->len; i++) {
    LeaderPast *past = &g_array_index(model->past, LeaderPast, i);
    if (past->pane.partition == pane->partition && past->pane.number == pane->number) return past;
  }
  return NULL;
}

void leader_horizon_note(LeaderModel *model)
{
  /* Windows that another version served are no part of a sum: its outputs have a law of their own. */
  if (model->past_version != model->profile_version) leader_horizon_reset(model);
  model->past_version = model->profile_version;
  gint64 number = model->past_windows++;
  while (model->past->len > 0 && g_array_index(model->past, LeaderPast, 0).last_window <= number - LONGEST)
    g_array_remove_index(model->past, 0);
  for (guint i = 0; i < model->window->len; i++) {
    LeaderPast past = {.pane = g_array_index(model->window, LeaderPane, i), .last_window = number};
    LeaderPast *known = find_past(model, &past.pane); /* by the window before it, when windows slide */
    if (known)
      known->last_window = number;
    else
      g_array_append_val(model->past, past);
  }
}

void leader_horizon_reset(LeaderModel *model)
{
  g_array_set_size(model->past, 0);
  model->past_windows = 0;
}

guint leader_horizon_closing(const LeaderModel *model)
{
  return model->past_windows > 0 ? drift_horizon_closing((guint64)model->past_windows - 1) : 0;
}

GArray *leader_horizon_panes(const LeaderModel *model, guint scale)
{
  GArray *panes = g_array_new(FALSE, TRUE, sizeof(LeaderPane));
  for (guint i = 0; i < model->past->len; i++) {
    const LeaderPast *past = &g_array_index(model->past, LeaderPast, i);
    if (past->last_window >= model->past_windows - ((gint64)1 << scale)) g_array_append_val(panes, past->pane);
  }
  return panes;
}

json_t *leader_horizon_to_json(const LeaderModel *model)
{
  json_t *panes = json_array();
  for (guint i = 0; i < model->past->len; i++) {
    const LeaderPast *p = &g_array_index(model->past, LeaderPast, i);
    json_array_append_new(panes, json_pack("[i, I, I, I, I, I]", p->pane.partition, (json_int_t)p->pane.number,
                                           (json_int_t)p->pane.count, (json_int_t)p->pane.first_time,
                                           (json_int_t)p->pane.last_time, (json_int_t)p->last_window));
  }
  return json_pack("{s:I, s:I, s:o}", "version", (json_int_t)model->past_version, "windows",
                   (json_int_t)model->past_windows, "panes", panes);
}

gboolean leader_horizon_from_json(LeaderModel *model, const json_t *json)
{
  json_t *item;
  size_t i;
  model->past_version = json_integer_value(json_object_get(json, "version"));
  model->past_windows = json_integer_value(json_object_get(json, "windows"));
  json_array_foreach (json_object_get(json, "panes"), i, item) {
    LeaderPast p = {.last_window = 0};
    json_int_t v[5];
    if (json_unpack(item, "[i, I, I, I, I, I]", &p.pane.partition, &v[0], &v[1], &v[2], &v[3], &v[4]) != 0)
      return FALSE;
    p.pane.number = v[0];
    p.pane.count = (guint64)v[1];
    p.pane.first_time = v[2];
    p.pane.last_time = v[3];
    p.last_window = v[4];
    g_array_append_val(model->past, p);
  }
  return TRUE;
}
