/* What mixture.c (learning), mixture_head.c (the ridges), mixture_graph.c (to and from one graph) and mixture_state.c
 * (to and from JSON) share. */
#pragma once

#include <jansson.h>

#include "onnx/graph.h"
#include "pipeline/mixture.h"
#include "pipeline/model.h"
#include "pipeline/network_hidden.h"

G_BEGIN_DECLS

/* --- ridges: mixture_head.c --------------------------------------------------------------------------------------- */

/* Sums of a ridge regression of targets ±1, one against the rest, that forgets: each row weighs `forgetting` times the
 * one after it. */
typedef struct {
  guint size, n_classes; /* hidden columns and 1; classes */
  double *gram, *right;  /* [size, size] (upper triangle), [size, n_classes] */
  double *coefficients;  /* [n_classes, size], the intercept last */
} PipelineMixtureHead;

PipelineMixtureHead *pipeline_mixture_head_new(guint size, guint n_classes);
void pipeline_mixture_head_free(PipelineMixtureHead *head);
void pipeline_mixture_head_reset(PipelineMixtureHead *head);
/* hidden [n, size - 1]; targets [n], NaN: the row is passed over. */
void pipeline_mixture_head_add(PipelineMixtureHead *head, const float *hidden, const float *targets, guint n,
                               double forgetting);
gboolean pipeline_mixture_head_solve(PipelineMixtureHead *head, double penalty, GError **error);
/* probabilities [n, n_classes]. */
void pipeline_mixture_head_predict(const PipelineMixtureHead *head, const float *hidden, guint n,
                                   double *probabilities);

/* --- experts ------------------------------------------------------------------------------------------------------ */

typedef enum {
  PIPELINE_EXPERT_BASE,
  PIPELINE_EXPERT_STEADY,
  PIPELINE_EXPERT_RESET,
  PIPELINE_EXPERT_TRAINED,
  PIPELINE_N_EXPERTS
} PipelineExpertKind;
extern const gchar *const pipeline_expert_kinds[PIPELINE_N_EXPERTS];

typedef struct {
  gchar *name; /* prefix of its values in the graph */
  PipelineExpertKind kind;
  double weight;
  gint64 change, rows;       /* trained: first row of its regime; rows seen when it was made */
  GBytes *onnx;              /* base and trained: inputs → "probabilities" alone */
  PipelineModel *model;      /* of it */
  PipelineMixtureHead *head; /* steady and reset */
} PipelineExpert;

PipelineExpert *pipeline_expert_new(PipelineExpertKind kind, const gchar *name);
void pipeline_expert_free(PipelineExpert *expert);

struct _PipelineMixture {
  DriftSchema *schema;
  PipelineMixtureOptions options;
  gchar *architecture; /* owns options.architecture */
  GPtrArray *experts;  /* of PipelineExpert*: base, steady, reset, then the trained ones, oldest first */
  gint64 rows;         /* number of the next labelled row */
  GByteArray *errors;  /* of the newest rows, up to rows: 0, 1, 2 (not known) */
  gint64 change;       /* first row of the regime; -1: no alarm yet */
  guint step;          /* next of options.steps; where there is no regime: all done */
  double tokens;
  guint made; /* trained versions ever */
  PipelineNetworkGraph *base_graph;
  PipelineHiddenReader *hidden;
};

PipelineExpert *pipeline_mixture_get_expert(const PipelineMixture *mixture, guint index);

/* --- mixture_graph.c ---------------------------------------------------------------------------------------------- */

/* The model cut down to inputs → "probabilities", which must be a float output in schema order. */
GBytes *pipeline_mixture_canonical(GBytes *onnx, GError **error);
/* Whether two canonical models can lie in one graph: the same inputs, no other versions of opsets. */
gboolean pipeline_mixture_fits(GBytes *base, GBytes *other);
/* All experts, weighted, in one graph. */
OnnxGraph *pipeline_mixture_merge(const PipelineMixture *mixture, GError **error);
/* The expert of that name out of a merged graph, as pipeline_mixture_canonical made it. */
GBytes *pipeline_mixture_split(const OnnxGraph *merged, const gchar *name, GError **error);

/* --- mixture_state.c ---------------------------------------------------------------------------------------------- */

gchar *pipeline_mixture_state_format(const PipelineMixture *mixture); /* new */
/* Everything but the experts' ONNX and what follows from it. */
gboolean pipeline_mixture_state_parse(PipelineMixture *mixture, const gchar *text, GError **error);

G_END_DECLS
