/* Where the error rate of a series changed: the Bernoulli generalised likelihood ratio over all splits.
 * Source: D. Siegmund and E. S. Venkatraman, Annals of Statistics 23 (1995) 255, for the statistic. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* max over splits k of k*kl(p1||p) + (n-k)*kl(p2||p), p1 and p2 the error rates of errors[0..k) and errors[k..n), p
 * that of all n. `errors` [n]: 0 right, anything else wrong. Only splits with at least `minimum_side` values on each
 * side (0 counts as 1) and, with `rises_only`, p2 > p1 are looked at. *split = k, the index of the first value after
 * the change; of equal splits the earliest. *statistic is in nats; 0 with *split = 0 when no admissible split rises.
 * FALSE, outputs untouched: n < 2 * minimum_side. Cost O(n); allocates n doubles. */
gboolean drift_glr(const guint8 *errors, guint n, guint minimum_side, gboolean rises_only, double *statistic,
                   guint *split);

/* How much autocorrelation inflates the variance of means of blocks of 25 errors: von Neumann's successive differences
 * of the block means (Annals of Mathematical Statistics 12 (1941) 367), so that a shift of level counts little, over
 * the binomial variance; within [1, 20]. NaN with fewer than 200 errors, or one that is not known (above 1) among them.
 */
double drift_error_autocorrelation(const guint8 *errors, guint n);

G_END_DECLS
