/* Every output of a graph by name, for many rows: of the rows of a schema's table, or of arrays that go to the graph's
 * inputs as they are, whatever their names and dimensions (images). */
#pragma once

#include "onnx/graph.h"
#include "pipeline/model.h"
#include "pipeline/npz.h"

G_BEGIN_DECLS

typedef struct {
  gchar *name;
  OnnxType type; /* FLOAT, DOUBLE, INT64 (any integers and truth values), STRING */
  guint n_dims;
  guint64 dims[ONNX_MAX_DIMENSIONS]; /* dims[0]: the rows */
  GArray *elements;                  /* of float, double or gint64, row-major; NULL for texts */
  GPtrArray *texts;                  /* of gchar*, or NULL */
} PipelineModelArray;
/* Of PipelineModelArray*, in the graph's order. MODEL: an output has no row for each row of the inputs, or has other
 * dimensions from batch to batch; it is named. */
GPtrArray *pipeline_model_run_table(PipelineModel *model, const DriftTable *table, GError **error);
const PipelineModelArray *pipeline_model_array_find(const GPtrArray *arrays, const gchar *name); /* or NULL */

/* An array for an input of the graph. */
typedef struct {
  const gchar *name;
  const PipelineArray *array;
} PipelineNamedArray;
/* Each input takes the array of its name; a graph's only input an only array. A row of an array has the input's
 * dimensions, or is flat with as many elements. Batches of at most 256 rows and about 64 MiB. DATA, naming array, input
 * and shapes: none for an input, other dimensions, different numbers of rows, a number that the input's type cannot
 * hold. */
GPtrArray *pipeline_graph_run_arrays(GBytes *onnx, const PipelineNamedArray *inputs, guint n_inputs, GError **error);

G_END_DECLS
