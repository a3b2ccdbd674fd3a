/* Tables in the order of the way of an event. Immutable rows carry a digest over their content (registry/digest.h), in
 * a column of their own or, for what is audited, in the audit chain. */
#include "registry/schema.h"

#include <stddef.h>

static const gchar *const VERSION_1[] = {
    /* shard state: one row a partition; panes, label panes, labelled log, join buffer */
    "CREATE TABLE shard (model @T@ NOT NULL, partition @I@ NOT NULL, epoch @I@ NOT NULL, owner @T@ NOT NULL,"
    " next_offset @I@ NOT NULL, watermark @I@ NOT NULL, idle @I@ NOT NULL, consumed @T@, state @B@, digest @T@,"
    " PRIMARY KEY (model, partition))@O@",
    "CREATE TABLE pane (model @T@ NOT NULL, partition @I@ NOT NULL, number @I@ NOT NULL, grid_id @T@ NOT NULL,"
    " first_offset @I@ NOT NULL, next_offset @I@ NOT NULL, first_time @I@ NOT NULL, last_time @I@ NOT NULL,"
    " watermark @I@ NOT NULL, events @I@ NOT NULL, coverage @T@, bytes @B@, digest @T@ NOT NULL,"
    " PRIMARY KEY (model, partition, number))@O@",
    "CREATE TABLE label_pane (model @T@ NOT NULL, partition @I@ NOT NULL, label_partition @I@ NOT NULL,"
    " number @I@ NOT NULL, first_row @I@ NOT NULL, next_row @I@ NOT NULL, first_offset @I@ NOT NULL,"
    " next_offset @I@ NOT NULL, watermark @I@ NOT NULL, first_traffic_offset @I@ NOT NULL,"
    " last_traffic_offset @I@ NOT NULL, events @I@ NOT NULL, coverage @T@, bytes @B@, digest @T@ NOT NULL,"
    " PRIMARY KEY (model, partition, label_partition, number))@O@",
    "CREATE TABLE labelled_rows (model @T@ NOT NULL, partition @I@ NOT NULL, label_partition @I@ NOT NULL,"
    " first_row @I@ NOT NULL, next_row @I@ NOT NULL, ends @B@ NOT NULL, bytes @B@ NOT NULL, digest @T@ NOT NULL,"
    " PRIMARY KEY (model, partition, label_partition, first_row))@O@",
    "CREATE TABLE labelled_segment (model @T@ NOT NULL, partition @I@ NOT NULL, label_partition @I@ NOT NULL,"
    " first_row @I@ NOT NULL, next_row @I@ NOT NULL, artifact @T@ NOT NULL, digest @T@ NOT NULL,"
    " PRIMARY KEY (model, partition, label_partition, first_row))@O@",
    "CREATE TABLE join_chunk (model @T@ NOT NULL, partition @I@ NOT NULL, number @I@ NOT NULL, bytes @B@ NOT NULL,"
    " digest @T@ NOT NULL, PRIMARY KEY (model, partition, number))@O@",

    /* decisions */
    "CREATE TABLE lease (name @T@ PRIMARY KEY NOT NULL, owner @T@ NOT NULL, term @I@ NOT NULL,"
    " counter @I@ NOT NULL)@O@",
    "CREATE TABLE leader_state (model @T@ PRIMARY KEY NOT NULL, state @B@ NOT NULL, progress @T@,"
    " digest @T@ NOT NULL)@O@",
    "CREATE TABLE verdict (id @T@ PRIMARY KEY NOT NULL, model @T@ NOT NULL, kind @T@ NOT NULL, number @I@ NOT NULL,"
    " event_time @I@ NOT NULL, drift @I@ NOT NULL, panes @T@, settings @T@, body @T@, digest @T@ NOT NULL,"
    " UNIQUE (model, kind, number))@O@",
    "CREATE INDEX verdict_time ON verdict (model, event_time)",
    "CREATE TABLE incident (id @T@ PRIMARY KEY NOT NULL, model @T@ NOT NULL, kind @T@ NOT NULL, state @T@ NOT NULL,"
    " opened_at @I@ NOT NULL, updated_at @I@ NOT NULL, closed_at @I@ NOT NULL, verdict @T@, summary @T@, body @T@,"
    " digest @T@ NOT NULL)@O@",
    "CREATE INDEX incident_time ON incident (model, opened_at)",
    "CREATE TABLE outbox (id @T@ PRIMARY KEY NOT NULL, kind @T@ NOT NULL, target @T@ NOT NULL, state @T@ NOT NULL,"
    " body @T@, payload @B@, attempts @I@ NOT NULL, not_before @I@ NOT NULL, created_at @I@ NOT NULL, error @T@)@O@",
    "CREATE INDEX outbox_due ON outbox (not_before, created_at) WHERE state = 'due'",

    /* jobs; the one row of job_queue numbers jobs and claims and is the lock under which they are given out */
    "CREATE TABLE job_queue (id @I@ PRIMARY KEY NOT NULL, sequence @I@ NOT NULL, token @I@ NOT NULL)@O@",
    "INSERT INTO job_queue (id, sequence, token) VALUES (1, 0, 0)",
    "CREATE TABLE job (id @T@ PRIMARY KEY NOT NULL, sequence @I@ NOT NULL, model @T@, kind @T@ NOT NULL,"
    " state @T@ NOT NULL, priority @I@ NOT NULL, deadline @I@ NOT NULL, spec @T@, result @T@, progress @T@, error @T@,"
    " incident @T@, worker @T@, token @I@ NOT NULL, heartbeat @I@ NOT NULL, attempts @I@ NOT NULL,"
    " maximum_attempts @I@ NOT NULL, created_at @I@ NOT NULL, started_at @I@ NOT NULL, finished_at @I@ NOT NULL,"
    " predicted_us @I@ NOT NULL, cancel_requested @I@ NOT NULL, digest @T@ NOT NULL, result_digest @T@)@O@",
    "CREATE INDEX job_open ON job (state, model) WHERE state IN ('queued', 'running')",
    "CREATE INDEX job_order ON job (sequence)",
    "CREATE UNIQUE INDEX job_running ON job (model, kind) WHERE state = 'running'",
    "CREATE TABLE job_log (job @T@ NOT NULL, number @I@ NOT NULL, line @T@ NOT NULL, PRIMARY KEY (job, number))@O@",

    /* registry */
    "CREATE TABLE model (name @T@ PRIMARY KEY NOT NULL, spec @T@, created_at @I@ NOT NULL)@O@",
    "CREATE TABLE version (model @T@ NOT NULL REFERENCES model (name), version @I@ NOT NULL, onnx_digest @T@ NOT NULL,"
    " grid_digest @T@, profile_digest @T@, parent @I@ NOT NULL, kind @T@ NOT NULL, incident @T@, job @T@,"
    " data_set @T@, metrics @T@, created_at @I@ NOT NULL, PRIMARY KEY (model, version))@O@",
    "CREATE UNIQUE INDEX version_job ON version (model, job) WHERE job IS NOT NULL",
    "CREATE TABLE alias (model @T@ NOT NULL, alias @T@ NOT NULL, version @I@ NOT NULL, PRIMARY KEY (model, alias),"
    " FOREIGN KEY (model, version) REFERENCES version (model, version))@O@",
    "CREATE TABLE alias_history (model @T@ NOT NULL REFERENCES model (name), alias @T@ NOT NULL,"
    " revision @I@ NOT NULL, version @I@ NOT NULL, previous @I@ NOT NULL, actor @T@ NOT NULL, reason @T@,"
    " at @I@ NOT NULL, PRIMARY KEY (model, alias, revision))@O@",
    "CREATE TABLE tag (model @T@ NOT NULL REFERENCES model (name), version @I@ NOT NULL, name @T@ NOT NULL,"
    " value @T@ NOT NULL, PRIMARY KEY (model, version, name))@O@",

    /* audit; the head is kept so that a truncated chain is found */
    "CREATE TABLE audit (sequence @I@ PRIMARY KEY NOT NULL, at @I@ NOT NULL, actor @T@ NOT NULL, action @T@ NOT NULL,"
    " subject @T@ NOT NULL, detail @T@, digest @T@, hash @T@ NOT NULL)@O@",
    "CREATE TABLE audit_head (id @I@ PRIMARY KEY NOT NULL, sequence @I@ NOT NULL, hash @T@ NOT NULL)@O@",
    "INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, '')", NULL};

const gchar *const *const registry_schema[] = {VERSION_1, NULL};
