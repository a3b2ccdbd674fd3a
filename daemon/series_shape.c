#include "daemon/series_shape.h"

#include <math.h>

static const SeriesStretch empty = {0, 0, INFINITY, -INFINITY, NAN};

static SeriesStretch join(const SeriesStretch *a, const SeriesStretch *b)
{
  return (SeriesStretch){a->n + b->n, a->sum + b->sum, fmin(a->minimum, b->minimum), fmax(a->maximum, b->maximum),
                         fmax(a->evidence, b->evidence)}; /* fmax leaves NaN out */
}

void series_shape_add(SeriesShape *shape, double value, double evidence)
{
  if (shape->n_rows % shape->width == 0) {
    if (shape->n == SERIES_SHAPE_SIZE) { /* twice as long, half as many */
      for (guint i = 0; i < SERIES_SHAPE_SIZE / 2; i++)
        shape->stretches[i] = join(&shape->stretches[2 * i], &shape->stretches[2 * i + 1]);
      shape->n = SERIES_SHAPE_SIZE / 2;
      shape->width *= 2;
    }
    shape->stretches[shape->n++] = empty;
  }
  SeriesStretch *last = &shape->stretches[shape->n - 1];
  const SeriesStretch one = isfinite(value) ? (SeriesStretch){1, value, value, value, evidence}
                                            : (SeriesStretch){0, 0, INFINITY, -INFINITY, evidence};
  *last = join(last, &one);
  shape->n_rows++;
}
