/* A whole training of check_gpu, and what comes of it. */
#pragma once

#include "tests/gpu/networks.h"

G_BEGIN_DECLS

typedef struct {
  const gchar *network, *optimiser, *loss;
  guint batch, epochs, rows;
  double rate, clip_norm, clip_value, l2, label_smoothing;
  PipelineAverage average;
  gboolean weighted; /* rows and classes */
  guint micro;       /* rows of a pass; 0: whole batches */
  PipelinePrecision precision;
  double loss_scale;  /* the first one; 0: the default */
  guint growth_steps; /* 0: the default */
  gsize squeeze;      /* bytes that the device's pool may hold after the fit is made; 0: no limit */
} Training;

typedef struct {
  float *parameters, *statistics;
  gsize n, n_statistics;
  guint64 replayed;
  GArray *losses;             /* of double, one an epoch: training, validation */
  PipelineGraphMemory memory; /* estimated; rows 0: none */
  PipelineGradientRoom room;  /* at the end */
  guint micro_batch;
  double loss_scale;
  guint64 skipped;
  GError *error;
} Outcome;

void outcome_clear(Outcome *outcome);
/* Step `stop` (0: none) is where the state moves to another fit. FALSE: see outcome->error. */
gboolean training_run(const Training *training, const PipelineGradientBackend *backend, guint stop, Outcome *outcome);
gchar *training_describe(const Training *training); /* new */
/* The largest difference of the losses, relative. */
double outcome_compare_losses(const Outcome *there, const Outcome *here);
/* The largest difference, relative to the largest of b. */
double outcome_compare(const float *a, const float *b, gsize n);
gboolean outcome_is_same(const Outcome *a, const Outcome *b); /* to the bit */

G_END_DECLS
