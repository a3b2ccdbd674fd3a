/* What command_predict.c and command_predict_write.c share. */
#pragma once

#include "daemon/command_data.h"
#include "pipeline/model_arrays.h"

G_BEGIN_DECLS

/* Of PipelineModelArray*: every one by name. */
gboolean command_predict_write_npz(const gchar *path, const GPtrArray *arrays, GError **error);
/* One of them. */
gboolean command_predict_write_npy(const gchar *path, const PipelineModelArray *array, GError **error);
/* Columns "NAME", or "NAME[0]", "NAME[1]", … of arrays with more than one number a row. */
gboolean command_predict_write_csv(const gchar *path, const GPtrArray *arrays, GError **error);

G_END_DECLS
