#include "drift/cbpe_internal.h"

#include <math.h>

#include "drift/order.h"

static gboolean has_all(const DriftCbpeRows *rows, gsize row, guint needs)
{
  if (needs & CBPE_NEEDS_PREDICTION && rows->predicted[row] == DRIFT_CODE_MISSING) return FALSE;
  if (needs & CBPE_NEEDS_TRUTH && rows->truth[row] == DRIFT_CODE_MISSING) return FALSE;
  for (guint s = 0; needs & CBPE_NEEDS_SCORES && s < rows->n_scores; s++)
    if (isnan(rows->scores[s][row])) return FALSE;
  return TRUE;
}

static gboolean all_known(const guint32 *classes, gsize n)
{
  guint32 missing = 0;
  for (gsize i = 0; i < n; i++) missing |= classes[i] == DRIFT_CODE_MISSING;
  return missing == 0;
}

static gboolean no_holes(const double *numbers, gsize n)
{
  guint32 holes = 0;
  for (gsize i = 0; i < n; i++) holes |= isnan(numbers[i]) != 0;
  return holes == 0;
}

/* Whether no row lacks anything, column by column: the common case, where nothing has to be copied. */
static gboolean all_have_all(const DriftCbpeRows *rows, gsize first, gsize n, guint needs)
{
  if (needs & CBPE_NEEDS_PREDICTION && !all_known(rows->predicted + first, n)) return FALSE;
  if (needs & CBPE_NEEDS_TRUTH && !all_known(rows->truth + first, n)) return FALSE;
  for (guint s = 0; needs & CBPE_NEEDS_SCORES && s < rows->n_scores; s++)
    if (!no_holes(rows->scores[s] + first, n)) return FALSE;
  return TRUE;
}

/* The rows that have all, counted from first; NULL: every row. */
static guint32 *rows_with_all(const DriftCbpeRows *rows, gsize first, gsize n, guint needs, gsize *n_kept)
{
  *n_kept = n;
  if (all_have_all(rows, first, n, needs)) return NULL;
  guint32 *kept = g_new(guint32, n + 1);
  *n_kept = 0;
  for (gsize i = 0; i < n; i++)
    if (has_all(rows, first + i, needs)) kept[(*n_kept)++] = (guint32)i;
  return kept;
}

static gpointer keep(CbpeView *view, gpointer memory)
{
  g_ptr_array_add(view->copies, memory);
  return memory;
}

static const double *pick_numbers(CbpeView *view, const double *column, gsize first, const guint32 *kept)
{
  if (kept == NULL) return column + first;
  double *copy = keep(view, g_new(double, view->n + 1));
  for (gsize i = 0; i < view->n; i++) copy[i] = column[first + kept[i]];
  return copy;
}

static const guint32 *pick_classes(CbpeView *view, const guint32 *column, gsize first, const guint32 *kept)
{
  if (column == NULL || kept == NULL) return column != NULL ? column + first : NULL;
  guint32 *copy = keep(view, g_new(guint32, view->n + 1));
  for (gsize i = 0; i < view->n; i++) copy[i] = column[first + kept[i]];
  return copy;
}

static const double *indicator(CbpeView *view, guint32 class)
{
  double *ones = keep(view, g_new(double, view->n + 1));
  for (gsize i = 0; i < view->n; i++) ones[i] = view->truth[i] == class ? 1 : 0;
  return ones;
}

CbpeView *cbpe_view_new(const DriftCbpeRows *rows, gsize first, gsize n, guint needs, double *const *calibrated)
{
  CbpeView *view = g_new0(CbpeView, 1);
  g_autofree guint32 *picked = rows_with_all(rows, first, n, needs, &view->n);
  view->copies = g_ptr_array_new_with_free_func(g_free);
  view->n_scores = rows->n_scores;
  view->n_classes = MAX(rows->n_scores, 2);
  view->realized = calibrated == NULL;
  view->predicted = pick_classes(view, rows->predicted, first, picked);
  view->truth = pick_classes(view, rows->truth, first, picked);
  view->raw = g_new(const double *, rows->n_scores);
  view->positive = g_new(const double *, rows->n_scores);
  view->orders = g_new0(guint32 *, rows->n_scores);
  for (guint s = 0; s < rows->n_scores; s++) {
    view->raw[s] = pick_numbers(view, rows->scores[s], first, picked);
    view->positive[s] = calibrated != NULL ? pick_numbers(view, calibrated[s], first, picked)
                                           : indicator(view, rows->n_scores == 1 ? 1 : s);
  }
  return view;
}

void cbpe_view_free(CbpeView *view)
{
  if (view == NULL) return;
  for (guint s = 0; s < view->n_scores; s++) g_free(view->orders[s]);
  g_free(view->orders);
  g_free(view->confusions);
  g_free(view->raw);
  g_free(view->positive);
  g_ptr_array_unref(view->copies);
  g_free(view);
}

const guint32 *cbpe_view_order(CbpeView *view, guint score)
{
  if (view->orders[score] == NULL) {
    guint32 *order = g_new(guint32, view->n + 1);
    if (!drift_order(view->raw[score], view->n, order)) {
      g_free(order);
      return NULL;
    }
    view->orders[score] = order;
  }
  return view->orders[score];
}

const DriftConfusion *cbpe_view_confusion(CbpeView *view, guint column)
{
  if (view->confusions == NULL) {
    view->confusions = g_new(DriftConfusion, view->n_scores);
    for (guint s = 0; s < view->n_scores; s++)
      view->confusions[s] =
          drift_cbpe_confusion(view->positive[s], view->predicted, view->n_scores == 1 ? 1 : s, view->n);
  }
  return &view->confusions[column];
}

CbpeView *cbpe_views_get(CbpeViews *views, guint needs)
{
  if (views->views[needs] == NULL)
    views->views[needs] = cbpe_view_new(views->rows, views->first, views->n, needs, views->calibrated);
  return views->views[needs];
}

void cbpe_views_clear(CbpeViews *views)
{
  for (guint needs = 0; needs < G_N_ELEMENTS(views->views); needs++)
    g_clear_pointer(&views->views[needs], cbpe_view_free);
}
