/* The audit of the champion's decisions over its label rows: begun when a version comes to serve, ended when another
 * does. It goes with the label verdict of each pane, and its first alarm opens an incident of kind bias. */
#include <math.h>

#include "daemon/leader_internal.h"
#include "drift/bias_audit.h"

/* The incident of windows is another one: it closes by windows without a breach, this one by the audit's end. */
static const gchar finding_name[] = "bias-audit";

/* --- the look at a pane, pure ------------------------------------------------------------------------------------- */

static json_t *finding_to_json(const DriftBiasAuditFinding *f)
{
  return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:b}", "attribute", f->attribute, "rate", f->rate,
                   "group", f->group, "reference_group", f->reference_group, "n_group", (json_int_t)f->evidence.n,
                   "n_reference", (json_int_t)f->evidence.n_reference, "mean_difference",
                   verdict_number(f->evidence.mean_difference), "evidence_log",
                   verdict_number(f->evidence.log_evidence), "p", verdict_number(f->p), "alarm", f->evidence.alarm);
}

/* Of each attribute and rate the group with the most evidence, and all that have alarmed. */
static json_t *findings_to_json(const DriftBiasAudit *audit)
{
  json_t *list = json_array();
  guint n = drift_bias_audit_n(audit);
  for (guint first = 0, next; first < n; first = next) {
    DriftBiasAuditFinding best, finding;
    drift_bias_audit_get(audit, first, &best);
    for (next = first + 1; next < n; next++) {
      drift_bias_audit_get(audit, next, &finding);
      if (finding.attribute != best.attribute || finding.rate != best.rate) break;
      if (finding.evidence.log_evidence > best.evidence.log_evidence) best = finding;
    }
    for (guint i = first; i < next; i++) {
      drift_bias_audit_get(audit, i, &finding);
      if (finding.evidence.alarm || finding.group == best.group) json_array_append_new(list, finding_to_json(&finding));
    }
  }
  return list;
}

static json_t *state_to_json(const DriftBiasAudit *audit)
{
  g_autoptr(GBytes) bytes = drift_bias_audit_to_bytes(audit);
  gsize length = 0;
  const guint8 *data = g_bytes_get_data(bytes, &length);
  g_autofree gchar *text = g_base64_encode(data, length);
  return json_string(text);
}

static DriftBiasAudit *state_from_json(const json_t *json, GError **error)
{
  gsize length = 0;
  const gchar *text = json_string_value(json_object_get(json, "state"));
  guint8 *data = g_base64_decode(text ? text : "", &length);
  g_autoptr(GBytes) bytes = g_bytes_new_take(data, length);
  return drift_bias_audit_from_bytes(bytes, error);
}

/* Rows of that version, and of no version where the events do not say. */
static gboolean is_of(const DriftLabelRow *row, gint64 version)
{
  return row->version == version || row->version == 0;
}

json_t *leader_audit_look(json_t *state, const DriftLabelRow *rows, guint n, GError **error)
{
  static const gchar *const kept[] = {"version", "first_row", "settings", "undefined"};
  json_t *look = json_object();
  for (guint i = 0; i < G_N_ELEMENTS(kept); i++)
    if (json_object_get(state, kept[i])) json_object_set(look, kept[i], json_object_get(state, kept[i]));
  if (json_object_get(state, "undefined")) return look;
  g_autoptr(DriftBiasAudit) audit = state_from_json(state, error);
  if (!audit) {
    json_decref(look);
    return NULL;
  }
  gint64 version = json_integer_value(json_object_get(state, "version")), taken = 0;
  gboolean raised = FALSE;
  for (guint i = 0; i < n; i++) {
    if (!is_of(&rows[i], version)) continue;
    taken++;
    raised |= drift_bias_audit_update(audit, &rows[i]);
  }
  taken += json_integer_value(json_object_get(state, "rows"));
  json_object_set_new(state, "state", state_to_json(audit));
  json_object_set_new(state, "rows", json_integer(taken));
  json_object_set_new(look, "rows", json_integer(taken));
  json_object_set_new(look, "raised", json_boolean(raised));
  json_object_set_new(look, "findings", findings_to_json(audit));
  return look;
}

/* --- begin and end ------------------------------------------------------------------------------------------------ */

/* What the operator has chosen, as the audit keeps it: another choice begins another audit. */
static json_t *settings_to_json(const SettingsModel *settings)
{
  json_t *rates = json_array();
  for (gchar **rate = settings->bias_audit.rates; *rate; rate++) json_array_append_new(rates, json_string(*rate));
  return json_pack("{s:f, s:f, s:o, s:i}", "alpha", settings->bias_audit.alpha, "margin", settings->bias_audit.margin,
                   "rates", rates, "minimum_group", (int)settings->alarm.minimum_group);
}

static void audit_settings(const SettingsModel *settings, DriftBiasAuditSettings *audit)
{
  *audit = (DriftBiasAuditSettings){.alpha = settings->bias_audit.alpha,
                                    .margin = settings->bias_audit.margin,
                                    .minimum_group = settings->alarm.minimum_group};
  for (gchar **rate = settings->bias_audit.rates; *rate; rate++) /* the loader knows no other names */
    audit->rates |= 1u << (guint)drift_bias_audit_rate_find(*rate);
}

static gboolean begin_audit(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, gint64 version,
                            json_t *pane, GError **error)
{
  const gchar *missing = NULL;
  if (!leader_model_load_profile(model, context, &missing, error)) return FALSE;
  DriftBiasAuditSettings audit_of;
  audit_settings(settings, &audit_of);
  g_autoptr(GError) reason = NULL;
  g_autoptr(DriftBiasAudit) audit = missing ? NULL : drift_bias_audit_new(model->profile, &audit_of, &reason);
  json_decref(model->audit);
  model->audit = json_pack("{s:I, s:O, s:o, s:i}", "version", (json_int_t)version, "first_row",
                           json_object_get(pane, "first_row"), "settings", settings_to_json(settings), "rows", 0);
  if (audit)
    json_object_set_new(model->audit, "state", state_to_json(audit));
  else
    json_object_set_new(model->audit, "undefined", json_string(reason ? reason->message : missing));
  return TRUE;
}

/* The incident of the audit that ends is closed, saying why. */
static gboolean end_audit(LeaderModel *model, LeaderContext *context, gint64 time, const gchar *why, GError **error)
{
  gint64 version = json_integer_value(json_object_get(model->audit, "version"));
  if (!json_is_object(model->audit)) return TRUE;
  json_decref(model->audit);
  model->audit = json_null();
  if (!leader_open_incident(model, finding_name)) return TRUE;
  LeaderFinding finding = {finding_name, "", "", FALSE, 1, 0, time, 0};
  return leader_note_incident(model, context, finding_name, time, NULL, error,
                              "the audit of version %" G_GINT64_FORMAT " ended: %s", version, why) &&
         leader_follow_incident(model, context, &finding, json_object(), error);
}

/* A version that comes to serve begins without evidence for or against it. */
static gboolean follow_version(LeaderModel *model, LeaderContext *context, const SettingsModel *settings, json_t *pane,
                               GError **error)
{
  gint64 champion = adapt_get_champion(model->adapt), time = json_integer_value(json_object_get(pane, "time"));
  gint64 audited = json_integer_value(json_object_get(model->audit, "version"));
  json_t *chosen = settings_to_json(settings);
  gboolean same = json_equal(chosen, json_object_get(model->audit, "settings"));
  json_decref(chosen);
  if (json_is_object(model->audit) && audited == champion && same) return TRUE;
  g_autofree gchar *why = audited != champion ? g_strdup_printf("version %" G_GINT64_FORMAT " serves now", champion)
                                              : g_strdup("bias_audit in the settings was changed");
  return end_audit(model, context, time, why, error) && begin_audit(model, context, settings, champion, pane, error);
}

/* --- the alarm ---------------------------------------------------------------------------------------------------- */

static gchar *describe(const json_t *finding, const json_t *look)
{
  const json_t *settings = json_object_get(look, "settings");
  return g_strdup_printf(
      "%s of %s: %s (n = %lld) less %s (n = %lld) is %+.3f on average, against a margin of %g; p = %.2g at any time, "
      "alpha %g",
      json_string_value(json_object_get(finding, "rate")), json_string_value(json_object_get(finding, "attribute")),
      json_string_value(json_object_get(finding, "group")), json_integer_value(json_object_get(finding, "n_group")),
      json_string_value(json_object_get(finding, "reference_group")),
      json_integer_value(json_object_get(finding, "n_reference")),
      json_number_value(json_object_get(finding, "mean_difference")),
      json_number_value(json_object_get(settings, "margin")), json_number_value(json_object_get(finding, "p")),
      json_number_value(json_object_get(settings, "alpha")));
}

/* The groups that have alarmed, with their figures; the first of them is the summary. */
static json_t *causes_of(const json_t *look, gchar **summary, double *evidence)
{
  json_t *causes = json_array(), *finding;
  size_t i;
  json_array_foreach (json_object_get(look, "findings"), i, finding) {
    if (!json_is_true(json_object_get(finding, "alarm"))) continue;
    g_autofree gchar *text = describe(finding, look);
    json_t *cause = json_copy(finding);
    json_object_set_new(cause, "text", json_string(text));
    json_array_append_new(causes, cause);
    *evidence = fmax(*evidence, json_number_value(json_object_get(finding, "evidence_log")));
    if (!*summary) *summary = g_steal_pointer(&text);
  }
  return causes;
}

static gboolean follow_alarm(LeaderModel *model, LeaderContext *context, const json_t *look, const json_t *pane,
                             GError **error)
{
  if (!json_is_true(json_object_get(look, "raised"))) return TRUE;
  gint64 number = json_integer_value(json_object_get(pane, "number"));
  g_autofree gchar *summary = NULL, *verdict = g_strdup_printf("%s/label/%" G_GINT64_FORMAT, model->name, number);
  double evidence = 0;
  json_t *causes = causes_of(look, &summary, &evidence);
  json_t *body = json_pack("{s:o, s:{s:O, s:O, s:O}, s:o}", "causes", causes, "change_point", "audited_version",
                           json_object_get(look, "version"), "audited_from_row", json_object_get(look, "first_row"),
                           "audited_rows", json_object_get(look, "rows"), "evidence_log", verdict_number(evidence));
  LeaderFinding finding = {
      finding_name, summary, verdict, TRUE, 1, number, json_integer_value(json_object_get(pane, "time")), 0};
  return leader_follow_incident(model, context, &finding, body, error);
}

static void show_audit(const LeaderModel *model, LeaderContext *context, const json_t *look)
{
  json_t *finding;
  size_t i;
  if (!context->metrics) return;
  json_array_foreach (json_object_get(look, "findings"), i, finding) {
    g_autofree gchar *labels =
        metrics_label("model", model->name, "attribute", json_string_value(json_object_get(finding, "attribute")),
                      "rate", json_string_value(json_object_get(finding, "rate")), "group",
                      json_string_value(json_object_get(finding, "group")), NULL);
    metrics_set(context->metrics, "kedge_bias_audit_p", labels, json_number_value(json_object_get(finding, "p")));
  }
}

gboolean leader_audit_pane(LeaderModel *model, LeaderContext *context, const SettingsModel *settings,
                           const DriftLabelRow *rows, guint n, json_t *pane, GError **error)
{
  if (!model->adapt) return TRUE;
  if (settings->bias_audit.alpha <= 0)
    return end_audit(model, context, json_integer_value(json_object_get(pane, "time")), "bias_audit was turned off",
                     error);
  if (!follow_version(model, context, settings, pane, error)) return FALSE;
  json_object_set_new(pane, "audit_before", json_copy(model->audit)); /* for replay */
  json_t *look = leader_audit_look(model->audit, rows, n, error);
  if (!look) return FALSE;
  json_object_set_new(pane, "audit", look);
  show_audit(model, context, look);
  return follow_alarm(model, context, look, pane, error);
}
