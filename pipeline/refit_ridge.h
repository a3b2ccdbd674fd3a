/* The numbers of a refit: ridge regression and the one-dimensional calibration behind it. */
#pragma once

#include "pipeline/error.h"

G_BEGIN_DECLS

/* Weighted ridge regression with an intercept that is not penalised: coefficients [n_targets, n_columns + 1] (the
 * intercept last) minimise Σ w_i (t_i - h_i·c - c0)² + penalty Σ c². h [n, n_columns], targets [n, n_targets]
 * row-major; weights [n] or NULL. Cholesky (LAPACK dposv) in double on one thread. */
gboolean pipeline_ridge_solve(const float *h, const double *targets, const double *weights, gsize n, guint n_columns,
                              guint n_targets, double penalty, double *coefficients, GError **error);

/* gram [size, size] (upper triangle) = kept · gram + rowsᵀ rows and right [size, n_targets] = kept · right + rowsᵀ
 * targets; rows [n, size], targets [n, n_targets]. One thread. */
void pipeline_ridge_add_rows(const double *rows, const double *targets, gsize n, guint size, guint n_targets,
                             double kept, double *gram, double *right);
/* The last step of it: coefficients [n_targets, size] (size = n_columns + 1, the intercept last) from the sums gram
 * [size, size] (its upper triangle) = Σ w h hᵀ and right [size, n_targets] = Σ w h tᵀ, h with a 1 behind. Both are
 * overwritten. */
gboolean pipeline_ridge_solve_sums(double *gram, double *right, guint size, guint n_targets, double penalty,
                                   double *coefficients, GError **error);

/* p = 1 / (1 + exp(-(slope s + intercept))) fitted to labels 0/1 by Newton's method with Platt's target smoothing
 * (Platt 1999; Lin, Lin and Weng 2007), slope > 0. */
void pipeline_calibrate_binary(const double *scores, const guint8 *labels, const double *weights, gsize n,
                               double *slope, double *intercept);
/* The scale > 0 by which scores [n, n_classes] become logits of least log-loss, with the same smoothing. */
double pipeline_calibrate_scale(const double *scores, const guint *labels, const double *weights, gsize n,
                                guint n_classes);

G_END_DECLS
