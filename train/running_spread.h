// How unusual the next value of a series is: the z-score of a loss or a gradient norm.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace proxent {

// Mean and variance of the values so far: of all of them up to kWindow, then averages that forget
// at the rate 1 / kWindow.
class RunningSpread {
 public:
  static constexpr std::int64_t kWindow = 64;
  static constexpr std::int64_t kLeast = 16;  // values before it says anything

  void add(double value);
  // (value - mean) / standard deviation. Nothing before kLeast values, or where they were equal.
  std::optional<double> z_score(double value) const;

  // "37 1.25 0.5": count, mean, variance, read back to the same bits.
  std::string text() const;
  // Nothing for another text.
  static std::optional<RunningSpread> from_text(std::string_view text);
  bool operator==(const RunningSpread&) const = default;

 private:
  std::int64_t count_ = 0;
  double mean_ = 0, variance_ = 0;
};

}  // namespace proxent
