/* Adversarial training on a graph: every batch is moved against the model before it learns. One visible table of
 * methods (harden.c); the attack is pipeline/attack.h's climb, in prediction mode on the present weights.
 *
 * Sources: pgd: Madry et al. 2018 (https://arxiv.org/abs/1706.06083); free: Shafahi et al. 2019
 * (https://arxiv.org/abs/1904.12843); fast: Wong, Rice and Kolter 2020 (https://arxiv.org/abs/2001.03994); trades:
 * Zhang et al. 2019 (https://arxiv.org/abs/1901.08573), from a uniform start and with both halves in one batch.
 */
#pragma once

#include "pipeline/attack.h"
#include "pipeline/graph_pass.h"
#include "pipeline/graph_plan.h"

G_BEGIN_DECLS

typedef struct _PipelineGraphFit PipelineGraphFit; /* graph_fit.h */
typedef struct _PipelineHarden PipelineHarden;     /* of one fit: the attack's pass and buffers */

typedef struct {
  const gchar *name, *summary;
  gboolean needs_input_gradient; /* in the pass that learns */
  gboolean doubles;              /* batches hold rows and moved rows */
  gboolean replays;              /* a batch makes options.replays steps */
  gboolean one_class_loss;       /* works with one head of class losses only */
  gboolean norm_2;
  guint steps;        /* by default */
  double step_factor; /* step size by default: step_factor · epsilon / steps */
  /* Learns from the n rows in the fit's x; returns the loss before the (first) step, as pipeline_graph_fit_learn. */
  double (*learn)(PipelineHarden *harden, guint n, double *norm, GError **error);
} PipelineHardenMethod;
extern const PipelineHardenMethod pipeline_harden_methods[]; /* ends with name NULL */
/* INVALID lists the known ones. */
const PipelineHardenMethod *pipeline_harden_find(const gchar *name, GError **error);

/* The ball is that of pipeline/attack.h over the numbers of a row; arrays [row width] are borrowed. */
typedef struct {
  const PipelineHardenMethod *method; /* NULL: none */
  PipelineNorm norm;
  double epsilon;
  const double *scale, *low, *high; /* NULL: all 1, none, none */
  guint steps;                      /* of pgd and trades; 0: the method's */
  double step_size;                 /* 0: the method's */
  guint replays;                    /* of free; 0: 4 */
  double beta;                      /* of trades, weight of the divergence; 0: 6 */
} PipelineHardenOptions;

#define PIPELINE_HARDEN_WATCH_STEPS 10u /* of that PGD */

/* --- what a fit asks (graph_fit.c, graph_fit_epoch.c) ------------------------------------------------------------- */

/* INVALID names the option. mixed: rows are mixed up. */
gboolean pipeline_harden_check(const PipelineHardenOptions *options, gboolean mixed, guint n_heads, GError **error);
guint pipeline_harden_batch_factor(const PipelineHardenOptions *options); /* rows of a pass for each of a batch */
guint pipeline_harden_count_steps(const PipelineHardenOptions *options);  /* of the optimiser for one batch */
/* Values whose gradients the learning pass needs: the parameters, and the input where the method asks for it. New
 * NULL-terminated array of borrowed names; free with g_free. */
const gchar **pipeline_harden_list_wanted(const PipelineHardenOptions *options, const OnnxGraph *graph,
                                          const PipelineGraphPlan *plan);
PipelineHarden *pipeline_harden_new(PipelineGraphFit *fit, const PipelineGradientBackend *backend, GError **error);
void pipeline_harden_free(PipelineHarden *harden);
/* Rows of n that are attacked at the end of an epoch: as many as take about a seventh of its time, 64 to 512. */
guint64 pipeline_harden_count_watched(const PipelineGraphFit *fit, guint64 n);
/* Moves the n rows in the fit's x by PGD (PIPELINE_HARDEN_WATCH_STEPS steps) with random numbers of its own; `first`
 * tells chunks apart. The same rows and weights give the same points. */
gboolean pipeline_harden_attack(PipelineHarden *harden, guint64 first, guint n, GError **error);
/* At the end of an epoch, after robust_metric was measured: it fell below half of the best one so far (of at least .2).
 */
gboolean pipeline_harden_has_collapsed(PipelineGraphFit *fit);

G_END_DECLS
