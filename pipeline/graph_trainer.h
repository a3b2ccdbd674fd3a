/* Training of any ONNX graph with one float input on rows of numbers, ending in ONNX bytes: the graph is built
 * (pipeline/graph_build.h) or given; its weights, and nothing else, change. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/graph_fit.h"
#include "pipeline/npy.h"
#include "pipeline/row_stream.h"
#include "pipeline/trainer.h"

G_BEGIN_DECLS

/* Rows of numbers with one target each: class index of the schema or value. */
typedef struct {
  DriftSchema *schema;  /* features in column order, label, classes */
  float *x;             /* [n_rows, n_features] */
  PipelineSpill *spill; /* whose data x is; NULL: x is an array of its own */
  float *targets;       /* [n_rows]; of several labels [n_rows, n_labels], each 0 or 1 */
  gchar **labels;       /* several labels (pipeline/multi_label.h); NULL: one */
  guint n_labels;       /* their number, or 0 */
  float *weights;       /* [n_rows], from 0, or NULL: all count alike */
  guint64 *numbers;     /* [n_rows]: where each was in what it was read from */
  guint64 n_rows, n_skipped;
  gsize n_features;
  guint channels, height, width; /* of a row as an image; 0: unknown */
} PipelineGraphRows;

/* The inputs of the schema, all numeric, in its order. Rows whose label is missing are skipped; a missing number is
 * DATA, naming row and column. */
PipelineGraphRows *pipeline_graph_rows_from_table(const DriftTable *table, const DriftSchema *schema, GError **error);
/* Takes weights [n of the table or array the rows came from], in its order, for the rows that were not skipped.
 * INVALID: one is negative or no number, or all are 0. */
gboolean pipeline_graph_rows_set_weights(PipelineGraphRows *rows, const double *weights, guint64 n, GError **error);
/* x [n, …] and labels [n]: integers in 0 … are classes when there are at most 1000 different ones, else values. Rows of
 * 2 dimensions are images of one channel, of 3 have channels first. Features are named "x[0]", "x[1]", …, the label
 * `label`. */
PipelineGraphRows *pipeline_graph_rows_from_arrays(const PipelineArray *x, const PipelineArray *labels,
                                                   const gchar *label, GError **error);
/* The same from streams, of which no more than a few rows and, of each row, label, weight and place are in memory at a
 * time; x lies in a file. sketch: pipeline_row_stream_sketch with the label filled. */
PipelineGraphRows *pipeline_graph_rows_from_stream(PipelineRowStream *stream, const DriftTable *sketch,
                                                   const DriftSchema *schema, GError **error);
PipelineGraphRows *pipeline_graph_rows_from_array_stream(PipelineRowStream *x, const PipelineArray *labels,
                                                         const gchar *label, GError **error);
/* Of each of the width columns of x over the given rows: standard deviation, least and largest value; each [width]. */
void pipeline_graph_rows_measure(const float *x, gsize width, const guint64 *rows, guint64 n_rows, double *sd,
                                 double *low, double *high);
/* The given rows as a table of the schema: features by name, the label by class name or value. */
DriftTable *pipeline_graph_rows_tabulate(const PipelineGraphRows *rows, const guint64 *which, guint64 n);
void pipeline_graph_rows_free(PipelineGraphRows *rows);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PipelineGraphRows, pipeline_graph_rows_free)

typedef struct {
  const gchar *architecture;  /* "cnn:32,64", "mlp:64"; ignored when from is set */
  GBytes *from;               /* ONNX to fine-tune; NULL: from scratch */
  gboolean new_head;          /* of `from`: its last layer is replaced by a fresh one for the classes of the rows */
  const gchar *const *freeze; /* patterns of names of weights or nodes that stay; NULL: none */
  const gchar *backend;       /* "cuda", "onednn", "reference"; NULL: best */
  const gchar *loss;          /* NULL: by the graph's last operator and the task */
  PipelineGraphLossOptions loss_options; /* but quantiles */
  double quantile;                       /* of the loss "quantile" on one output; NaN: the median */
  gboolean balanced;                     /* classes count by the inverse of their frequency */
  double dropout;                        /* of built graphs */
  const gboolean *standardised;          /* as in pipeline/graph_build.h; borrowed, or NULL */
  guint channels, height, width;         /* of a row as an image; 0: as the rows say */
  PipelineGraphFitOptions fit; /* fit.harden without its arrays: those follow from the training rows and harden_… */
  gboolean harden_absolute;    /* epsilon in units of the features; else in standard deviations of each */
  PipelineRangeKind harden_range;
  double harden_low, harden_high; /* of PIPELINE_RANGE_GIVEN */
  /* Shares of the rows, the last ones: test at the end, only measured; validation in front of it. */
  double validation_fraction, test_fraction;
  gboolean shuffle_split;
  /* Fine-tuning without forgetting: rows of the old world, of the same features and classes, mixed into every batch
   * (fit.rehearsal_share); the last validation_fraction of them tell what is forgotten. NULL: none. Borrowed. */
  const PipelineGraphRows *rehearsal;
  double layer_decay;      /* the learning rate falls by this factor a layer away from the head, in (0, 1]; 1 */
  const gchar *checkpoint; /* as in pipeline/trainer.h */
  double checkpoint_seconds;
  PipelineCalibrationOptions calibration; /* as in pipeline/trainer.h */
  /* Level of a prediction interval of a new regression (pipeline/interval.h), 0: none; `from` keeps its own. */
  double interval;
  PipelineTrainStopFunc stop; /* or NULL; asked after each batch */
} PipelineGraphTrainOptions;
void pipeline_graph_train_options_init(PipelineGraphTrainOptions *options);

/* As pipeline_train. result->warning: the checkpoint came from another environment, so that the result need not be the
 * same to the bit as that of an unbroken training. */
gboolean pipeline_graph_train(const PipelineGraphRows *rows, const PipelineGraphTrainOptions *options,
                              PipelineTrainProgressFunc progress, gpointer user_data, PipelineTrainResult *result,
                              GError **error);

G_END_DECLS
