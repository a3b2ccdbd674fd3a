/* What the registry knows, as JSON: `kedge … --json` and /api/v1/… print the same values, and the tables for people
 * are made from them. All functions return a new value, or NULL with error. Times are ISO 8601 in UTC with
 * microseconds, or null; counts are integers; what is undefined is null.
 *
 * Fields read from what the leader writes (daemon/leader.h):
 *   verdict body of kind "window": the names of DriftWindowVerdict (drift/window.h): "evidence_log", "drift",
 * "quality", "bias", "features": [{"feature", "test", "p", "p_adjusted", "effect", "n_reference", "n_window", "drift",
 *     "quality"}], "bias_verdicts": [{"metric", "attribute", "group", "reference_group", "value", "low", "high",
 *     "n_group", "n_reference", "rate_group", "rate_reference", "breach", "undefined"}], "performance": {"n",
 *     "accuracy", "accuracy_low", "accuracy_high", …};
 *     "evidence_bound": the evidence from which the alarm budget lets the leader raise an alarm. Without it the bound
 * is ln(1 / false_discovery_rate) of the verdict's settings; incident body: "causes": [{"text"?, "feature"?, "test"?,
 * "effect"?, "p_adjusted"?, "n_reference"?, "n_window"?}], strongest first; "change_point"; "verdicts": [ids]; "jobs":
 * [ids].
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
/* [{"id", "number", "event_time", "drift", "quality", "bias", "evidence", "evidence_bound", "performance", "features"
 *   (the five strongest), "bias_verdicts"}], oldest first: the newest `limit` windows. */
json_t *report_windows(RegistryStore *store, const gchar *model, guint limit, GError **error);
/* [{"id", "model", "kind", "state", "incident", "worker", "attempts", "progress", "result", "error", "created_at",
 *   "started_at", "finished_at", "predicted_seconds"}], newest first. */
json_t *report_jobs(RegistryStore *store, const gchar *model, const gchar *state, guint limit, GError **error);
json_t *report_job(RegistryStore *store, const gchar *id, GError **error); /* and "spec", "log": [lines] */
/* {"backend", "leader": {"owner", "term"} | null, "models": [report_models' fields, "shards": [{"partition", "owner",
 *   "epoch", "next_offset", "consumed", "watermark", "idle"}], "progress" (the leader's), "incidents_open",
 *   "jobs_open", "last_window"}], "incidents": open ones, "jobs": open ones} */
json_t *report_status(RegistryStore *store, GError **error);

G_END_DECLS
