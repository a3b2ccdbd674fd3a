/* What the registry knows, as JSON: `kedge … --json` and /api/v1/… print the same values, and the tables for people
 * are made from them. All functions return a new value, or NULL with error. Times are ISO 8601 in UTC with
 * microseconds, or null; counts are integers; what is undefined is null.
 *
 * Fields of what the leader writes (daemon/verdict_json.c, daemon/leader_decide.c) are passed on under their names;
 * reports add what is missing in older entries as null and choose what fits one screen.
 */
#pragma once

#include <jansson.h>

#include "registry/store.h"

G_BEGIN_DECLS

/* [{"name", "task", "label", "classes", "features", "champion", "versions", "created_at"}] by name. */
json_t *report_models(RegistryStore *store, GError **error);
/* The same of one model and "schema": the whole, "tags". */
json_t *report_model(RegistryStore *store, const gchar *name, GError **error);
/* [{"model", "version", "kind", "parent", "champion", "aliases", "incident", "job", "onnx_digest", "grid_digest",
 *   "profile_digest", "data_set", "metrics", "created_at"}], newest first, at most limit (0: all). */
json_t *report_versions(RegistryStore *store, const gchar *model, guint limit, GError **error);
json_t *report_version(RegistryStore *store, const gchar *model, gint64 version, GError **error); /* and "tags" */
/* [{"alias", "version", "previous", "revision", "actor", "reason", "at"}], oldest first. */
json_t *report_history(RegistryStore *store, const gchar *model, const gchar *alias, GError **error);
/* [{"id", "model", "kind", "state", "opened_at", "updated_at", "closed_at", "verdict", "summary", "body"}], newest
 * first. */
json_t *report_incidents(RegistryStore *store, const gchar *model, gboolean open_only, guint limit, GError **error);
json_t *report_incident(RegistryStore *store, const gchar *id, GError **error);
/* Verdicts of one kind, oldest first: the newest `limit` (0: all). Each has "id", "number", "event_time", "drift" and
 *   kinds "window" (traffic panes), "horizon" (the last "windows" windows together): "quality", "n", "windows",
 * "evidence" (ln of 1 / smallest adjusted p-value), "evidence_bound" (where the alarm budget raises an alarm),
 * "features" (the five strongest); kind "performance" (label panes): "n", "performance" {"accuracy", "accuracy_low",
 * "accuracy_high", "auc", …}, "bias", "bias_verdicts" [{"metric", "attribute", "group", "reference_group", "n_group",
 * "n_reference", "rate_group", "rate_reference" (each with "_low", "_high"), "value", "low", "high", "undefined",
 * "breach"}], "bias_undefined" (why there are none, or null); kind "label" (one label pane): "evidence" (generalised
 * likelihood ratio of a rise of the error), "evidence_bound", "alarm", "opened", "closed", "error_before",
 * "error_after", "promote", "promote_why", "training", "audit" (null, or
 *     {"version", "first_row", "rows", "settings", "raised", "findings" [{"attribute", "rate", "group",
 *     "reference_group", "n_group", "n_reference", "mean_difference", "evidence_log", "p", "alarm"}]}).
 * INVALID for another kind. */
json_t *report_verdicts(RegistryStore *store, const gchar *model, const gchar *kind, guint limit, GError **error);
/* [{"id", "model", "kind", "state", "incident", "worker", "attempts", "progress", "result", "error", "created_at",
 *   "started_at", "finished_at", "predicted_seconds"}], newest first. */
json_t *report_jobs(RegistryStore *store, const gchar *model, const gchar *state, guint limit, GError **error);
json_t *report_job(RegistryStore *store, const gchar *id, GError **error); /* and "spec", "log": [lines] */
/* {"backend", "leader": {"owner", "term"} | null, "models": [report_models' fields, "shards": [{"partition", "owner",
 *   "epoch", "next_offset", "consumed", "watermark", "idle"}], "progress" (the leader's), "incidents_open",
 *   "jobs_open", "last_window", "last_performance"}], "incidents": open ones, "jobs": open ones} */
json_t *report_status(RegistryStore *store, GError **error);
/* Microseconds, as bodies of verdicts and incidents hold them → ISO 8601 (new). */
json_t *report_event_time(json_t *microseconds);

G_END_DECLS
