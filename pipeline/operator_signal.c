/* Signals: windows, DFT, STFT, the mel filter bank; and Det. Plain sums in double, their cost charged. */
#include <math.h>
#include <string.h>

#include "pipeline/operator_internal.h"

/* --- HannWindow, HammingWindow, BlackmanWindow: Σ coefficient · cos(2π k n / N)
 * ------------------------------------------------------ */

struct _PipelineWaves {
  double coefficients[3];
};
const PipelineWaves pipeline_waves_hann = {{0.5, -0.5, 0}}, pipeline_waves_hamming = {{25.0 / 46.0, -21.0 / 46.0, 0}},
                    pipeline_waves_blackman = {{0.42, -0.5, 0.08}};

gboolean pipeline_waves_infer(PipelineCall *call, GError **error)
{
  gint64 size;
  guint n;
  OnnxType type = (OnnxType)onnx_node_get_int(call->node, "output_datatype", ONNX_TYPE_FLOAT);
  if (!pipeline_integers_read(call->inputs[0], &size, 1, &n, error)) return FALSE;
  if (n != 1 || size < 0) return pipeline_operator_fail(error, "its size is not one number");
  if (!pipeline_type_is_number(type)) return pipeline_operator_fail(error, "its output_datatype is not supported");
  return pipeline_output_set(call, 0, type, 1, &size, error);
}

gboolean pipeline_waves_run(PipelineCall *call, GError **error)
{
  (void)error;
  const PipelineWaves *waves = call->operator->parameter;
  PipelineTensor *out = call->outputs[0];
  double period = (double)out->n - (onnx_node_get_int(call->node, "periodic", 1) != 0 ? 0 : 1);
  for (gsize i = 0; i < out->n; i++) {
    double value = 0;
    for (guint k = 0; k < 3; k++)
      value += waves->coefficients[k] * cos(2 * G_PI * k * (double)i / (period > 0 ? period : 1));
    pipeline_element_put_double(out, i, value);
  }
  return TRUE;
}

/* --- DFT
 * -------------------------------------------------------------------------------------------------------------- */

typedef struct {
  PipelineAround around; /* of the signal, with the real and imaginary parts as the innermost dimension */
  gsize length, bins;    /* of the transform; of the output */
  guint parts;           /* 1: the signal is real */
  gboolean onesided;
} Transform;

static gboolean read_transform(const PipelineCall *call, Transform *transform, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *axis = call->opset >= 20 ? pipeline_input(call, 2) : NULL;
  gint64 length = -1, place = call->opset >= 20 ? -2 : onnx_node_get_int(call->node, "axis", 1);
  guint n;
  if (in->n_dims < 2) return pipeline_operator_fail(error, "its input has too few dimensions");
  if ((pipeline_input(call, 1) != NULL && !pipeline_integers_read(call->inputs[1], &length, 1, &n, error)) ||
      (axis != NULL && !pipeline_integers_read(axis, &place, 1, &n, error)) ||
      !pipeline_around(in, place, &transform->around, error))
    return FALSE;
  gint64 parts = in->dims[in->n_dims - 1];
  if (onnx_node_get_int(call->node, "inverse", 0) != 0)
    return pipeline_operator_fail(error, "inverse is not supported");
  transform->onesided = onnx_node_get_int(call->node, "onesided", 0) != 0;
  transform->parts = (guint)parts;
  transform->length = length >= 0 ? (gsize)length : transform->around.length;
  if ((parts != 1 && parts != 2) || transform->around.axis + 1 == in->n_dims || transform->length == 0 ||
      transform->length > G_MAXINT32)
    return pipeline_operator_fail(error, "its input, axis or length is not supported");
  transform->around.inner /= (gsize)parts;
  transform->bins = transform->onesided ? transform->length / 2 + 1 : transform->length;
  return TRUE;
}

gboolean pipeline_dft_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  Transform transform;
  gint64 dims[ONNX_MAX_DIMENSIONS];
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (!read_transform(call, &transform, error)) return FALSE;
  memcpy(dims, in->dims, sizeof dims);
  dims[transform.around.axis] = (gint64)transform.bins;
  dims[in->n_dims - 1] = 2;
  double lines = (double)transform.around.outer * (double)transform.around.inner;
  return pipeline_charge_multiplications(call, 4 * lines * (double)transform.bins * (double)transform.length, error) &&
         pipeline_output_set(call, 0, in->type, in->n_dims, dims, error);
}

static double part(const PipelineTensor *in, const Transform *transform, gsize outer, gsize i, gsize inner, guint p)
{
  if (i >= transform->around.length || p >= transform->parts) return 0; /* padded with zeros */
  gsize at = (outer * transform->around.length + i) * transform->around.inner + inner;
  return pipeline_element_get_double(in, at * transform->parts + p);
}

gboolean pipeline_dft_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  Transform transform;
  if (!read_transform(call, &transform, error)) return FALSE;
  const PipelineAround *around = &transform.around;
  for (gsize i = 0; i < around->outer * transform.bins * around->inner; i++) {
    gsize inner = i % around->inner, bin = i / around->inner % transform.bins,
          outer = i / around->inner / transform.bins;
    double real = 0, imaginary = 0;
    for (gsize k = 0; k < transform.length; k++) {
      double angle = -2 * G_PI * (double)(bin * k % transform.length) / (double)transform.length;
      double a = part(in, &transform, outer, k, inner, 0), b = part(in, &transform, outer, k, inner, 1);
      real += a * cos(angle) - b * sin(angle);
      imaginary += a * sin(angle) + b * cos(angle);
    }
    pipeline_element_put_double(call->outputs[0], 2 * i, real);
    pipeline_element_put_double(call->outputs[0], 2 * i + 1, imaginary);
  }
  return TRUE;
}

/* --- STFT: signal [N, L, 1 or 2], frame_step, window, frame_length -> [N, frames, bins, 2]
 * -------------------------------------------- */

typedef struct {
  gsize length, step, frames, bins, samples;
  guint parts;
} Frames;

static gboolean read_frames(const PipelineCall *call, Frames *frames, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *window = pipeline_input(call, 2);
  gint64 step, length = window != NULL ? (gint64)window->n : -1;
  guint n;
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims != 3 || (in->dims[2] != 1 && in->dims[2] != 2))
    return pipeline_operator_fail(error, "its signal is not [N, L, 1] or [N, L, 2]");
  if (!pipeline_integers_read(call->inputs[1], &step, 1, &n, error) ||
      (pipeline_input(call, 3) != NULL && !pipeline_integers_read(call->inputs[3], &length, 1, &n, error)))
    return FALSE;
  if (length < 0) length = in->dims[1];
  if (step < 1 || length < 1 || length > in->dims[1] || (window != NULL && window->n != (gsize)length))
    return pipeline_operator_fail(error, "its frames do not fit its signal");
  frames->step = (gsize)step;
  frames->length = (gsize)length;
  frames->samples = (gsize)in->dims[1];
  frames->parts = (guint)in->dims[2];
  frames->frames = (frames->samples - frames->length) / frames->step + 1;
  frames->bins = onnx_node_get_int(call->node, "onesided", 1) != 0 ? frames->length / 2 + 1 : frames->length;
  return TRUE;
}

gboolean pipeline_stft_infer(PipelineCall *call, GError **error)
{
  Frames frames;
  if (!read_frames(call, &frames, error)) return FALSE;
  gint64 dims[4] = {call->inputs[0]->dims[0], (gint64)frames.frames, (gint64)frames.bins, 2};
  double cost = (double)dims[0] * (double)frames.frames * (double)frames.bins * (double)frames.length * 4;
  return pipeline_charge_multiplications(call, cost, error) &&
         pipeline_output_set(call, 0, call->inputs[0]->type, 4, dims, error);
}

gboolean pipeline_stft_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0], *window = pipeline_input(call, 2);
  Frames f;
  if (!read_frames(call, &f, error)) return FALSE;
  for (gsize i = 0; i < call->outputs[0]->n / 2; i++) {
    gsize bin = i % f.bins, frame = i / f.bins % f.frames, row = i / f.bins / f.frames;
    double real = 0, imaginary = 0;
    for (gsize k = 0; k < f.length; k++) {
      gsize at = (row * f.samples + frame * f.step + k) * f.parts;
      double weight = window != NULL ? pipeline_element_get_double(window, k) : 1;
      double angle = -2 * G_PI * (double)(bin * k % f.length) / (double)f.length;
      double a = weight * pipeline_element_get_double(in, at),
             b = f.parts == 2 ? weight * pipeline_element_get_double(in, at + 1) : 0;
      real += a * cos(angle) - b * sin(angle);
      imaginary += a * sin(angle) + b * cos(angle);
    }
    pipeline_element_put_double(call->outputs[0], 2 * i, real);
    pipeline_element_put_double(call->outputs[0], 2 * i + 1, imaginary);
  }
  return TRUE;
}

/* --- MelWeightMatrix: triangles between neighbouring mel frequencies, by spectrum bin
 * ---------------------------------------------------- */

static double to_mel(double hertz)
{
  return 2595 * log10(1 + hertz / 700);
}

static double mel_input(const PipelineCall *call, guint i)
{
  return call->inputs[i]->n == 1 ? pipeline_element_get_double(call->inputs[i], 0) : NAN;
}

gboolean pipeline_mel_infer(PipelineCall *call, GError **error)
{
  OnnxType type = (OnnxType)onnx_node_get_int(call->node, "output_datatype", ONNX_TYPE_FLOAT);
  double bins = mel_input(call, 0), length = mel_input(call, 1), rate = mel_input(call, 2), low = mel_input(call, 3),
         high = mel_input(call, 4);
  if (!(bins >= 1 && bins < 1e6 && length >= 1 && length < 1e7 && rate > 0 && low >= 0 && high > low))
    return pipeline_operator_fail(error, "its bins, length, rate or frequencies are out of range");
  if (!pipeline_type_is_number(type)) return pipeline_operator_fail(error, "its output_datatype is not supported");
  return pipeline_output_set(call, 0, type, 2, (gint64[]){(gint64)length / 2 + 1, (gint64)bins}, error);
}

gboolean pipeline_mel_run(PipelineCall *call, GError **error)
{
  PipelineTensor *out = call->outputs[0];
  gsize rows = (gsize)out->dims[0], bins = (gsize)out->dims[1];
  double low = to_mel(mel_input(call, 3)),
         step = (to_mel(mel_input(call, 4)) - low) / ((double)bins + 2); /* as the definition has it */
  double length = floor(mel_input(call, 1)), rate = mel_input(call, 2);
  g_autofree double *edges = pipeline_scratch_new(call, bins + 2, sizeof(double), error);
  if (edges == NULL) return FALSE;
  for (gsize i = 0; i < bins + 2; i++)
    edges[i] = floor((length + 1) * (700 * (pow(10, (low + step * (double)i) / 2595) - 1)) / rate);
  for (gsize i = 0; i < out->n; i++) pipeline_element_put_double(out, i, 0);
  for (gsize b = 0; b < bins; b++) {
    double left = edges[b], centre = edges[b + 1], right = edges[b + 2];
    if (left == centre && centre >= 0 && centre < (double)rows)
      pipeline_element_put_double(out, (gsize)centre * bins + b, 1);
    for (double r = left; r <= centre && left < centre && r < (double)rows; r++)
      if (r >= 0) pipeline_element_put_double(out, (gsize)r * bins + b, (r - left) / (centre - left));
    for (double r = centre; r < right && r < (double)rows; r++)
      if (r >= 0) pipeline_element_put_double(out, (gsize)r * bins + b, (right - r) / (right - centre));
  }
  return TRUE;
}

/* --- Det: elimination with row exchanges
 * ------------------------------------------------------------------------------------- */

gboolean pipeline_det_infer(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  if (!pipeline_type_is_floating(in->type)) return pipeline_operator_fail_type(call, 0, error);
  if (in->n_dims < 2 || in->dims[in->n_dims - 1] != in->dims[in->n_dims - 2])
    return pipeline_operator_fail(error, "its input is no square matrix");
  return pipeline_charge_multiplications(call, (double)in->n * (double)in->dims[in->n_dims - 1], error) &&
         pipeline_output_set(call, 0, in->type, in->n_dims - 2, in->dims, error);
}

static double determinant(double *m, gsize n)
{
  double product = 1;
  for (gsize c = 0; c < n; c++) {
    gsize pivot = c;
    for (gsize r = c + 1; r < n; r++)
      if (fabs(m[r * n + c]) > fabs(m[pivot * n + c])) pivot = r;
    if (m[pivot * n + c] == 0) return 0;
    for (gsize k = 0; k < n && pivot != c; k++) {
      double kept = m[c * n + k];
      m[c * n + k] = m[pivot * n + k];
      m[pivot * n + k] = kept;
    }
    product *= pivot != c ? -m[c * n + c] : m[c * n + c];
    for (gsize r = c + 1; r < n; r++) {
      double factor = m[r * n + c] / m[c * n + c];
      for (gsize k = c; k < n; k++) m[r * n + k] -= factor * m[c * n + k];
    }
  }
  return product;
}

gboolean pipeline_det_run(PipelineCall *call, GError **error)
{
  const PipelineTensor *in = call->inputs[0];
  gsize n = (gsize)in->dims[in->n_dims - 1];
  g_autofree double *matrix = pipeline_scratch_new(call, n * n, sizeof(double), error);
  if (matrix == NULL) return FALSE;
  for (gsize i = 0; i < call->outputs[0]->n; i++) {
    for (gsize k = 0; k < n * n; k++) matrix[k] = pipeline_element_get_double(in, i * n * n + k);
    pipeline_element_put_double(call->outputs[0], i, determinant(matrix, n));
  }
  return TRUE;
}
