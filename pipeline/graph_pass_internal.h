/* What graph_pass.c (plan, forward), graph_pass_backward.c and graph_pass_device.c share. */
#pragma once

#include "pipeline/graph_pass.h"

G_BEGIN_DECLS

/* A value of the graph. With a backend that has memory of its own `tensor` lies there when it is float32, and `host` is
 * its copy in the memory of this process, made when somebody asks; other types lie in this process only. */
typedef struct {
  PipelineTensor tensor, gradient;
  PipelineTensor host, host_gradient;
  gboolean mirrored;                        /* host has the present elements */
  gboolean handed;                          /* host is the caller's to fill: copied in by the next forward */
  gpointer buffers[2], spares[2];           /* of tensor and gradient on the device; spares: for changes of layout */
  gsize capacities[2], spare_capacities[2]; /* bytes */
  gconstpointer layouts[2];                 /* of tensor and gradient; NULL: row by row */
  gboolean constant;                        /* known when the pass is made */
  gboolean needs;                           /* a wanted value reaches it: it has a gradient */
  float *host_values, *host_gradients;      /* of the caller, when bound */
  float *device_gradients;                  /* of the caller, when bound there */
  gboolean written;                         /* its gradient, in this backward */
  guint first_step; /* of a wanted value: the step after which, backward, its gradient is complete; G_MAXUINT: none */
} PipelinePassValue;

typedef struct {
  PipelineGradientCall call;
  guint *inputs, *outputs;  /* values; G_MAXUINT: left out */
  PipelineTensor *second;   /* [n_inputs]: gradients that are added to others */
  gpointer *second_buffers; /* [n_inputs] */
  gsize *second_capacities;
  gconstpointer *layouts;  /* the call's four arrays, in one piece */
  guint index;             /* of the node, for messages */
  gboolean wanted;         /* a head needs it */
  gboolean on_host;        /* the backend lacks it: the reference computes on copies */
  PipelineTensor *copies;  /* [n_inputs + n_outputs]: gradients of inputs and outputs then; NULL: not yet */
  gboolean differentiated; /* gradients flow through it */
} PipelinePassStep;

struct _PipelineGraphPass {
  const OnnxGraph *graph;
  const PipelineGradientBackend *backend;
  PipelinePrecision precision;
  gpointer device;
  GHashTable *value_of; /* name -> index + 1; names are borrowed from the graph */
  GPtrArray *values;    /* of PipelinePassValue* */
  PipelinePassStep *steps;
  guint n_steps, n_wanted, n_heads, n_variables;
  guint *inputs, *wanted, *heads, *variables; /* values */
  PipelineTensor *host_heads;                 /* [n_heads]: copies, unless the backend is `host` */
  gboolean keep_heads;                        /* no copies of heads */
  const PipelineGradientSlice *slice;         /* of training batches, or NULL */
  PipelineGraphPassReadyFunc ready;           /* or NULL */
  gpointer ready_data;
  GStringChunk *texts;
};

/* New [nodes]: which node is computed in the place of each, between its values (graph_pass_order.c). */
guint *pipeline_pass_find_order(const OnnxGraph *graph, const gchar *const *heads);
/* With all steps made: who asks for the result of a node that is computed later finds it there. */
void pipeline_pass_name_moved(PipelineGraphPass *pass, const guint *order);
/* NULL: G_MAXUINT, left out. */
PipelinePassValue *pipeline_pass_get_value(const PipelineGraphPass *pass, guint index);
/* Of an index that is never left out. */
PipelinePassValue *pipeline_pass_get_known(const PipelineGraphPass *pass, guint index);
/* `tensor`, whose shape is set, gets device memory that only grows. */
gboolean pipeline_pass_provide(PipelineGraphPass *pass, PipelineTensor *tensor, gpointer *buffer, gsize *capacity,
                               GError **error);
/* Shape and memory of its gradient. */
gboolean pipeline_pass_provide_gradient(PipelineGraphPass *pass, PipelinePassValue *value, GError **error);
/* Row by row from now on. which: 0 the value, 1 its gradient. */
gboolean pipeline_pass_make_plain(PipelineGraphPass *pass, PipelinePassValue *value, guint which, GError **error);
/* The layouts of inputs as the kernel takes them; of outputs, in front of a backward, likewise. */
gboolean pipeline_pass_offer_layouts(PipelineGraphPass *pass, PipelinePassStep *step, gboolean backward,
                                     GError **error);
/* FALSE, with the node in front of the error. */
gboolean pipeline_pass_fail_step(const PipelinePassStep *step, GError **error);
/* A backend with memory of its own: parameters in before a forward, gradients out after a backward. */
gboolean pipeline_pass_copy_parameters(PipelineGraphPass *pass, gboolean in, GError **error);
/* Infers, provides and computes one step; *bytes counts what all of them hold. */
gboolean pipeline_pass_run_forward(PipelineGraphPass *pass, PipelinePassStep *step, guint64 *bytes, GError **error);
/* With all steps made: when the gradients of wanted values are complete. */
void pipeline_pass_find_first_steps(PipelineGraphPass *pass);
gboolean pipeline_pass_is_constant_step(const PipelineGraphPass *pass, const PipelinePassStep *step);

G_END_DECLS
