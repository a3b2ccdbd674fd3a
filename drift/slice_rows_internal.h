/* Tables as bytes, for counting many pairs of features. */
#pragma once

#include "drift/slice_internal.h"

G_BEGIN_DECLS

typedef struct {
  guint64 n;
  guint n_features;
  guint8 *parts;  /* [n_features * n], a feature's rows together; owned */
  double *losses; /* [n] or NULL; owned */
} DriftSliceView;

static inline const guint8 *drift_slice_view_get(const DriftSliceView *view, guint feature)
{
  return view->parts + (gsize)feature * view->n;
}

typedef struct {
  gboolean is_binary;
  DriftSliceView all, known, errors; /* known: rows with a loss; errors: those of loss 1, when losses are 0 and 1 */
} DriftSliceSide;

/* Parts of the grid's features, chosen from the reference. [n_features] */
DriftPartition *drift_slice_partitions(const DriftGrid *grid, const DriftTable *reference);
void drift_slice_side_init(DriftSliceSide *side, const DriftGrid *grid, const DriftPartition *partitions,
                           const DriftTable *table, const double *losses, gboolean is_binary);
/* At most `most` rows, evenly spread. */
void drift_slice_side_sample(const DriftSliceSide *from, guint64 most, DriftSliceSide *side);
void drift_slice_side_clear(DriftSliceSide *side);

void drift_slice_count(const DriftSliceSide *side, guint a, guint b, double cells[DRIFT_JOINT_CELLS]);
/* b DRIFT_NO_FEATURE: by one feature; zeros: as many zeros as there are rows. */
void drift_slice_sum_losses(const DriftSliceSide *side, guint a, guint b, const guint8 *zeros,
                            DriftLoss cells[DRIFT_JOINT_CELLS]);

G_END_DECLS
