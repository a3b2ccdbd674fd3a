/* The arrays that operators compute on: row-major, of one element type, with memory that only grows. */
#pragma once

#include "onnx/graph.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

#define PIPELINE_TENSOR_MAX_BYTES (1024u << 20) /* of one tensor while a model runs */

/* An element of a string tensor. Borrowed: from the model, from the rows that are predicted, or from the executor. */
typedef struct {
  const gchar *text; /* UTF-8, not NUL-terminated */
  gsize length;
} PipelineText;

typedef struct {
  OnnxType type;
  guint n_dims;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  gsize n;         /* elements: the product of dims */
  gpointer data;   /* elements; of PipelineText for strings */
  gpointer memory; /* owned, `capacity` bytes; data points here unless borrowed */
  gsize capacity;
} PipelineTensor;

/* Bytes of an element in memory; 0 for types that no operator computes on. */
gsize pipeline_tensor_element_size(OnnxType type);
/* Sets type and dims; n follows. FALSE (UNSUPPORTED) for an unknown type, more dimensions than ONNX_MAX_DIMENSIONS, a
 * negative dimension, or more than PIPELINE_TENSOR_MAX_BYTES. */
gboolean pipeline_tensor_set_shape(PipelineTensor *tensor, OnnxType type, guint n_dims, const gint64 *dims,
                                   GError **error);
/* Memory for n elements; contents are undefined. */
gboolean pipeline_tensor_allocate(PipelineTensor *tensor, GError **error);
/* Shape and elements of an ONNX tensor; numbers are copied, texts borrow from `source`. */
gboolean pipeline_tensor_set_onnx(PipelineTensor *tensor, const OnnxTensor *source, GError **error);
void pipeline_tensor_clear(PipelineTensor *tensor);
/* Element `index`: any number as double (64-bit integers lose low bits); 0 for texts. */
double pipeline_element_get_double(const PipelineTensor *tensor, gsize index);
/* Element `index` of an integer or bool tensor; uint64 as the same bits. */
gint64 pipeline_element_get_integer(const PipelineTensor *tensor, gsize index);
/* Rounds to the element type; integers: towards zero, NaN is 0, what does not fit is the nearest that does; bool: ≠ 0.
 */
void pipeline_element_put_double(PipelineTensor *tensor, gsize index, double value);
/* Integer types drop high bits, as in C; float types round; bool: ≠ 0. */
void pipeline_element_put_integer(PipelineTensor *tensor, gsize index, gint64 value);
/* "float32[2,3]"; free with g_free. */
gchar *pipeline_tensor_describe(const PipelineTensor *tensor);

G_END_DECLS
