/* Ways to make a model smaller, one after the other: a student is pruned, and 8 bits come last. What `kedge compress`
 * and the job kind "compress" do. */
#pragma once

#include <jansson.h>

#include "pipeline/distil.h"
#include "pipeline/prune.h"
#include "pipeline/quantize.h"

G_BEGIN_DECLS

typedef struct {
  gboolean distils, prunes, quantizes; /* at least one */
  PipelineDistilOptions distil;
  PipelinePruneOptions prune;
  PipelineQuantizeOptions quantize;
} PipelineCompressPlan;
void pipeline_compress_plan_init(PipelineCompressPlan *plan); /* no way, the options of each as they are usual */

/* Around each step: `step` ("distill", "prune", "int8") begins, or has ended (done: well or not). */
typedef struct {
  void (*begins)(const gchar *step, gpointer user_data); /* or NULL */
  void (*ended)(const gchar *step, gboolean done, gpointer user_data);
  PipelineTrainProgressFunc progress; /* of what trains; or NULL */
  gpointer user_data;
} PipelineCompressWatch;

/* New bytes. steps: array that gets an object a step: {"step", …} with its options and figures. watch may be NULL.
 * Errors: those of the steps. */
GBytes *pipeline_compress_apply(const PipelineCompressPlan *plan, GBytes *onnx, const DriftSchema *schema,
                                const DriftTable *rows, json_t *steps, const PipelineCompressWatch *watch,
                                GError **error);

G_END_DECLS
