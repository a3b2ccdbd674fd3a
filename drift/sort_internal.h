/* Places of values: what the sort of values (sort.c) and of rows (order.c) share.
 *
 * Where values are not too unevenly spread, a number that grows linearly with the value brings them into order but for
 * a few neighbours: two passes over two digits of it, where the bits of doubles, most of which are exponent, need more.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define DRIFT_DIGIT_BITS 11u
#define DRIFT_DIGITS (1u << DRIFT_DIGIT_BITS)
#define DRIFT_PLACES_FROM 4096u /* values: fewer do not pay for the tables */

typedef struct {
  double low, scale;
} DriftRuler;

/* FALSE: the values span nothing, or more than a double. n >= 1, no NaN. */
gboolean drift_ruler_init(DriftRuler *ruler, const double *values, gsize n);

/* Below DRIFT_DIGITS squared. Never falls as x rises: subtraction, multiplication and truncation do not. */
static inline guint32 drift_ruler_place(const DriftRuler *ruler, double x)
{
  return (guint32)(gint32)((x - ruler->low) * ruler->scale);
}

/* Counts of both digits, the lower first: [2 * DRIFT_DIGITS], zero before. FALSE: so many values share a place that
 * putting them in order afterwards would take longer than another sort. */
gboolean drift_ruler_count(const DriftRuler *ruler, const double *values, gsize n, guint32 *counts);
/* Counts of one digit become the positions where each of its values begin. */
void drift_ruler_begin(guint32 *counts);

G_END_DECLS
