/* What command_compress.c (the command and its report) and command_compress_steps.c (what it does) share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/compress.h"

G_BEGIN_DECLS

typedef struct {
  gchar *data, *label, *output, *ranges, *activations, *keep_float, *distill, *image, *scope, *by, *backend;
  gboolean int8, full_range, per_tensor, structured;
  gint calibration_rows, epochs, fine_tune_epochs, batch_size; /* epochs: -1: not given */
  gint64 seed;
  double test, percentile, prune, temperature, label_share, learning_rate; /* NaN: not given */
} CompressArguments;

/* Borrowed. */
typedef struct {
  const CommandCommon *common;
  const CompressArguments *arguments;
  const DriftSchema *schema;
  const DriftTable *rows; /* that may be looked at and learnt from */
  json_t *steps;          /* array: gets an object a step */
} CompressWork;

/* All that was asked for, one step after the other; new bytes. */
GBytes *command_compress_apply(CompressWork *work, GBytes *onnx, GError **error);

G_END_DECLS
