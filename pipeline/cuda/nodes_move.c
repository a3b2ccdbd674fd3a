/* Operators that move elements. */
#include <string.h>

#include "pipeline/cuda/nodes.h"

/* --- the same elements in another shape ------------------------------------------------------------------------------
 */

gboolean pipeline_cuda_copy_node_forward(PipelineGradientCall *call, GError **error)
{
  return pipeline_cuda_copy(call, call->call.outputs[0]->data, call->call.inputs[0]->data, call->call.inputs[0]->n,
                            error);
}

gboolean pipeline_cuda_copy_node_backward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dx = call->input_gradients[0];
  return dx == NULL || pipeline_cuda_copy(call, dx->data, call->output_gradients[0]->data, dx->n, error);
}

gboolean pipeline_cuda_expand_node_forward(PipelineGradientCall *call, GError **error)
{
  return pipeline_cuda_spread(call, call->call.inputs[0], 1, call->call.outputs[0], error);
}

gboolean pipeline_cuda_expand_node_backward(PipelineGradientCall *call, GError **error)
{
  const PipelineTensor *dx = call->input_gradients[0];
  return dx == NULL || pipeline_cuda_sum_to(call, call->output_gradients[0], 1, dx, error);
}

/* --- Transpose
 * -------------------------------------------------------------------------------------------------------- */

/* Over the output: operand 0 is the input, operand 1 the output. */
static gboolean read_transpose(const PipelineGradientCall *call, PipelineCudaWalk *walk, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0], *y = call->call.outputs[0];
  gint64 perm[ONNX_MAX_DIMENSIONS];
  gsize strides[ONNX_MAX_DIMENSIONS];
  guint n;
  gboolean given;
  if (!pipeline_list_read(&call->call, "perm", G_MAXUINT, perm, &n, &given, error)) return FALSE;
  pipeline_strides(x, strides);
  *walk = (PipelineCudaWalk){.n = y->n, .n_dims = MAX(y->n_dims, 1), .dims = {1}};
  for (guint d = 0; d < y->n_dims; d++) {
    walk->dims[d] = (guint32)y->dims[d];
    walk->strides[0][d] = (gint64)strides[given ? (guint)perm[d] : y->n_dims - 1 - d]; /* infer has checked perm */
  }
  pipeline_cuda_walk_dense(walk, 1);
  return TRUE;
}

gboolean pipeline_cuda_transpose_node_forward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaWalk walk;
  return read_transpose(call, &walk, error) &&
         PIPELINE_CUDA_RUN(call, move, &walk, 1, call->call.inputs[0]->data, call->call.outputs[0]->data);
}

gboolean pipeline_cuda_transpose_node_backward(PipelineGradientCall *call, GError **error)
{
  PipelineCudaWalk walk, back;
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  if (!read_transpose(call, &walk, error)) return FALSE;
  back = walk;
  memcpy(back.strides[0], walk.strides[1], sizeof back.strides[0]);
  memcpy(back.strides[1], walk.strides[0], sizeof back.strides[1]);
  return PIPELINE_CUDA_RUN(call, move, &back, 1, pipeline_gradient_of_output(call, 0), dx);
}

/* --- Slice, Pad: by the places that elements come from
 * ---------------------------------------------------------------- */

/* Buffers of a node, its host memories, and what lies there. */
enum { ORIGINS, STARTS, LIST };

/* For each of n places which i have it, in order: starts [n + 1], list [m]. place[i] < 0: none. */
static void invert(const gint32 *place, gsize m, gsize n, gint32 *starts, gint32 *list)
{
  memset(starts, 0, (n + 1) * sizeof(gint32));
  for (gsize i = 0; i < m; i++)
    if (place[i] >= 0) starts[place[i] + 1]++;
  for (gsize k = 0; k < n; k++) starts[k + 1] += starts[k];
  g_autofree gint32 *next = g_memdup2(starts, (n + 1) * sizeof(gint32));
  for (gsize i = 0; i < m; i++)
    if (place[i] >= 0) list[next[place[i]]++] = (gint32)i;
}

/* On the device: origins (1 + place, 0: none), and the way back. */
typedef struct {
  const gint32 *origins, *starts, *list;
} Places;

static gboolean upload_places(PipelineGradientCall *call, const gint64 *found, gsize m, gsize n, Places *places,
                              GError **error)
{
  g_autofree gint32 *all = g_new(gint32, 2 * m + n + 2), *place = g_new(gint32, m + 1);
  gint32 *origins = all, *starts = all + m, *list = all + m + n + 1;
  for (gsize i = 0; i < m; i++) {
    origins[i] = (gint32)found[i];
    place[i] = (gint32)found[i] - 1;
  }
  invert(place, m, n, starts, list);
  gint32 *there = pipeline_cuda_buffer(call, ORIGINS, (2 * m + n + 2) * sizeof(gint32), error);
  if (there == NULL || !PIPELINE_CUDA_RUN(call, copy_in, there, all, (2 * m + n + 1) * sizeof(gint32))) return FALSE;
  *places = (Places){there, there + m, there + m + n + 1};
  pipeline_cuda_changed(call);
  return TRUE;
}

/* The places of these shapes and parameters; found once. */
static gboolean find_places(PipelineGradientCall *call, Places *places, GError **error)
{
  PipelineCall here = call->call;
  g_autofree const PipelineTensor **inputs = g_memdup2(here.inputs, (here.n_inputs + 1) * sizeof *inputs);
  gsize m = here.outputs[0]->n, n = here.inputs[0]->n;
  for (guint i = 1; i < here.n_inputs; i++) /* the value to fill in lies on the device, and moves nothing */
    if (inputs[i] != NULL && inputs[i]->type == ONNX_TYPE_FLOAT) inputs[i] = NULL;
  here.inputs = inputs;
  g_autoptr(GByteArray) key = pipeline_gradient_describe_move(&here);
  if (call->capacities[1] == key->len && memcmp(call->memories[1], key->data, key->len) == 0) {
    const gint32 *there = pipeline_cuda_buffer(call, ORIGINS, (2 * m + n + 2) * sizeof(gint32), error);
    *places = (Places){there, there + m, there + m + n + 1};
    return there != NULL;
  }
  g_clear_pointer(&call->memories[1], g_free);
  call->capacities[1] = 0;
  g_autofree gint64 *found = g_new(gint64, m + 1);
  if (!pipeline_gradient_find_origins(&here, found, error) || !upload_places(call, found, m, n, places, error))
    return FALSE;
  memcpy(pipeline_gradient_memory(call, 1, key->len), key->data, key->len);
  return TRUE;
}

gboolean pipeline_cuda_pick_node_forward(PipelineGradientCall *call, GError **error)
{
  Places places;
  const PipelineTensor *value = strcmp(call->call.node->op_type, "Pad") == 0 ? pipeline_input(&call->call, 2) : NULL;
  PipelineTensor *y = call->call.outputs[0];
  return find_places(call, &places, error) &&
         PIPELINE_CUDA_RUN(call, pick, places.origins, value != NULL && value->n > 0 ? value->data : NULL,
                           call->call.inputs[0]->data, y->data, y->n);
}

gboolean pipeline_cuda_pick_node_backward(PipelineGradientCall *call, GError **error)
{
  Places places;
  PipelineTensor *dx = call->input_gradients[0];
  return dx == NULL || (find_places(call, &places, error) &&
                        PIPELINE_CUDA_RUN(call, gather_backward, 1, dx->n, 1, places.starts, places.list,
                                          call->call.outputs[0]->n, pipeline_gradient_of_output(call, 0), dx->data));
}

/* --- Concat, Split
 * ------------------------------------------------------------------------------------------------------ */

/* Between a part [outer, block] and its place `start` in rows of `row` elements. */
static gboolean move_part(PipelineGradientCall *call, gsize outer, gsize block, gsize row, gsize start,
                          const float *from, float *to, gboolean into, GError **error)
{
  PipelineCudaWalk walk = {.n = outer * block, .n_dims = 2, .dims = {(guint32)outer, (guint32)block}};
  guint part = into ? 0 : 1, whole = into ? 1 : 0;
  pipeline_cuda_walk_dense(&walk, part);
  walk.strides[whole][0] = (gint64)row;
  walk.strides[whole][1] = 1;
  return PIPELINE_CUDA_RUN(call, move, &walk, 1, from + (into ? 0 : start), to + (into ? start : 0));
}

/* Concat: parts are the inputs; forward goes from them, backward to those whose gradient is wanted. */
static gboolean concat(PipelineGradientCall *call, gboolean backward, GError **error)
{
  const PipelineTensor *y = call->call.outputs[0];
  guint axis;
  gsize start = 0;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->call.node, "axis", 1), y->n_dims, FALSE, &axis, error))
    return FALSE;
  gsize outer = pipeline_dims_product(y->dims, 0, axis), row = pipeline_dims_product(y->dims, axis, y->n_dims);
  for (guint i = 0; i < call->call.n_inputs; i++) {
    const PipelineTensor *x = call->call.inputs[i];
    gsize block = pipeline_dims_product(x->dims, axis, x->n_dims);
    float *dx = backward ? pipeline_gradient_of_input(call, i) : NULL;
    if (!backward && !move_part(call, outer, block, row, start, x->data, y->data, TRUE, error)) return FALSE;
    if (dx != NULL &&
        !move_part(call, outer, block, row, start, pipeline_gradient_of_output(call, 0), dx, FALSE, error))
      return FALSE;
    start += block;
  }
  return TRUE;
}

gboolean pipeline_cuda_concat_node_forward(PipelineGradientCall *call, GError **error)
{
  return concat(call, FALSE, error);
}

gboolean pipeline_cuda_concat_node_backward(PipelineGradientCall *call, GError **error)
{
  return concat(call, TRUE, error);
}

static gboolean split_back(PipelineGradientCall *call, const float *dy, gsize outer, gsize block, gsize row,
                           gsize start, GError **error)
{
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dy != NULL) return move_part(call, outer, block, row, start, dy, dx, TRUE, error);
  float *zeros = pipeline_cuda_buffer(call, 0, outer * block * sizeof(float), error);
  return zeros != NULL && PIPELINE_CUDA_RUN(call, clear, zeros, outer * block * sizeof(float)) &&
         move_part(call, outer, block, row, start, zeros, dx, TRUE, error);
}

static gboolean split(PipelineGradientCall *call, gboolean backward, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0];
  guint axis;
  gsize start = 0;
  if (!pipeline_axis_resolve(onnx_node_get_int(call->call.node, "axis", 0), x->n_dims, FALSE, &axis, error))
    return FALSE;
  gsize outer = pipeline_dims_product(x->dims, 0, axis), row = pipeline_dims_product(x->dims, axis, x->n_dims);
  for (guint i = 0; i < call->call.n_outputs; i++) {
    const PipelineTensor *y = call->call.outputs[i];
    if (y == NULL) return pipeline_operator_fail(error, "a part of it that nobody reads has no name");
    gsize block = pipeline_dims_product(y->dims, axis, y->n_dims);
    if (!(backward ? split_back(call, pipeline_gradient_of_output(call, i), outer, block, row, start, error)
                   : move_part(call, outer, block, row, start, x->data, y->data, FALSE, error)))
      return FALSE;
    start += block;
  }
  return TRUE;
}

gboolean pipeline_cuda_split_node_forward(PipelineGradientCall *call, GError **error)
{
  return split(call, FALSE, error);
}

gboolean pipeline_cuda_split_node_backward(PipelineGradientCall *call, GError **error)
{
  return call->input_gradients[0] == NULL || split(call, TRUE, error);
}

/* --- Gather: an embedding is one
 * --------------------------------------------------------------------------------------- */

typedef struct {
  gsize outer, length, inner, n;
} Gather;

static gboolean read_gather(const PipelineGradientCall *call, Gather *g, GError **error)
{
  const PipelineTensor *x = call->call.inputs[0];
  PipelineAround around;
  if (!pipeline_around(x, onnx_node_get_int(call->call.node, "axis", 0), &around, error)) return FALSE;
  *g = (Gather){around.outer, around.length, around.inner, call->call.inputs[1]->n};
  return TRUE;
}

/* The indices from 0 on, checked. New. */
static gint32 *read_indices(const PipelineGradientCall *call, const Gather *g, GError **error)
{
  g_autofree gint32 *places = g_new(gint32, g->n + 1);
  for (gsize i = 0; i < g->n; i++) {
    gsize index;
    if (!pipeline_index_at(call->call.inputs[1], i, (gint64)g->length, &index, error)) return NULL;
    places[i] = (gint32)index;
  }
  return g_steal_pointer(&places);
}

gboolean pipeline_cuda_gather_node_forward(PipelineGradientCall *call, GError **error)
{
  Gather g;
  if (!read_gather(call, &g, error)) return FALSE;
  g_autofree gint32 *places = read_indices(call, &g, error);
  if (places == NULL) return FALSE;
  const gint32 *there = pipeline_cuda_variable(call, ORIGINS, places, g.n * sizeof(gint32), error);
  return there != NULL && PIPELINE_CUDA_RUN(call, gather, g.outer, g.length, g.inner, there, g.n,
                                            call->call.inputs[0]->data, call->call.outputs[0]->data);
}

/* Where each place is read, on the device. */
static gboolean find_readers(PipelineGradientCall *call, const Gather *g, Places *places, GError **error)
{
  g_autofree gint32 *read = read_indices(call, g, error), *starts = g_new(gint32, g->length + 1),
                    *list = g_new(gint32, g->n + 1);
  if (read == NULL) return FALSE;
  invert(read, g->n, g->length, starts, list);
  places->starts = pipeline_cuda_variable(call, STARTS, starts, (g->length + 1) * sizeof(gint32), error);
  if (places->starts == NULL) return FALSE;
  places->list = pipeline_cuda_variable(call, LIST, list, g->n * sizeof(gint32), error);
  return places->list != NULL;
}

gboolean pipeline_cuda_gather_node_backward(PipelineGradientCall *call, GError **error)
{
  Gather g;
  Places places;
  float *dx = pipeline_gradient_of_input(call, 0);
  if (dx == NULL) return TRUE;
  return read_gather(call, &g, error) && find_readers(call, &g, &places, error) &&
         PIPELINE_CUDA_RUN(call, gather_backward, g.outer, g.length, g.inner, places.starts, places.list, g.n,
                           pipeline_gradient_of_output(call, 0), dx);
}

/* A step that is recorded or replayed next finds the indices there. */
gboolean pipeline_cuda_gather_refresh(PipelineGradientCall *call, GError **error)
{
  Gather g;
  Places places;
  if (call->call.inputs[0]->type != ONNX_TYPE_FLOAT) return TRUE;
  if (!read_gather(call, &g, error)) return FALSE;
  g_autofree gint32 *read = read_indices(call, &g, error);
  return read != NULL && pipeline_cuda_variable(call, ORIGINS, read, g.n * sizeof(gint32), error) != NULL &&
         (call->input_gradients[0] == NULL || find_readers(call, &g, &places, error));
}
