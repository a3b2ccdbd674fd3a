/* The part of a fit that lives on a device: parameters, moments and gradients in one piece each, and the results of
 * steps that are under way. Used by graph_fit.c. */
#pragma once

#include "pipeline/graph_fit_internal.h"

G_BEGIN_DECLS

/* NULL without error: this fit runs its losses and optimiser here (the backend is `host` or has none; mixed rows,
 * hardening, a projection, several processes, rates of single parameters, a running mean of statistics). Binds the
 * parameters of fit->pass. */
gboolean pipeline_fit_device_new(PipelineGraphFit *fit, const PipelineGradientBackend *backend,
                                 PipelineFitDevice **made, GError **error);
void pipeline_fit_device_free(PipelineFitDevice *device, PipelineGraphPass *pass);
/* Queues a step for the n rows in fit->x, fit->targets and fit->weights. DIVERGED when a step before this one turns out
 * not to be finite. Steps that are queued the same way each time are recorded once and replayed. */
gboolean pipeline_fit_device_step(PipelineGraphFit *fit, guint n, GError **error);
/* The pass computes something else than steps: shapes of values change. NULL: nothing. */
void pipeline_fit_device_disturb(PipelineFitDevice *device);
/* Waits for all results. */
gboolean pipeline_fit_device_drain(PipelineGraphFit *fit, GError **error);
/* Everything between the device and fit->state. */
gboolean pipeline_fit_device_copy(PipelineGraphFit *fit, gboolean out, GError **error);

G_END_DECLS
