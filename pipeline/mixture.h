/* Online adaptation: a weighted mixture of versions of a model and of last layers that are fitted anew with every
 * label, as ONE ONNX graph whose weights and last layers are initialisers. Learning labelled rows makes a new revision
 * of that graph, mostly without any training.
 *
 *     experts   the base (a dense classifier), "steady" and "reset" (ridge regressions on the base's last hidden layer;
 *               reset begins anew at each alarm), and versions trained for the regime since the last alarm
 *     answer    Σ w_i p_i, p of a ridge = (score + 1) / 2 within [.01, .99] (more than two classes: divided by the sum)
 *     labels    in blocks: errors of the mixture as it is; w_i ← w_i Π clip(p_i(y), .02, .98)^rate, then a fixed share
 *               of the weight is spread over all (Herbster and Warmuth, Machine Learning 32 (1998) 151); ridges learn
 *     alarm     the Bernoulli likelihood ratio of the errors (drift/change.h), rises only, unless with the new weights
 *               the rows since the change show no rise any more: then an older expert has taken over
 *     training  some steps after an alarm, while the regime's own experts hold half of the weight, and a budget of
 *               tokens allows it
 *
 * A pure state machine over rows: no clock, no chance but `seed`; the same rows give the same bytes, however they are
 * cut into calls at block boundaries, and also across a stop in between (to and from ONNX). Figures:
 * pipeline/README.md, "Fine-tuning and online adaptation". */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_MIXTURE_KEY "kedge.mixture" /* metadata that holds the state */
#define PIPELINE_MIXTURE_STEPS 4u

typedef struct {
  guint block;                 /* 10 labelled rows between updates */
  guint experts;               /* 12 at the most; the oldest trained version leaves */
  double rate, share;          /* .1; 1e-4 a row */
  double penalty, forgetting;  /* of the ridges: 1; .9995 a row */
  double alarm, takeover;      /* 25: likelihood ratio of an alarm; 12.5: below it an older expert has taken over */
  guint history, minimum_side; /* 2500 rows of errors; 5 */
  guint steps[PIPELINE_MIXTURE_STEPS]; /* 100, 300, 1000, 3200: labelled rows since the change at which it trains; 0:
                                          end */
  double tokens;                       /* 8 trainings at first … */
  guint token_rows;                    /* … and one more every 2000 rows; 0: none more */
  guint keep_rows;                     /* 4000: rows a training uses at the most, and that learning may look back */
  const gchar *architecture;           /* of trainings: "mlp:64,64"; NULL: never trains */
  double weight_decay; /* of trainings; .05: little, as the weights guard against what is only true for a while */
  guint64 seed;
} PipelineMixtureOptions;
void pipeline_mixture_options_init(PipelineMixtureOptions *options);

typedef struct _PipelineMixture PipelineMixture;

/* base: a dense classifier whose outputs are classes in schema order (what `kedge train` writes). Knows no row yet. */
PipelineMixture *pipeline_mixture_new(GBytes *base, const DriftSchema *schema, const PipelineMixtureOptions *options,
                                      GError **error);
/* A revision made by pipeline_mixture_to_onnx; its options come with it. MODEL when it is none. */
PipelineMixture *pipeline_mixture_from_onnx(GBytes *onnx, const DriftSchema *schema, GError **error);
void pipeline_mixture_free(PipelineMixture *mixture);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineMixture, pipeline_mixture_free)
gboolean pipeline_mixture_is_revision(GBytes *onnx); /* whether the model carries a mixture's state */

/* Fits the ridges to rows that the base was trained on, before the first labelled row. */
gboolean pipeline_mixture_warm(PipelineMixture *mixture, const DriftTable *table, GError **error);
/* Learning goes on at this row: the first one of a new mixture, or behind rows that cannot be had any more; the errors
 * before it are forgotten and a regime has no more trainings. */
void pipeline_mixture_begin_at(PipelineMixture *mixture, gint64 row);

gint64 pipeline_mixture_get_rows(const PipelineMixture *mixture); /* number of the next row to learn */
/* First row that learning from now on may look back to: the caller's table should begin there or earlier. */
gint64 pipeline_mixture_get_first_row(const PipelineMixture *mixture);
/* Rows before this one cannot be had any more: their errors are forgotten. Not beyond get_rows. */
void pipeline_mixture_forget_before(PipelineMixture *mixture, gint64 row);
/* Mean of the newest n known errors (at most); NaN: none. *n_known gets their number. */
double pipeline_mixture_get_error(const PipelineMixture *mixture, guint n, guint *n_known);
/* Expert `index` in the graph's order, its weight in *weight; NULL behind the last one. Borrowed. */
const gchar *pipeline_mixture_get_weight(const PipelineMixture *mixture, guint index, double *weight);

typedef struct {
  guint n_rows, n_unusable; /* learned; without a label of a known class */
  GByteArray *errors;       /* of each row before it was learned: 0 right, 1 wrong, 2 no usable label; new */
  guint alarms, takeovers, trainings;
  gint64 change_row; /* of the last alarm; -1: none */
  double statistic;  /* the largest likelihood ratio seen */
} PipelineMixtureStep;
void pipeline_mixture_step_clear(PipelineMixtureStep *step);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PipelineMixtureStep, pipeline_mixture_step_clear)

/* Learns the rows up to `next`, in whole blocks: what is left over of the last block waits for the next call. Row i of
 * the table is labelled row first + i; it must begin where the kept errors begin, and trainings use what it has. */
gboolean pipeline_mixture_learn(PipelineMixture *mixture, const DriftTable *table, gint64 first, gint64 next,
                                PipelineMixtureStep *step, GError **error);
/* Probabilities [table->n_rows, classes] in schema order. */
gboolean pipeline_mixture_predict(PipelineMixture *mixture, const DriftTable *table, double *probabilities,
                                  GError **error);

/* The graph with the state as metadata. */
GBytes *pipeline_mixture_to_onnx(PipelineMixture *mixture, GError **error);

/* One line an expert, for people and logs: name, weight, rows. */
gchar *pipeline_mixture_describe(const PipelineMixture *mixture);

G_END_DECLS
