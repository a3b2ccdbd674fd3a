/* Reverse-mode differentiation of ONNX operators: one visible table (pipeline/gradient.c) of what can be trained
 * through, and one of who computes it. The reference kernels, plain C, are the specification; every row is held to
 * finite differences of its examples, every kernel of another backend to the reference.
 *
 * To add an operator: its backward function (and, where training differs from prediction, its forward) in a
 * pipeline/gradient_*.c, the prototype in gradient_internal.h, a row in gradient.c. To add a backend: its kernels and a
 * line in pipeline/gradient_backend.c; tensors are its buffers, which callers reach by its functions only.
 *
 * All differentiated tensors are float32. Source of the formulas: Griewank and Walther 2008, "Evaluating Derivatives";
 * the operators' definitions: https://onnx.ai/onnx/operators/
 */
#pragma once

#include "pipeline/communicator.h"
#include "pipeline/cuda_monitor.h"
#include "pipeline/operator.h"
#include "pipeline/trainer_random.h"

G_BEGIN_DECLS

typedef struct _PipelineGradient PipelineGradient;
typedef struct _PipelineGradientBackend PipelineGradientBackend;

#define PIPELINE_GRADIENT_MEMORIES 4

/* Of the operands of matrix products (Gemm, MatMul, LSTM, GRU); sums, weights and all else are float32. */
typedef enum { PIPELINE_PRECISION_FLOAT32, PIPELINE_PRECISION_BFLOAT16 } PipelinePrecision;

/* The rows of a batch that this process computes, of those that several processes compute together. n 0: there is none
 * for it; then one row stands in that counts nothing (the gradients of its heads are 0). */
typedef struct {
  guint64 first, n, all;
  PipelineCommunicator *communicator;
} PipelineGradientSlice;

/* One node on its way forward and backward. */
typedef struct {
  PipelineCall call; /* as prediction sees it */
  const PipelineGradient *gradient;
  PipelinePrecision precision;        /* of this node's products */
  gboolean training;                  /* else: as in prediction */
  gboolean frozen;                    /* training leaves it as it is (a BatchNormalization keeps its statistics) */
  PipelineRandom *random;             /* of Dropout; NULL: prediction */
  const PipelineGradientSlice *slice; /* of a training batch; NULL: all of its rows are here */
  /* Set by backward; [n_inputs], NULL: not wanted. Every element is written, never added to. */
  PipelineTensor **input_gradients;
  const PipelineTensor **output_gradients; /* [n_outputs]; NULL: zero */
  /* What a kernel keeps from forward to backward, and from one batch to the next; see pipeline_gradient_memory. */
  gpointer memories[PIPELINE_GRADIENT_MEMORIES];
  gsize capacities[PIPELINE_GRADIENT_MEMORIES];
  /* How elements lie in memory where not row by row: the backend's own descriptions; NULL: row by row. Only kernels
   * that say so see others, and set those of outputs and input gradients. */
  gconstpointer *input_layouts, *output_layouts, *input_gradient_layouts, *output_gradient_layouts;
  /* [n_inputs] of a backend with memory of its own: the input in the memory of this process where it lies there (what
   * is no float32, constants); else NULL. */
  const PipelineTensor **host_inputs;
  gboolean refreshed; /* what its forward copies in or draws is there already: see PipelineGraphDevice.refresh */
  gpointer device;    /* the backend's state, made by its open */
  gpointer cached;    /* the backend's own for this node: primitives */
  GDestroyNotify cached_free; /* or NULL */
} PipelineGradientCall;

typedef gboolean (*PipelineGradientFunc)(PipelineGradientCall *call, GError **error);

struct _PipelineGradient {
  const gchar *name; /* of the operator; "DOMAIN:NAME" outside of the default domain */
  guint32 inputs;    /* bit i: input i has a gradient; 0: none, what follows does not depend smoothly on the input */
  gboolean (*infer)(PipelineCall *call, GError **error); /* NULL: the operator's */
  PipelineGradientFunc forward;                          /* NULL: the operator's reference kernel */
  PipelineGradientFunc backward;                         /* after forward; NULL only when `inputs` is 0 */
  gconstpointer parameter;                               /* tells rows apart that share functions */
  double tolerance;                                      /* of |gradient − differences| over the largest element */
  const gchar *examples;                                 /* see pipeline/gradient_check.h */
};

#define PIPELINE_GRADIENT_ALL 0xffffffffu

extern const PipelineGradient pipeline_gradients[]; /* ends with name NULL */
/* domain "" is ai.onnx. NULL: no gradient is known. */
const PipelineGradient *pipeline_gradient_find(const gchar *domain, const gchar *name);

/* At least `bytes` bytes, the same ones until more is asked for; contents survive. Kernels number their memories. */
gpointer pipeline_gradient_memory(PipelineGradientCall *call, guint index, gsize bytes);
void pipeline_gradient_call_clear(PipelineGradientCall *call); /* what kernels have kept */

/* --- who computes: one table, gradient_backend.c ------------------------------------------------------------------ */

/* A kernel that replaces the reference. */
typedef struct {
  const gchar *name;                                      /* of the operator */
  gboolean (*supports)(const PipelineGradientCall *call); /* this node at these shapes; NULL: always */
  PipelineGradientFunc forward, backward;                 /* NULL: the reference's, which both must be then */
  double tolerance; /* of |value − reference| over the largest element, outputs and gradients */
  gboolean layouts; /* it takes and gives tensors in the backend's own layouts */
} PipelineGradientKernel;

/* Bytes of a device's memory: free of all programs; held by this one, of them in use, and of these the device's own,
 * whatever it computes; the most held since the last mark; limit of what is held, 0: none. */
typedef struct {
  gsize free, held, used, own, peak, limit;
} PipelineGradientRoom;

/* Buffers of a device: opaque to callers unless the backend is `host`. Sizes are bytes, of `add` float32 elements. */
typedef struct {
  gpointer (*allocate)(gpointer device, gsize bytes, GError **error);
  void (*release)(gpointer device, gpointer buffer);
  gboolean (*copy_in)(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error);
  gboolean (*copy_out)(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error);
  gboolean (*copy)(gpointer device, gpointer to, gconstpointer from, gsize bytes, GError **error); /* on the device */
  gboolean (*clear)(gpointer device, gpointer buffer, gsize bytes, GError **error);
  gboolean (*add)(gpointer device, gpointer to, gconstpointer from, gsize n, GError **error); /* to += from */
  /* NULL where memory is that of the process. mark: the peak is counted anew; trim: what is kept for later goes back.
   */
  void (*read)(gpointer device, PipelineGradientRoom *room);
  void (*mark)(gpointer device);
  void (*limit)(gpointer device, gsize bytes);
  void (*trim)(gpointer device);
  gsize (*round)(gpointer device, gsize bytes); /* what a piece of so many bytes takes */
} PipelineGradientMemory;
extern const PipelineGradientMemory pipeline_gradient_memory_host; /* memory of this process */

struct _PipelineGradientBackend {
  const gchar *name, *summary;
  guint rank; /* the default is the highest rank that opens and supports every operator of the graph */
  const PipelineBackend *products;        /* matrix products of the kernels that it takes from the reference */
  const PipelineBackend *narrow_products; /* the same in bfloat16; NULL: this backend has none */
  gboolean host; /* buffers are memory of this process: what it lacks, the reference kernels compute */
  /* Not `host`: float32 tensors lie in its memory, others in that of this process; what it lacks, the reference kernels
   * compute on copies. Else it must have a kernel for every node. */
  gboolean mirrors;
  const PipelineGradientKernel *kernels; /* ends with name NULL */
  gboolean (*is_installed)(void);        /* NULL: always. Not: it is passed over without a word */
  gpointer (*open)(GError **error);      /* NULL: nothing to open */
  void (*close)(gpointer device);
  const PipelineGradientMemory *memory;
  /* Own layouts (NULL: none): a tensor of that shape row by row; elements that a layout takes; whether two are one. */
  gboolean (*unpack)(gpointer device, gconstpointer layout, const PipelineTensor *shape, gconstpointer from,
                     gpointer to, GError **error);
  gsize (*layout_elements)(gconstpointer layout);
  gboolean (*same_layout)(gconstpointer a, gconstpointer b);
  const struct _PipelineGraphDevice *graph; /* losses and optimisers of its own (pipeline/graph_device.h), or NULL */
  gchar *(*describe)(void); /* name, version and instruction set, which the bits of its results depend on; new */
  PipelineCudaMonitor *(*monitor)(void); /* of the device that open opens; NULL, or returns NULL: there is none */
};

extern const PipelineGradientBackend *const pipeline_gradient_backends[]; /* NULL-terminated */
extern const PipelineGradientBackend pipeline_gradient_backend_reference, pipeline_gradient_backend_onednn,
    pipeline_gradient_backend_cuda;
/* By name; NULL name: the highest rank that opens here and supports every node of the graph (NULL graph: any), and then
 * *note (new; NULL: not asked for) says why one of a higher rank that is installed is not used, else it is NULL. NULL
 * with INVALID (unknown: the error lists the known ones) or UNSUPPORTED (why). */
const PipelineGradientBackend *pipeline_gradient_backend_choose(const gchar *name, const OnnxGraph *graph, gchar **note,
                                                                GError **error);
const PipelineGradientBackend *pipeline_gradient_backend_find(const gchar *name, const OnnxGraph *graph,
                                                              GError **error); /* the same without a note */
/* describe(), or the name of one that has none; new. */
gchar *pipeline_gradient_backend_describe(const PipelineGradientBackend *backend);
/* NULL: this backend leaves the operator to the reference. */
const PipelineGradientKernel *pipeline_gradient_kernel_find(const PipelineGradientBackend *backend, const gchar *name);

/* A kernel of the backend computes this node at these shapes of its inputs. */
gboolean pipeline_gradient_has_kernel(const PipelineGradientCall *call, const PipelineGradientBackend *backend);
/* The kernel that computes the node takes tensors in the backend's own layouts. */
gboolean pipeline_gradient_takes_layouts(const PipelineGradientCall *call, const PipelineGradientBackend *backend);
/* Shape inference, forward and backward of one node by the backend's kernel, or by the reference's. */
gboolean pipeline_gradient_infer(PipelineGradientCall *call, GError **error);
gboolean pipeline_gradient_forward(PipelineGradientCall *call, const PipelineGradientBackend *backend, GError **error);
gboolean pipeline_gradient_backward(PipelineGradientCall *call, const PipelineGradientBackend *backend, GError **error);

G_END_DECLS
