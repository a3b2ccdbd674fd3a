/* Static quantisation of a model to 8-bit integers (kedge compress --int8): BatchNormalization folded, activations
 * observed on rows of traffic, weights stored as INT8 (onnx/compress.h). No label is needed.
 *
 * How far an activation reaches (range of its 8 bits), from a histogram of 2,048 bins:
 *   min-max     its smallest and largest value
 *   percentile  what the share `percentile` of its values spans, half of the rest cut at each end
 *   mse         the range, shrunk towards 0 on both sides, of least squared error of rounding and clipping
 *   entropy     that of least Kullback-Leibler divergence between the values and the rounded ones (Migacz 2017)
 */
#pragma once

#include "drift/schema.h"
#include "drift/table.h"
#include "onnx/compress.h"
#include "pipeline/error.h"

G_BEGIN_DECLS

typedef struct {
  OnnxQuantizeOptions rewrite;
  const gchar *method; /* of the table above */
  double percentile;   /* in (50, 100]; 99.99 */
  guint64 max_rows;    /* that are observed, evenly spaced in the table; 1,000 */
} PipelineQuantizeOptions;
void pipeline_quantize_options_init(PipelineQuantizeOptions *options); /* INT8, mse */

typedef struct {
  guint n_products, n_sums, n_kept, n_folded, n_values; /* layers on 8 bits, sums; layers that stayed; … */
  guint64 n_rows;                                       /* observed */
} PipelineQuantized;

/* New bytes. UNSUPPORTED: nothing can be computed on 8 bits, or the file would grow, the reason said; INVALID: an
 * option; DATA: no rows, or an activation that is not finite, named; MODEL: the graph. */
GBytes *pipeline_quantize(GBytes *onnx, const DriftSchema *schema, const DriftTable *table,
                          const PipelineQuantizeOptions *options, PipelineQuantized *result, GError **error);

/* --- ranges, for tests -------------------------------------------------------------------------------------------- */

#define PIPELINE_QUANTIZE_BINS 2048u

typedef struct {
  double low, high; /* of the values: bin i is [low + i w, low + (i + 1) w), w = (high − low) / bins */
  guint64 counts[PIPELINE_QUANTIZE_BINS], n;
} PipelineQuantizeHistogram;

/* INVALID lists the known methods. */
gboolean pipeline_quantize_choose(const PipelineQuantizeHistogram *histogram, const gchar *method, double percentile,
                                  OnnxQuantizeRange *range, GError **error);

G_END_DECLS
