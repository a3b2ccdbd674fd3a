/* The thread that keeps a claim alive on a store connection of its own, and carries the progress with it. */
#pragma once

#include "pipeline/job_kinds.h"

G_BEGIN_DECLS

/* interval_ms: beats when nothing changes; changed progress goes out after at most 250 ms. The connection is opened by
 * the thread at the first beat that is due, so short jobs never pay for it. */
PipelineHeartbeat *pipeline_heartbeat_new(const gchar *store_uri, guint interval_ms);
/* Stops the thread and joins it. */
void pipeline_heartbeat_free(PipelineHeartbeat *heartbeat);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineHeartbeat, pipeline_heartbeat_free)

/* Begins with a claim; `cancel` is cancelled when cancellation was asked for or the claim was lost. */
void pipeline_heartbeat_begin(PipelineHeartbeat *heartbeat, const gchar *id, gint64 token, GCancellable *cancel);
/* Ends it: no beat for the claim is under way or will come. */
void pipeline_heartbeat_end(PipelineHeartbeat *heartbeat);
/* Takes the JSON text. NULL heartbeat: freed. */
void pipeline_heartbeat_take_progress(PipelineHeartbeat *heartbeat, gchar *json);
/* TRUE when a beat found the claim lost (then the outcome belongs to somebody else). */
gboolean pipeline_heartbeat_is_fenced(PipelineHeartbeat *heartbeat);

G_END_DECLS
