/* The training of a job by several processes: the job's own process (the starter) lays rows and options into a folder,
 * starts `kedge job train` as a gang (pipeline/gang.h), tells the job what they tell, and takes the model. The store
 * is the starter's alone. */
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/job_training.h"

G_BEGIN_DECLS

#define PIPELINE_JOB_PROCESSES 256 /* at most; `policy.processes` has the same bound */

/* Why these options are for one process, as "trees are boosted by one process"; new, NULL: they are not, and the
 * machine has what N processes need. Every reason is known before a process starts. */
gchar *pipeline_job_gang_obstacle(const PipelineTrainOptions *options);
/* As pipeline_train by so many processes on training->train into training->trained. A process that dies costs one; the
 * others go on from the checkpoint. */
gboolean pipeline_job_gang_train(PipelineTraining *training, const PipelineTrainOptions *options, guint processes,
                                 GError **error);

/* One of them: task is the path that the starter gave. The first one leaves the model beside it, one that fails why.
 * stop: ends it, with a checkpoint where the options name one. */
gboolean pipeline_job_gang_member(const gchar *task, PipelineCommunicator *communicator, PipelineTrainStopFunc stop,
                                  gpointer user_data, GError **error);

G_END_DECLS
