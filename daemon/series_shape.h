/* A series of any length as at most SERIES_SHAPE_SIZE stretches of equal length, made as it passes: for pictures. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define SERIES_SHAPE_SIZE 512

typedef struct {
  guint64 n; /* finite values */
  double sum, minimum, maximum;
  double evidence; /* the largest; NaN: none */
} SeriesStretch;

/* Start with zeros and width 1. */
typedef struct {
  guint64 n_rows, width; /* rows a stretch, a power of two */
  guint n;
  SeriesStretch stretches[SERIES_SHAPE_SIZE];
} SeriesShape;

/* The next row; a value that is not finite is a row without a value. evidence NaN: none. */
void series_shape_add(SeriesShape *shape, double value, double evidence);

G_END_DECLS
