/* The probability laws, from Boost.Math (the only file that includes it is distributions.cpp). Outside a law's domain
 * the result is NaN; nothing throws. sf is the survival function P(X > x), cdf is P(X <= x). */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

double drift_normal_sf(double x);
double drift_normal_quantile(double probability);
double drift_chi_squared_sf(double x, double degrees_of_freedom);
double drift_chi_squared_quantile(double probability, double degrees_of_freedom);
double drift_student_t_sf(double x, double degrees_of_freedom);
double drift_fisher_f_sf(double x, double degrees_of_freedom1, double degrees_of_freedom2);
double drift_beta_cdf(double x, double a, double b);
double drift_beta_quantile(double probability, double a, double b);
/* P(X >= count), X binomial(trials, probability); counts are whole numbers held in doubles. */
double drift_binomial_tail(double count, double trials, double probability);

#ifdef __cplusplus
}
#endif
