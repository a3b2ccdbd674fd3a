#include "drift/distributions.h"

#include <cmath>
#include <limits>

#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/fisher_f.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

namespace
{

using boost::math::cdf;
using boost::math::complement;
using boost::math::quantile;

/* Callers are C: an exception must not cross, and a domain error is an undefined result, not a failure. */
template <typename Function> double nan_if_undefined(Function function) noexcept
{
  try {
    return function();
  } catch (...) {
    return std::numeric_limits<double>::quiet_NaN();
  }
}

} // namespace

double drift_normal_sf(double x)
{
  return nan_if_undefined([=] { return cdf(complement(boost::math::normal(), x)); });
}

double drift_normal_quantile(double probability)
{
  return nan_if_undefined([=] { return quantile(boost::math::normal(), probability); });
}

double drift_chi_squared_sf(double x, double degrees_of_freedom)
{
  if (std::isinf(x)) return x > 0 ? 0 : 1;
  return nan_if_undefined([=] { return cdf(complement(boost::math::chi_squared(degrees_of_freedom), x)); });
}

double drift_chi_squared_quantile(double probability, double degrees_of_freedom)
{
  return nan_if_undefined([=] { return quantile(boost::math::chi_squared(degrees_of_freedom), probability); });
}

double drift_student_t_sf(double x, double degrees_of_freedom)
{
  if (std::isinf(x)) return x > 0 ? 0 : 1;
  return nan_if_undefined([=] { return cdf(complement(boost::math::students_t(degrees_of_freedom), x)); });
}

double drift_fisher_f_sf(double x, double degrees_of_freedom1, double degrees_of_freedom2)
{
  if (std::isinf(x)) return x > 0 ? 0 : 1;
  return nan_if_undefined(
      [=] { return cdf(complement(boost::math::fisher_f(degrees_of_freedom1, degrees_of_freedom2), x)); });
}

double drift_beta_cdf(double x, double a, double b)
{
  return nan_if_undefined([=] { return cdf(boost::math::beta_distribution<>(a, b), x); });
}

double drift_beta_quantile(double probability, double a, double b)
{
  return nan_if_undefined([=] { return quantile(boost::math::beta_distribution<>(a, b), probability); });
}

double drift_binomial_tail(double count, double trials, double probability)
{
  if (count <= 0) return trials >= 0 ? 1 : std::numeric_limits<double>::quiet_NaN();
  if (count > trials) return 0;
  return nan_if_undefined([=] { return cdf(complement(boost::math::binomial(trials, probability), count - 1)); });
}
