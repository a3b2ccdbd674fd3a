/* Jobs whose claimant is gone: a heartbeat counter that stands still, watched with our own monotonic clock. */
#pragma once

#include "registry/job.h"

G_BEGIN_DECLS

typedef struct _PipelineRescue PipelineRescue;
PipelineRescue *pipeline_rescue_new(guint lost_ms);
void pipeline_rescue_free(PipelineRescue *rescue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineRescue, pipeline_rescue_free)

/* Looks at every running job; those whose counter has not moved for lost_ms (by `now`, monotonic microseconds) go back
 * to the queue. `own` (may be NULL): the id of a job that the caller runs itself and knows to be alive. */
gboolean pipeline_rescue_look(PipelineRescue *rescue, RegistryStore *store, const gchar *own, gint64 now,
                              guint *n_rescued, GError **error);
/* At start-up: jobs claimed under the caller's own name that it cannot be running go back at once. */
gboolean pipeline_rescue_orphans(RegistryStore *store, const gchar *worker, guint *n_rescued, GError **error);

G_END_DECLS
