// What several runs say together: mean, standard deviation, and the interval that holds the mean of
// all such runs with 95 % confidence.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace proxent {

struct Statistic {
  std::int64_t n = 0;
  double mean = 0;
  // Of the population the values are drawn from: sqrt(sum (x - mean)^2 / (n - 1)); none for n = 1.
  std::optional<double> deviation = std::nullopt;
  // Half of the interval mean +- t_{0.975, n-1} deviation / sqrt(n), which assumes values drawn
  // from one normal distribution; none for n = 1.
  std::optional<double> half_width = std::nullopt;
};

// Throws Error for no values; a value that is not finite makes everything NaN.
Statistic statistic_of(std::span<const double> values);

// The t with P(T <= t) = p for Student's distribution with `degrees` >= 1 degrees of freedom,
// 0 < p < 1; to 1e-10 (Abramowitz and Stegun, 26.7.3 and 26.7.4). Throws Error outside.
double student_t_quantile(double p, std::int64_t degrees);

}  // namespace proxent
