/* What command_compress.c (the command and its report) and command_compress_steps.c (what it does) share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/compress.h"

G_BEGIN_DECLS

typedef struct {
  gchar *data, *label, *output, *ranges, *activations, *keep_float;
  gboolean int8, per_tensor;
  gint calibration_rows;
  double test, percentile;
} CompressArguments;

/* Borrowed. */
typedef struct {
  const CompressArguments *arguments;
  const DriftSchema *schema;
  const DriftTable *rows; /* that may be looked at and learnt from */
  json_t *steps;          /* array: gets an object a step */
} CompressWork;

/* All that was asked for, one step after the other; new bytes. */
GBytes *command_compress_apply(CompressWork *work, GBytes *onnx, GError **error);

G_END_DECLS
