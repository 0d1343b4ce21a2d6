#include "train/statistics.h"

#include <cmath>
#include <numbers>

#include "tensor/check.h"

namespace proxent {
namespace {

// P(|T| < sqrt(degrees) tan(angle)), a finite sum in the angle:
//   even degrees  sin (1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ... + up to cos^(degrees - 2))
//   odd degrees   2/pi (angle + sin (cos + 2/3 cos^3 + 2*4/(3*5) cos^5 + ... + cos^(degrees - 2)))
double two_sided_share(double angle, std::int64_t degrees) {
  const bool is_odd = degrees % 2 == 1;
  const double cosine = std::cos(angle);
  double term = is_odd ? cosine : 1, sum = 0;
  for (std::int64_t power = is_odd ? 1 : 0; power <= degrees - 2; power += 2) {
    sum += term;
    const auto i = static_cast<double>(power);
    term *= (i + 1) / (i + 2) * cosine * cosine;
  }
  const double share = std::sin(angle) * sum;
  return is_odd ? 2 / std::numbers::pi * (angle + share) : share;
}

}  // namespace

double student_t_quantile(double p, std::int64_t degrees) {
  check(p > 0 && p < 1 && degrees >= 1, "student_t_quantile: expected 0 < p < 1 and at least 1 ",
        "degree of freedom, got p = ", p, " and ", degrees);
  // Halving the angle's interval: the share grows with it from 0 to 1.
  double low = 0, high = std::numbers::pi / 2;
  const double share = std::abs(2 * p - 1);
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (two_sided_share(middle, degrees) < share ? low : high) = middle;
  }
  const double t = std::sqrt(static_cast<double>(degrees)) * std::tan((low + high) / 2);
  return p < 0.5 ? -t : t;
}

Statistic statistic_of(std::span<const double> values) {
  check(!values.empty(), "statistic_of: there are no values");
  Statistic result{.n = std::ssize(values)};
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  if (result.n == 1) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.deviation = std::sqrt(squares / (n - 1));
  result.half_width = student_t_quantile(0.975, result.n - 1) * *result.deviation / std::sqrt(n);
  return result;
}

}  // namespace proxent
