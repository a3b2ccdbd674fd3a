/* Looking at values inside a graph while a model predicts rows of a table. */
#pragma once

#include "drift/table.h"
#include "pipeline/model.h"
#include "pipeline/tensor.h"

G_BEGIN_DECLS

/* One value of the graph after a batch of rows; value: its index in names. FALSE ends it with the error set. */
typedef gboolean (*PipelineActivationFunc)(guint value, const PipelineTensor *tensor, gpointer data, GError **error);

/* Predicts at most max_rows rows, evenly spaced in the table, in small batches, and shows each of names
 * [NULL-terminated] after each batch. *n_rows: how many. DATA: no rows; MODEL: no such float value. */
gboolean pipeline_activations_observe(PipelineModel *model, const DriftTable *table, guint64 max_rows,
                                      const gchar *const *names, PipelineActivationFunc see, gpointer data,
                                      guint64 *n_rows, GError **error);

G_END_DECLS
