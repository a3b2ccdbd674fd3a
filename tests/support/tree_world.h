/* A small world for boosted trees, of tree_test.c and tree_front_test.c. */
#pragma once

#include "pipeline/trainer.h"

typedef enum { TREE_BINARY, TREE_CLASSES, TREE_VALUE } TreeTask;

/* Columns a, b (now and then missing), noise, empty (all missing), colour (now and then missing); y follows a, b and
 * colour, with noise. */
DriftTable *tree_table(guint n, guint64 seed, TreeTask task);
DriftSchema *tree_infer(const DriftTable *table);
PipelineTrainOptions tree_options(const gchar *architecture);
void tree_train(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                PipelineTrainResult *result);
void tree_refused(const DriftTable *table, const DriftSchema *schema, const PipelineTrainOptions *options,
                  const gchar *why);
/* [n_rows, outputs]; new. */
float *tree_predict(GBytes *onnx, const DriftTable *table, const DriftSchema *schema, guint *n_outputs);
double tree_accuracy(GBytes *onnx, const DriftTable *table, const DriftSchema *schema);
guint tree_count(GBytes *onnx, const DriftSchema *schema);
