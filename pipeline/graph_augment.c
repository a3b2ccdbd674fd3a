#include "pipeline/graph_augment.h"

#include <math.h>
#include <string.h>

#include "pipeline/graph_optimiser.h"

gboolean pipeline_augment_check(const PipelineAugmentOptions *options, gsize row_width, GError **error)
{
  gboolean image = options->shift > 0 || options->flip > 0 || options->cutout > 0;
  gsize pixels = (gsize)options->channels * options->height * options->width;
  const struct {
    gboolean good;
    const gchar *message;
  } rules[] = {
      {options->noise >= 0 && options->noise <= 100, "the noise must be from 0 to 100"},
      {options->mixup >= 0 && options->mixup <= 10, "the alpha of mixup must be from 0 to 10"},
      {options->flip >= 0 && options->flip <= 1, "the share of mirrored images must be from 0 to 1"},
      {!image || pixels > 0, "shift, flip and cutout need rows that are images: name their size"},
      {!image || pixels == row_width, "the size of the images is not that of the rows"},
      {options->shift < MAX(options->width, 1) && options->shift < MAX(options->height, 1),
       "the shift must be smaller than the image"},
  };
  for (guint i = 0; i < G_N_ELEMENTS(rules); i++) {
    if (rules[i].good) continue;
    g_set_error_literal(error, PIPELINE_ERROR, PIPELINE_ERROR_INVALID, rules[i].message);
    return FALSE;
  }
  return TRUE;
}

gboolean pipeline_augment_draws(const PipelineAugmentOptions *options)
{
  return options->noise > 0 || options->mixup > 0 || options->shift > 0 || options->flip > 0 || options->cutout > 0;
}

static void shift_plane(float *plane, gint64 height, gint64 width, gint64 down, gint64 right)
{
  for (gint64 k = 0; k < height; k++) { /* from the side that is moved to */
    gint64 y = down > 0 ? height - 1 - k : k, from = y - down;
    float *row = plane + y * width;
    if (from < 0 || from >= height) {
      memset(row, 0, (gsize)width * sizeof(float));
      continue;
    }
    const float *source = plane + from * width;
    gint64 first = MAX(right, 0), n = width - ABS(right);
    memmove(row + first, source + MAX(-right, 0), (gsize)n * sizeof(float));
    memset(right > 0 ? row : row + n, 0, (gsize)ABS(right) * sizeof(float));
  }
}

static void flip_plane(float *plane, guint height, guint width)
{
  for (guint y = 0; y < height; y++)
    for (guint x = 0; x < width / 2; x++) {
      float *left = plane + (gsize)y * width + x, *right = plane + (gsize)y * width + width - 1 - x, swap = *left;
      *left = *right;
      *right = swap;
    }
}

static void cut_plane(float *plane, const PipelineAugmentOptions *o, gint64 centre_y, gint64 centre_x)
{
  gint64 half = (gint64)o->cutout / 2, side = (gint64)o->cutout;
  for (gint64 y = MAX(centre_y - half, 0); y < MIN(centre_y - half + side, (gint64)o->height); y++)
    for (gint64 x = MAX(centre_x - half, 0); x < MIN(centre_x - half + side, (gint64)o->width); x++)
      plane[y * (gint64)o->width + x] = 0;
}

static gint64 offset(PipelineRandom *random, guint limit)
{
  return (gint64)pipeline_random_below(random, 2 * (guint64)limit + 1) - (gint64)limit;
}

static void augment_image(const PipelineAugmentOptions *o, PipelineRandom *random, float *image)
{
  gint64 down = o->shift > 0 ? offset(random, o->shift) : 0, right = o->shift > 0 ? offset(random, o->shift) : 0;
  gboolean mirrored = o->flip > 0 && pipeline_random_uniform(random) < o->flip;
  gint64 y = o->cutout > 0 ? (gint64)pipeline_random_below(random, o->height) : 0;
  gint64 x = o->cutout > 0 ? (gint64)pipeline_random_below(random, o->width) : 0;
  for (guint c = 0; c < o->channels; c++, image += (gsize)o->height * o->width) {
    if (down != 0 || right != 0) shift_plane(image, o->height, o->width, down, right);
    if (mirrored) flip_plane(image, o->height, o->width);
    if (o->cutout > 0) cut_plane(image, o, y, x);
  }
}

void pipeline_augment_rows(const PipelineAugmentOptions *options, PipelineRandom *random, float *x, guint n,
                           gsize row_width)
{
  gboolean image = options->shift > 0 || options->flip > 0 || options->cutout > 0;
  for (guint i = 0; image && i < n; i++) augment_image(options, random, x + (gsize)i * row_width);
  for (gsize i = 0; options->noise > 0 && i < (gsize)n * row_width; i++)
    x[i] += (float)(options->noise * pipeline_random_normal(random));
}

/* Marsaglia and Tsang 2000; below 1 by the usual power of a uniform number. */
static double random_gamma(PipelineRandom *random, double shape)
{
  if (shape < 1) return random_gamma(random, shape + 1) * pow(1 - pipeline_random_uniform(random), 1 / shape);
  double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
  for (;;) {
    double z = pipeline_random_normal(random), v = (1 + c * z) * (1 + c * z) * (1 + c * z);
    if (v <= 0) continue;
    if (log(1 - pipeline_random_uniform(random)) < 0.5 * z * z + d - d * v + d * log(v)) return d * v;
  }
}

double pipeline_augment_mix(const PipelineAugmentOptions *options, PipelineRandom *random, float *x, guint n,
                            gsize row_width, guint64 *partner)
{
  double a = random_gamma(random, options->mixup), b = random_gamma(random, options->mixup);
  double share = a + b > 0 ? MAX(a, b) / (a + b) : 1;
  for (guint i = 0; i < n; i++) partner[i] = i;
  pipeline_random_shuffle(random, partner, n);
  g_autofree float *before = g_memdup2(x, (gsize)n * row_width * sizeof(float));
  for (guint i = 0; i < n; i++)
    for (gsize k = 0; k < row_width; k++) {
      float *element = x + (gsize)i * row_width + k;
      *element = (float)(share * (double)*element + (1 - share) * (double)before[partner[i] * row_width + k]);
    }
  return share;
}
