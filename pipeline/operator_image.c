/* Operators of detection and image models: NonMaxSuppression, GridSample, RoiAlign, AffineGrid.
 * Source of the formulas: https://onnx.ai/onnx/operators/ and its reference implementations. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* --- NonMaxSuppression: boxes [N, B, 4], scores [N, C, B] -> [selected, 3] of batch, class, box
 * ---------------------------------- */

typedef struct {
  double y1, x1, y2, x2;
} Box;

static Box read_box(const PipelineCall *call, gsize index)
{
  double v[4];
  for (gsize i = 0; i < 4; i++) v[i] = pipeline_element_get_double(call->inputs[0], index * 4 + i);
  if (onnx_node_get_int(call->node, "center_point_box", 0) != 0)
    return (Box){v[1] - v[3] / 2, v[0] - v[2] / 2, v[1] + v[3] / 2, v[0] + v[2] / 2};
  return (Box){MIN(v[0], v[2]), MIN(v[1], v[3]), MAX(v[0], v[2]), MAX(v[1], v[3])};
}

/* Intersection over union. */
static double overlap(const Box *a, const Box *b)
{
  double width = MIN(a->x2, b->x2) - MAX(a->x1, b->x1), height = MIN(a->y2, b->y2) - MAX(a->y1, b->y1);
  if (!(width > 0 && height > 0)) return 0;
  double first = (a->x2 - a->x1) * (a->y2 - a->y1), second = (b->x2 - b->x1) * (b->y2 - b->y1);
  double all = first + second - width * height;
  return first > 0 && second > 0 && all > 0 ? width * height / all : 0;
}

typedef struct {
  double score;
  gsize box;
} Candidate;

/* Highest score first; of equal ones the lower index. */
static gint compare_candidates(gconstpointer a, gconstpointer b)
{
  const Candidate *x = a, *y = b;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->box > y->box) - (x->box < y->box);
}

static double optional_number(const PipelineCall *call, guint input, double fallback)
{
  const PipelineTensor *tensor = pipeline_input(call, input);
  return tensor != NULL && tensor->n > 0 ? pipeline_element_get_double(tensor, 0) : fallback;
}

static gboolean select_boxes(const PipelineCall *call, gsize batch, gsize class, GArray *selected, GError **error)
{
  const PipelineTensor *scores = call->inputs[1];
  gsize n = (gsize)scores->dims[2], classes = (gsize)scores->dims[1], first = selected->len;
  double most = optional_number(call, 2, 0), limit = optional_number(call, 3, 0),
         lowest = optional_number(call, 4, -INFINITY);
  g_autoptr(GArray) candidates = g_array_new(FALSE, FALSE, sizeof(Candidate));
  for (gsize i = 0; i < n; i++) {
    Candidate candidate = {pipeline_element_get_double(scores, (batch * classes + class) * n + i), i};
    if (candidate.score > lowest) g_array_append_val(candidates, candidate);
  }
  g_array_sort(candidates, compare_candidates);
  for (guint i = 0; i < candidates->len && (double)(selected->len - first) / 3 < most; i++) {
    gsize index = g_array_index(candidates, Candidate, i).box;
    Box box = read_box(call, batch * n + index);
    gboolean keep = TRUE;
    if (!pipeline_charge_multiplications(call, (double)(selected->len - first + 1), error)) return FALSE;
    for (gsize k = first; keep && k < selected->len; k += 3) {
      Box other = read_box(call, batch * n + (gsize)g_array_index(selected, gint64, k + 2));
      keep = !(overlap(&box, &other) > limit);
    }
    gint64 row[3] = {(gint64)batch, (gint64) class, (gint64)index};
    if (keep) g_array_append_vals(selected, row, 3);
  }
  return TRUE;
}

gboolean pipeline_non_max_suppression_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *boxes = call->inputs[0], *scores = call->inputs[1];
  if (boxes->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 0, error);
  if (scores->type != ONNX_TYPE_FLOAT) return pipeline_operator_fail_type(call, 1, error);
  if (boxes->n_dims != 3 || scores->n_dims != 3 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
      boxes->dims[1] != scores->dims[2])
    return pipeline_operator_fail(error, "its boxes and scores do not fit together");
  if (call->state != NULL) g_array_unref(call->state);
  call->state = g_array_new(FALSE, FALSE, sizeof(gint64));
  call->state_free = (GDestroyNotify)g_array_unref;
  for (gsize batch = 0; batch < (gsize)scores->dims[0]; batch++)
    for (gsize class = 0; class < (gsize)scores->dims[1]; class ++)
      if (!select_boxes(call, batch, class, call->state, error)) return FALSE;
  gint64 dims[2] = {((GArray *)call->state)->len / 3, 3};
  return pipeline_output_set(call, 0, ONNX_TYPE_INT64, 2, dims, error);
}

gboolean pipeline_non_max_suppression_run(PipelineCall *call, GError **error)
{
  (void)error;
  const GArray *selected = call->state;
  if (selected->len > 0) memcpy(call->outputs[0]->data, selected->data, selected->len * sizeof(gint64));
  return TRUE;
}

/* --- GridSample: X [N, C, D…], grid [N, E…, dimensions] in [-1, 1], last dimension first
 * ------------------------------------------ */

typedef struct {
  gchar mode, padding; /* n(earest) l(inear) c(ubic); z(eros) b(order) r(eflection) */
  gboolean align;
} Sampling;

static gboolean read_sampling(const PipelineCall *call, Sampling *sampling, GError **error)
{
  static const gchar *const modes[] = {"linear", "bilinear", "nearest", "cubic", "bicubic", NULL};
  static const gchar *const paddings[] = {"zeros", "border", "reflection", NULL};
  g_autofree gchar *mode = onnx_node_copy_string(call->node, "mode", "linear");
  g_autofree gchar *padding = onnx_node_copy_string(call->node, "padding_mode", "zeros");
  if (!g_strv_contains(modes, mode) || !g_strv_contains(paddings, padding))
    return pipeline_operator_fail(error, "its mode '%s' or padding_mode '%s' is unknown", mode, padding);
  const gchar *plain = g_str_has_prefix(mode, "bi") ? mode + 2 : mode;
  *sampling = (Sampling){plain[0], padding[0], onnx_node_get_int(call->node, "align_corners", 0) != 0};
  return TRUE;
}

gboolean pipeline_grid_sample_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *grid = call->inputs[1];
  Sampling sampling;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_type_is_floating(x->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_type_is_floating(grid->type)) return pipeline_operator_fail_type(call, 1, error);
  if (x->n_dims < 3 || x->n_dims > 5 || grid->n_dims != x->n_dims || grid->dims[0] != x->dims[0] ||
      grid->dims[grid->n_dims - 1] != (gint64)x->n_dims - 2)
    return pipeline_operator_fail(error, "its input and grid do not fit together");
  memcpy(dims, x->dims, sizeof dims);
  for (guint d = 2; d < x->n_dims; d++) dims[d] = grid->dims[d - 1];
  return read_sampling(call, &sampling, error) && pipeline_output_set(call, 0, x->type, x->n_dims, dims, error) &&
         pipeline_charge_multiplications(call, (double)call->outputs[0]->n * 64, error);
}

/* Mirrors x at the borders until it lies within. */
static double reflect(double x, double low, double high)
{
  double range = high - low;
  if (!(range > 0) || (x >= low && x <= high)) return CLAMP(x, low, high);
  double distance = x < low ? low - x : x - high, times = floor(distance / range), rest = distance - times * range;
  gboolean even = fmod(times, 2) == 0;
  return (x < low) == even ? low + rest : high - rest;
}

static double cubic(double x)
{
  const double a = -0.75;
  x = fabs(x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  return x < 2 ? a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a : 0;
}

/* Up to 4 neighbours along one dimension: their indices (-1: zero) and weights. */
typedef struct {
  guint n;
  gint64 index[4];
  double weight[4];
} Neighbours;

static Neighbours neighbours(const Sampling *sampling, double normalized, gint64 size)
{
  double low = sampling->align ? 0 : -0.5, high = sampling->align ? (double)size - 1 : (double)size - 0.5;
  double x = sampling->align ? (normalized + 1) / 2 * (double)(size - 1) : ((normalized + 1) * (double)size - 1) / 2;
  x = (double)(float)(isfinite(x) ? CLAMP(x, -0x1p30, 0x1p30) : -0x1p30);
  if (sampling->mode == 'n') x = nearbyint(x);
  if (x < low || x > high)
    x = sampling->padding == 'b'   ? CLAMP(x, 0, (double)(size - 1))
        : sampling->padding == 'r' ? reflect(x, low, high)
                                   : x;
  gint64 base = (gint64)(sampling->mode == 'n' ? trunc(x) : floor(x));
  double ratio = x - (double)base;
  Neighbours found = {.n = sampling->mode == 'n' ? 1 : sampling->mode == 'l' ? 2 : 4};
  for (guint i = 0; i < found.n; i++) {
    gint64 at = base + (gint64)i - (found.n == 4);
    double distance = (double)i - (found.n == 4) - ratio;
    found.weight[i] = found.n == 1 ? 1 : found.n == 2 ? 1 - fabs(distance) : cubic(distance);
    if (sampling->padding == 'b') at = CLAMP(at, 0, size - 1);
    if (sampling->padding == 'r') at = CLAMP((gint64)reflect((double)at, low, high), 0, size - 1);
    found.index[i] = at >= 0 && at < size ? at : -1;
  }
  return found;
}

static double sample(const PipelineTensor *x, const Neighbours *around, guint n, gsize image)
{
  guint total = 1;
  double sum = 0;
  for (guint d = 0; d < n; d++) total *= around[d].n;
  for (guint k = 0; k < total; k++) {
    guint rest = k;
    gsize offset = image;
    double weight = 1;
    for (guint d = 0; d < n; d++) {
      guint pick = rest % around[d].n;
      rest /= around[d].n;
      offset = offset * (gsize)x->dims[d + 2] + (gsize)MAX(around[d].index[pick], 0);
      weight *= around[d].index[pick] < 0 ? 0 : around[d].weight[pick];
    }
    if (weight != 0) sum += weight * pipeline_element_get_double(x, offset);
  }
  return sum;
}

gboolean pipeline_grid_sample_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *grid = call->inputs[1];
  PipelineTensor *out = call->outputs[0];
  Sampling sampling;
  if (!read_sampling(call, &sampling, error)) return FALSE;
  guint n = x->n_dims - 2;
  gsize channels = (gsize)x->dims[1], places = pipeline_dims_product(out->dims, 2, out->n_dims);
  if (out->n == 0) return TRUE;
  if (x->n == 0) return pipeline_operator_fail(error, "its input is empty");
  for (gsize batch = 0; batch < (gsize)x->dims[0]; batch++)
    for (gsize p = 0; p < places; p++) {
      Neighbours around[3];
      for (guint d = 0; d < n; d++)
        around[d] = neighbours(&sampling, pipeline_element_get_double(grid, (batch * places + p) * n + (n - 1 - d)),
                               x->dims[d + 2]);
      for (gsize c = 0; c < channels; c++)
        pipeline_element_put_double(out, (batch * channels + c) * places + p,
                                    sample(x, around, n, batch * channels + c));
    }
  return TRUE;
}

/* --- AffineGrid: theta [N, 2, 3] or [N, 3, 4], size -> grid
 * ------------------------------------------------------------------- */

gboolean pipeline_affine_grid_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *theta = call->inputs[0];
  gint64 size[ONNX_MAX_DIMENSIONS], dims[ONNX_MAX_DIMENSIONS];
  guint n;
  if (!pipeline_type_is_floating(theta->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!pipeline_integers_read(call->inputs[1], size, ONNX_MAX_DIMENSIONS, &n, error)) return FALSE;
  if ((n != 4 && n != 5) || theta->n_dims != 3 || theta->dims[0] != size[0] || theta->dims[1] != (gint64)n - 2 ||
      theta->dims[2] != (gint64)n - 1)
    return pipeline_operator_fail(error, "its theta and size do not fit together");
  dims[0] = size[0];
  for (guint d = 2; d < n; d++) dims[d - 1] = size[d];
  dims[n - 1] = (gint64)n - 2;
  return pipeline_output_set(call, 0, theta->type, n, dims, error);
}

gboolean pipeline_affine_grid_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineTensor *theta = call->inputs[0];
  PipelineTensor *out = call->outputs[0];
  gboolean align = onnx_node_get_int(call->node, "align_corners", 0) != 0;
  guint n = out->n_dims - 2;
  gsize places = pipeline_dims_product(out->dims, 1, n + 1);
  for (gsize i = 0; i < out->n / n; i++) {
    double at[4] = {0, 0, 0, 0};
    gsize rest = i % places;
    for (guint d = n; d-- > 0;) { /* the last dimension is x, the first coordinate */
      double size = (double)out->dims[d + 1], index = (double)(rest % (gsize)out->dims[d + 1]);
      rest /= (gsize)out->dims[d + 1];
      at[n - 1 - d] = align ? (size > 1 ? -1 + 2 * index / (size - 1) : 0) : -1 + (2 * index + 1) / size;
    }
    at[n] = 1;
    for (guint row = 0; row < n; row++) {
      double sum = 0;
      for (guint k = 0; k <= n; k++)
        sum += pipeline_element_get_double(theta, (i / places * n + row) * (n + 1) + k) * at[k];
      pipeline_element_put_double(out, i * n + row, sum);
    }
  }
  return TRUE;
}

/* --- RoiAlign: X [N, C, H, W], rois [R, 4], batch_indices [R] -> [R, C, height, width]
 * -------------------------------------------- */

typedef struct {
  gsize height, width;
  gint64 ratio; /* samples a bin and dimension; 0: as many as pixels */
  double scale;
  gboolean half_pixel, max;
} Roi;

static gboolean read_roi(const PipelineCall *call, Roi *roi, GError **error)
{
  gint64 height = onnx_node_get_int(call->node, "output_height", 1),
         width = onnx_node_get_int(call->node, "output_width", 1);
  roi->ratio = onnx_node_get_int(call->node, "sampling_ratio", 0);
  roi->scale = (double)onnx_node_get_float(call->node, "spatial_scale", 1);
  roi->max = pipeline_attribute_is(call, "mode", "avg", "max");
  const gchar *fallback = call->opset < 16 ? "output_half_pixel" : "half_pixel";
  roi->half_pixel = pipeline_attribute_is(call, "coordinate_transformation_mode", fallback, "half_pixel");
  if (height < 1 || width < 1 || height > G_MAXINT16 || width > G_MAXINT16 || roi->ratio < 0 || roi->ratio > 1000)
    return pipeline_operator_fail(error, "its output size or sampling ratio is out of range");
  roi->height = (gsize)height;
  roi->width = (gsize)width;
  return TRUE;
}

gboolean pipeline_roi_align_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *x = call->inputs[0], *rois = call->inputs[1], *batches = call->inputs[2];
  Roi roi;
  if (!pipeline_type_is_floating(x->type)) return pipeline_operator_fail_type(call, 0, error);
  if (batches->type != ONNX_TYPE_INT64) return pipeline_operator_fail_type(call, 2, error);
  if (!read_roi(call, &roi, error)) return FALSE;
  if (x->n_dims != 4 || x->n == 0 || rois->n_dims != 2 || rois->dims[1] != 4 || batches->n != (gsize)rois->dims[0])
    return pipeline_operator_fail(error, "its inputs do not fit together");
  gint64 dims[4] = {rois->dims[0], x->dims[1], (gint64)roi.height, (gint64)roi.width};
  return pipeline_output_set(call, 0, x->type, 4, dims, error);
}

/* The four pixels around a place. mode max takes the largest weighted one, as ONNX's definition does. */
static double pixel(const PipelineTensor *x, gsize image, double row, double column, gboolean max)
{
  gint64 height = x->dims[2], width = x->dims[3];
  if (!(row >= -1 && row <= (double)height && column >= -1 && column <= (double)width)) return 0;
  row = CLAMP(row, 0, (double)(height - 1));
  column = CLAMP(column, 0, (double)(width - 1));
  gint64 top = (gint64)row, left = (gint64)column, bottom = MIN(top + 1, height - 1), right = MIN(left + 1, width - 1);
  double down = row - (double)top, across = column - (double)left;
  gint64 at[4] = {top * width + left, top * width + right, bottom * width + left, bottom * width + right};
  double weight[4] = {(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across};
  double sum = 0, highest = -INFINITY;
  for (guint i = 0; i < 4; i++) {
    double value = weight[i] * pipeline_element_get_double(x, image * (gsize)(height * width) + (gsize)at[i]);
    sum += value;
    highest = MAX(highest, value);
  }
  return max ? highest : sum;
}

static gboolean align_one(PipelineCall *call, const Roi *roi, gsize r, GError **error)
{
  const PipelineTensor *x = call->inputs[0];
  double corner[4], offset = roi->half_pixel ? 0.5 : 0;
  gsize batch, channels = (gsize)x->dims[1];
  if (!pipeline_index_at(call->inputs[2], r, x->dims[0], &batch, error)) return FALSE;
  for (guint i = 0; i < 4; i++)
    corner[i] = pipeline_element_get_double(call->inputs[1], r * 4 + i) * roi->scale - offset;
  double width = corner[2] - corner[0], height = corner[3] - corner[1];
  if (!roi->half_pixel) width = MAX(width, 1), height = MAX(height, 1);
  double bin_height = height / (double)roi->height, bin_width = width / (double)roi->width;
  double rows = roi->ratio > 0 ? (double)roi->ratio : ceil(bin_height),
         columns = roi->ratio > 0 ? (double)roi->ratio : ceil(bin_width);
  if (!(rows < 1e4 && columns < 1e4)) return pipeline_operator_fail(error, "region %zu is out of range", r);
  if (!pipeline_charge_multiplications(
          call, 4 * MAX(rows, 1) * MAX(columns, 1) * (double)(roi->height * roi->width * channels), error))
    return FALSE;
  for (gsize i = 0; i < channels * roi->height * roi->width; i++) {
    gsize bin = i % (roi->height * roi->width), image = batch * channels + i / (roi->height * roi->width);
    double sum = 0, highest = -INFINITY;
    for (double a = 0; a < rows; a++)
      for (double b = 0; b < columns; b++) {
        double row = corner[1] + (double)(bin / roi->width) * bin_height + (a + 0.5) * bin_height / rows;
        double column = corner[0] + (double)(bin % roi->width) * bin_width + (b + 0.5) * bin_width / columns;
        double value = pixel(x, image, row, column, roi->max);
        sum += value;
        highest = MAX(highest, value);
      }
    double count = MAX(rows * columns, 1);
    pipeline_element_put_double(call->outputs[0], r * channels * roi->height * roi->width + i,
                                roi->max ? (rows * columns > 0 ? highest : 0) : sum / count);
  }
  return TRUE;
}

gboolean pipeline_roi_align_run(PipelineCall *call, GError **error)
{
  Roi roi;
  if (!read_roi(call, &roi, error)) return FALSE;
  for (gsize r = 0; r < (gsize)call->inputs[1]->dims[0]; r++)
    if (!align_one(call, &roi, r, error)) return FALSE;
  return TRUE;
}
