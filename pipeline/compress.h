/* A model and its compressed form beside each other, on the same rows: what kedge compress reports. */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  gsize bytes;                  /* of the ONNX file */
  guint64 n_weights, n_nonzero; /* elements of constant tensors of numbers with two or more dimensions */
  double accuracy, rmse;        /* on the rows with a label; NaN: undefined, or there are none */
  double latency_p50_us;        /* of one row at a time here, median of PIPELINE_EVALUATION_LATENCY_ROWS; NaN: no row */
} PipelineCompressSide;

typedef struct {
  PipelineCompressSide before, after;
  guint64 n_rows, n_labelled;
  double agreement;  /* share of rows with the same decision; NaN: a regression */
  double difference; /* classes: mean total variation distance of the probabilities, in [0, 1]; regression: root mean
                        squared difference over the standard deviation of the first model's values (NaN: that is 0) */
} PipelineCompressComparison;

/* The table needs no label column. DATA: no rows; MODEL: one of the two does not take them. */
gboolean pipeline_compress_compare(GBytes *before, GBytes *after, const DriftSchema *schema, const DriftTable *table,
                                   PipelineCompressComparison *comparison, GError **error);
/* Weights of the model, for n_weights and n_nonzero. */
gboolean pipeline_compress_count(GBytes *onnx, guint64 *n_weights, guint64 *n_nonzero, GError **error);

G_END_DECLS
