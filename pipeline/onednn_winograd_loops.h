/* The loops of pipeline/onednn_winograd.h for vectors of one width. Who includes this once says beforehand
 *
 *     #define LANES 8                                               channels that are computed at once, as blocks have
 *     #define FUSED __attribute__((target("avx2,fma")))             what functions are compiled for
 *     #define LOOPS pipeline_onednn_winograd_avx2                   the table that has them
 *     #define IS_SUPPORTED (__builtin_cpu_supports("avx2") && …)    whether this processor can run them
 */
#include <string.h>

#include "pipeline/onednn_winograd.h"

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

/* Matrices [16, groups, rows, LANES] lie by groups of columns: `rows` are tiles, or channels of weights. A
 * line of the cache between the 16 keeps them from meeting in the same places of it. */
#define POINTS 16
#define LINE 16 /* floats */
/* Of the blocks that are multiplied in registers. */
#define TILE_ROWS 6
#define CHANNEL_ROWS 4
#define MOST_GROUPS 3
/* Of a chunk of tiles, whose matrices stay in the cache; weights that do not are read for as many tiles as possible. */
#define LEAST_TILES 36
#define MOST_TILES 96
#define CHUNK_FLOATS (48 << 10)
#define CACHED_WEIGHTS (1 << 13) /* channels times results */

/* --- shapes ---------------------------------------------------------------------------------------------------------
 */

/* One convolution as the loops see it: from images `in` with so many places in front, to images `out`. */
typedef struct {
  PipelineOnednnImages in, out;
  gsize in_groups, out_groups; /* of LANES channels */
  gint64 before[2];
  gsize lines, columns, all;             /* of tiles: of an image, of all images */
  gsize chunk;                           /* tiles that are computed at once; a multiple of TILE_ROWS */
  gsize in_step, out_step, weights_step; /* from one of the POINTS matrices to the next */
} Tiling;

static void make_tiling(const PipelineOnednnImages *in, const PipelineOnednnImages *out, gint64 above, gint64 left,
                        Tiling *t)
{
  gsize channels = in->n_lanes * PIPELINE_LANES, results = out->n_lanes * PIPELINE_LANES;
  *t = (Tiling){.in = *in, .out = *out, .before = {above, left}};
  t->in_groups = channels / LANES;
  t->out_groups = results / LANES;
  t->lines = (out->height + 1) / 2;
  t->columns = (out->width + 1) / 2;
  t->all = out->batch * t->lines * t->columns;
  gsize fitting = CHUNK_FLOATS / (POINTS * (channels + results));
  if (channels * results > CACHED_WEIGHTS) fitting = MOST_TILES;
  t->chunk = CLAMP(fitting, LEAST_TILES, MOST_TILES) / TILE_ROWS * TILE_ROWS;
  t->in_step = t->chunk * channels + LINE;
  t->out_step = t->chunk * results + LINE;
  t->weights_step = channels * results + LINE;
}

static void make_forward(const PipelineOnednnWinograd *winograd, Tiling *t)
{
  make_tiling(&winograd->x, &winograd->y, winograd->window.before[0], winograd->window.before[1], t);
}

/* --- working memory -------------------------------------------------------------------------------------------------
 */

typedef struct {
  float *in, *out; /* of tiles: [POINTS, groups of in, chunk, lanes], of out */
  float *weights;  /* [POINTS, groups of out, channels of in, lanes] */
} Matrices;

static gsize memory_size(const PipelineOnednnWinograd *winograd)
{
  Tiling t;
  make_forward(winograd, &t);
  return (POINTS * (t.in_step + t.out_step + t.weights_step) + LINE) * sizeof(float);
}

static void lay_out(const Tiling *t, gpointer memory, Matrices *m)
{
  const guintptr line = LINE * sizeof(float);
  m->in = (float *)(((guintptr)memory + line - 1) / line * line);
  m->out = m->in + POINTS * t->in_step;
  m->weights = m->out + POINTS * t->out_step;
}

/* --- products -------------------------------------------------------------------------------------------------------
 */

/* c[row, lanes] (+)= Σ over depth of a(row, depth) · b[depth, lanes]; depth = outer · inner, inner next to each other.
 */
typedef struct {
  gsize row_step, outer, outer_step; /* of a */
  gsize b_step, c_step;              /* from one group of lanes to the next */
  gboolean add;
} Product;

/* n_rows rows of n_groups groups of lanes. These and inner are constants: loops are unrolled, sums stay in registers.
 */
FUSED static inline __attribute__((always_inline)) void multiply(const Product *p, const float *a, const float *b,
                                                                 float *c, const gsize n_rows, const gsize n_groups,
                                                                 const gsize inner)
{
  Lanes sums[TILE_ROWS][MOST_GROUPS];
  for (gsize r = 0; r < n_rows; r++)
    for (gsize g = 0; g < n_groups; g++) sums[r][g] = (Lanes){0};
  for (gsize outer = 0; outer < p->outer; outer++, a += p->outer_step)
    for (gsize i = 0; i < inner; i++, b += LANES)
      for (gsize r = 0; r < n_rows; r++)
        for (gsize g = 0; g < n_groups; g++) sums[r][g] += a[r * p->row_step + i] * *(const Lanes *)(b + g * p->b_step);
  for (gsize r = 0; r < n_rows; r++)
    for (gsize g = 0; g < n_groups; g++) {
      Lanes *to = (Lanes *)(c + g * p->c_step + r * LANES);
      if (p->add) sums[r][g] += *to;
      *to = sums[r][g];
    }
}

typedef void (*MultiplyFunc)(const Product *p, const float *a, const float *b, float *c);
#define MULTIPLY(name, n_rows, n_groups, inner)                                                                        \
  FUSED static void name(const Product *p, const float *a, const float *b, float *c)                                   \
  {                                                                                                                    \
    multiply(p, a, b, c, n_rows, n_groups, inner);                                                                     \
  }
MULTIPLY(multiply_tiles_1, TILE_ROWS, 1, LANES)
MULTIPLY(multiply_tiles_2, TILE_ROWS, 2, LANES)
MULTIPLY(multiply_channels_1, CHANNEL_ROWS, 1, 1)
MULTIPLY(multiply_channels_2, CHANNEL_ROWS, 2, 1)
MULTIPLY(multiply_channels_3, CHANNEL_ROWS, 3, 1)
#undef MULTIPLY
/* By the number of groups. */
static const MultiplyFunc tile_blocks[] = {NULL, multiply_tiles_1, multiply_tiles_2},
                          channel_blocks[] = {NULL, multiply_channels_1, multiply_channels_2, multiply_channels_3};

/* Of n groups that are left the size of the next part, with parts of at most `most` that are about equal. */
static gsize find_part(gsize n, gsize most)
{
  gsize parts = (n + most - 1) / most;
  return (n + parts - 1) / parts;
}

/* out [tiles, results] = in [tiles, channels] · weights */
static void multiply_tiles(const Tiling *t, const Matrices *m, gsize n_tiles)
{
  gsize block = t->chunk * LANES, n_groups;
  const Product p = {.row_step = LANES,
                     .outer = t->in_groups,
                     .outer_step = block,
                     .b_step = t->in_groups * LANES * LANES,
                     .c_step = block};
  for (gsize point = 0; point < POINTS; point++)
    for (gsize group = 0; group < t->out_groups; group += n_groups) {
      const float *a = m->in + point * t->in_step, *b = m->weights + point * t->weights_step + group * p.b_step;
      float *c = m->out + point * t->out_step + group * p.c_step;
      n_groups = find_part(t->out_groups - group, G_N_ELEMENTS(tile_blocks) - 1);
      for (gsize row = 0; row < n_tiles; row += TILE_ROWS)
        tile_blocks[n_groups](&p, a + row * LANES, b, c + row * LANES);
    }
}

/* weights [channels, results] += inᵀ [channels, tiles] · out [tiles, results] */
static void multiply_weights(const Tiling *t, const Matrices *m, gsize n_tiles)
{
  gsize channels = t->in_groups * LANES, block = t->chunk * LANES, n_groups;
  const Product p = {
      .row_step = 1, .outer = n_tiles, .outer_step = LANES, .b_step = block, .c_step = channels * LANES, .add = TRUE};
  for (gsize point = 0; point < POINTS; point++)
    for (gsize group = 0; group < t->out_groups; group += n_groups) {
      const float *a = m->in + point * t->in_step, *b = m->out + point * t->out_step + group * p.b_step;
      float *c = m->weights + point * t->weights_step + group * p.c_step;
      n_groups = find_part(t->out_groups - group, G_N_ELEMENTS(channel_blocks) - 1);
      for (gsize row = 0; row < channels; row += CHANNEL_ROWS)
        channel_blocks[n_groups](&p, a + row / LANES * block + row % LANES, b, c + row * LANES);
    }
}

/* --- tiles ----------------------------------------------------------------------------------------------------------
 */

/* Where a tile of the results is: its first one. */
typedef struct {
  gsize image, line, column;
} Place;

/* The tiles of a chunk. */
typedef struct {
  gsize n;
  Place places[MOST_TILES];
} Chunk;

static void find_chunk(const Tiling *t, gsize first, Chunk *chunk)
{
  gsize of_image = t->lines * t->columns;
  chunk->n = MIN(t->chunk, t->all - first);
  for (gsize row = 0; row < chunk->n; row++) {
    gsize tile = first + row, within = tile % of_image;
    chunk->places[row] = (Place){tile / of_image, within / t->columns * 2, within % t->columns * 2};
  }
}

/* into [POINTS], `step` apart = Bᵀ d B of the tile [4, 4] at d. */
FUSED static inline __attribute__((always_inline)) void transform_input(const float *d, gsize line_step,
                                                                        gsize place_step, float *into, gsize step)
{
  Lanes rows[4][4];
  for (gsize j = 0; j < 4; j++, d += place_step) {
    const Lanes d0 = *(const Lanes *)d, d1 = *(const Lanes *)(d + line_step), d2 = *(const Lanes *)(d + 2 * line_step),
                d3 = *(const Lanes *)(d + 3 * line_step);
    rows[0][j] = d0 - d2;
    rows[1][j] = d1 + d2;
    rows[2][j] = d2 - d1;
    rows[3][j] = d1 - d3;
  }
  for (gsize i = 0; i < 4; i++, into += 4 * step) {
    *(Lanes *)into = rows[i][0] - rows[i][2];
    *(Lanes *)(into + step) = rows[i][1] + rows[i][2];
    *(Lanes *)(into + 2 * step) = rows[i][2] - rows[i][1];
    *(Lanes *)(into + 3 * step) = rows[i][1] - rows[i][3];
  }
}

/* A tile that begins at (line, column) of `image` and is not all inside of it: 0 outside. */
FUSED static void take_border(const PipelineOnednnImages *images, const float *image, gint64 line, gint64 column,
                              float *into, gsize step)
{
  Lanes d[4][4];
  gint64 height = (gint64)images->height, width = (gint64)images->width;
  for (gint64 i = 0; i < 4; i++)
    for (gint64 j = 0; j < 4; j++) {
      d[i][j] = (Lanes){0};
      if (line + i >= 0 && line + i < height && column + j >= 0 && column + j < width)
        d[i][j] =
            *(const Lanes *)(image + (gsize)(line + i) * images->line_step + (gsize)(column + j) * images->place_step);
    }
  transform_input((const float *)d, 4 * LANES, LANES, into, step);
}

/* The tiles of the images in front of one group of channels: in [POINTS, tiles, lanes]. */
FUSED static void take_input(const Tiling *t, const Chunk *chunk, const float *x, float *in)
{
  const PipelineOnednnImages *images = &t->in;
  for (gsize row = 0; row < chunk->n; row++, in += LANES) {
    const Place *place = &chunk->places[row];
    const float *image = x + place->image * images->image_step;
    const float *next = image + (place->line + 4) * images->line_step + place->column * images->place_step;
    __builtin_prefetch(next);
    __builtin_prefetch(next + images->line_step);
    gint64 line = (gint64)place->line - t->before[0], column = (gint64)place->column - t->before[1];
    if (line >= 0 && column >= 0 && line + 4 <= (gint64)images->height && column + 4 <= (gint64)images->width)
      transform_input(image + (gsize)line * images->line_step + (gsize)column * images->place_step, images->line_step,
                      images->place_step, in, t->in_step);
    else
      take_border(images, image, line, column, in, t->in_step);
  }
}

/* One group of the results: out [POINTS, tiles, lanes] → Aᵀ m A + bias. */
FUSED static void put_output(const Tiling *t, const Chunk *chunk, const float *out, const Lanes *bias, float *y)
{
  const PipelineOnednnImages *images = &t->out;
  for (gsize row = 0; row < chunk->n; row++, out += LANES) {
    const Place *place = &chunk->places[row];
    float *to =
        y + place->image * images->image_step + place->line * images->line_step + place->column * images->place_step;
    Lanes rows[2][4];
    for (gsize j = 0; j < 4; j++) {
      const float *m = out + j * t->out_step;
      const Lanes m1 = *(const Lanes *)(m + 4 * t->out_step), m2 = *(const Lanes *)(m + 8 * t->out_step);
      rows[0][j] = *(const Lanes *)m + m1 + m2;
      rows[1][j] = m1 - m2 - *(const Lanes *)(m + 12 * t->out_step);
    }
    for (gsize i = 0; i < MIN(2, images->height - place->line); i++, to += images->line_step) {
      *(Lanes *)to = rows[i][0] + rows[i][1] + rows[i][2] + *bias;
      if (place->column + 1 < images->width)
        *(Lanes *)(to + images->place_step) = rows[i][1] - rows[i][2] - rows[i][3] + *bias;
    }
  }
}

/* The adjoint of put_output: A dy Aᵀ. */
FUSED static void take_output(const Tiling *t, const Chunk *chunk, const float *dy, float *out)
{
  const PipelineOnednnImages *images = &t->out;
  for (gsize row = 0; row < chunk->n; row++, out += LANES) {
    const Place *place = &chunk->places[row];
    const float *from =
        dy + place->image * images->image_step + place->line * images->line_step + place->column * images->place_step;
    gboolean right = place->column + 1 < images->width, below = place->line + 1 < images->height;
    Lanes d[4][2] = {{*(const Lanes *)from}};
    if (right) d[0][1] = *(const Lanes *)(from + images->place_step);
    if (below) d[3][0] = -*(const Lanes *)(from + images->line_step);
    if (below && right) d[3][1] = -*(const Lanes *)(from + images->line_step + images->place_step);
    for (gsize j = 0; j < 2; j++) {
      d[1][j] = d[0][j] - d[3][j];
      d[2][j] = d[0][j] + d[3][j];
    }
    float *m = out;
    for (gsize i = 0; i < 4; i++, m += 4 * t->out_step) {
      *(Lanes *)m = d[i][0];
      *(Lanes *)(m + t->out_step) = d[i][0] + d[i][1];
      *(Lanes *)(m + 2 * t->out_step) = d[i][0] - d[i][1];
      *(Lanes *)(m + 3 * t->out_step) = -d[i][1];
    }
  }
}

/* --- weights --------------------------------------------------------------------------------------------------------
 */

/* Kernels [3, 3] from one channel to a group of results, or back from a group. */
typedef struct {
  Lanes elements[3][3];
} Kernels;

/* into [POINTS], `step` apart = G g Gᵀ */
FUSED static void transform_kernels(const Kernels *g, float *into, gsize step)
{
  Lanes rows[4][3];
  for (gsize j = 0; j < 3; j++) {
    const Lanes ends = g->elements[0][j] + g->elements[2][j];
    rows[0][j] = g->elements[0][j];
    rows[1][j] = 0.5f * (ends + g->elements[1][j]);
    rows[2][j] = 0.5f * (ends - g->elements[1][j]);
    rows[3][j] = g->elements[2][j];
  }
  for (gsize i = 0; i < 4; i++, into += 4 * step) {
    const Lanes ends = rows[i][0] + rows[i][2];
    *(Lanes *)into = rows[i][0];
    *(Lanes *)(into + step) = 0.5f * (ends + rows[i][1]);
    *(Lanes *)(into + 2 * step) = 0.5f * (ends - rows[i][1]);
    *(Lanes *)(into + 3 * step) = rows[i][2];
  }
}

/* Gᵀ u G of u [POINTS], `step` apart. */
FUSED static void gather_kernels(const float *u, gsize step, Kernels *g)
{
  Lanes rows[3][4];
  for (gsize j = 0; j < 4; j++, u += step) {
    const Lanes u1 = 0.5f * *(const Lanes *)(u + 4 * step), u2 = 0.5f * *(const Lanes *)(u + 8 * step);
    rows[0][j] = *(const Lanes *)u + (u1 + u2);
    rows[1][j] = u1 - u2;
    rows[2][j] = (u1 + u2) + *(const Lanes *)(u + 12 * step);
  }
  for (gsize i = 0; i < 3; i++) {
    const Lanes r1 = 0.5f * rows[i][1], r2 = 0.5f * rows[i][2];
    g->elements[i][0] = rows[i][0] + (r1 + r2);
    g->elements[i][1] = r1 - r2;
    g->elements[i][2] = (r1 + r2) + rows[i][3];
  }
}

/* Channels that fill up groups of lanes have weights of 0. backward: from results to channels, kernels turned around.
 */
static void take_weights(const PipelineOnednnWinograd *winograd, const Tiling *t, const float *weights,
                         gboolean backward, float *into)
{
  gsize rows = t->in_groups * LANES, from_step = 9, to_step = 9 * winograd->channels, n_from = winograd->channels,
        n_to = winograd->results;
  if (backward) {
    from_step = to_step, to_step = 9;
    n_from = winograd->results, n_to = winograd->channels;
  }
  for (gsize group = 0; group < t->out_groups; group++)
    for (gsize row = 0; row < rows; row++, into += LANES) {
      Kernels kernels = {{{{0}}}};
      for (gsize lane = 0; row < n_from && lane < MIN(LANES, n_to - group * LANES); lane++) {
        const float *kernel = weights + row * from_step + (group * LANES + lane) * to_step;
        for (gsize k = 0; k < 9; k++) kernels.elements[k / 3][k % 3][lane] = kernel[backward ? 8 - k : k];
      }
      transform_kernels(&kernels, into, t->weights_step);
    }
}

static void put_weights(const PipelineOnednnWinograd *winograd, const Tiling *t, const float *u, float *dw)
{
  gsize rows = t->in_groups * LANES, channels = winograd->channels;
  for (gsize r = 0; r < winograd->results; r += LANES)
    for (gsize c = 0; c < channels; c++) {
      Kernels kernels;
      gather_kernels(u + r * rows + c * LANES, t->weights_step, &kernels);
      for (gsize lane = 0; lane < MIN(LANES, winograd->results - r); lane++)
        for (gsize k = 0; k < 9; k++) dw[((r + lane) * channels + c) * 9 + k] = kernels.elements[k / 3][k % 3][lane];
    }
}

/* --- the three ------------------------------------------------------------------------------------------------------
 */

/* bias: of all groups of lanes. */
static void convolve(const Tiling *t, const Matrices *m, const float *x, const Lanes *bias, float *y)
{
  Chunk chunk;
  gsize block = t->chunk * LANES;
  for (gsize first = 0; first < t->all; first += chunk.n) {
    find_chunk(t, first, &chunk);
    if (chunk.n < t->chunk) memset(m->in, 0, POINTS * t->in_step * sizeof(float));
    for (gsize group = 0; group < t->in_groups; group++)
      take_input(t, &chunk, x + group * t->in.block_step, m->in + group * block);
    multiply_tiles(t, m, chunk.n);
    for (gsize group = 0; group < t->out_groups; group++)
      put_output(t, &chunk, m->out + group * block, bias + group, y + group * t->out.block_step);
  }
}

static void forward(const PipelineOnednnWinograd *winograd, const float *x, const float *weights, const float *bias,
                    float *y, gpointer memory)
{
  Tiling t;
  Matrices m;
  make_forward(winograd, &t);
  lay_out(&t, memory, &m);
  take_weights(winograd, &t, weights, FALSE, m.weights);
  g_autofree Lanes *shift = g_new0(Lanes, t.out_groups);
  if (bias != NULL) memcpy(shift, bias, winograd->results * sizeof(float));
  convolve(&t, &m, x, shift, y);
}

static void backward_data(const PipelineOnednnWinograd *winograd, const float *dy, const float *weights, float *dx,
                          gpointer memory)
{
  Tiling t;
  Matrices m;
  make_tiling(&winograd->y, &winograd->x, 2 - winograd->window.before[0], 2 - winograd->window.before[1], &t);
  lay_out(&t, memory, &m);
  take_weights(winograd, &t, weights, TRUE, m.weights);
  g_autofree Lanes *none = g_new0(Lanes, t.out_groups);
  convolve(&t, &m, dy, none, dx);
}

/* sums, of all groups of lanes, += over tiles; point 5 of A dy Aᵀ is the sum of a tile's dy. */
FUSED static void sum_tiles(const Tiling *t, const Matrices *m, gsize n_tiles, Lanes *sums)
{
  for (gsize group = 0; group < t->out_groups; group++) {
    const Lanes *terms = (const Lanes *)(m->out + 5 * t->out_step) + group * t->chunk;
    Lanes sum = {0};
    for (gsize row = 0; row < n_tiles; row++) sum += terms[row];
    sums[group] += sum;
  }
}

static void backward_weights(const PipelineOnednnWinograd *winograd, const float *x, const float *dy, float *dw,
                             float *db, gpointer memory)
{
  Tiling t;
  Matrices m;
  Chunk chunk;
  make_forward(winograd, &t);
  lay_out(&t, memory, &m);
  memset(m.weights, 0, POINTS * t.weights_step * sizeof(float));
  g_autofree Lanes *shift = g_new0(Lanes, t.out_groups);
  gsize block = t.chunk * LANES;
  for (gsize first = 0; first < t.all; first += chunk.n) {
    find_chunk(&t, first, &chunk);
    for (gsize group = 0; dw != NULL && group < t.in_groups; group++)
      take_input(&t, &chunk, x + group * t.in.block_step, m.in + group * block);
    for (gsize group = 0; group < t.out_groups; group++)
      take_output(&t, &chunk, dy + group * t.out.block_step, m.out + group * block);
    if (dw != NULL) multiply_weights(&t, &m, chunk.n);
    if (db != NULL) sum_tiles(&t, &m, chunk.n, shift);
  }
  if (dw != NULL) put_weights(winograd, &t, m.weights, dw);
  if (db != NULL) memcpy(db, shift, winograd->results * sizeof(float));
}

static gboolean is_supported(void)
{
  return IS_SUPPORTED;
}

const PipelineOnednnWinogradLoops LOOPS = {LANES, is_supported, memory_size, forward, backward_data, backward_weights};
