#include "train/running_spread.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace proxent {

void RunningSpread::add(double value) {
  ++count_;
  const double share = 1.0 / static_cast<double>(std::min(count_, kWindow));
  const double distance = value - mean_;
  mean_ += share * distance;
  variance_ = (1 - share) * (variance_ + share * distance * distance);
}

std::optional<double> RunningSpread::z_score(double value) const {
  if (count_ < kLeast || variance_ <= 0) return std::nullopt;
  return (value - mean_) / std::sqrt(variance_);
}

std::string RunningSpread::text() const {
  return fmt::format("{} {} {}", count_, mean_, variance_);
}

std::optional<RunningSpread> RunningSpread::from_text(std::string_view text) {
  RunningSpread spread;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  bool is_read = true;
  const auto read = [&](auto& number) {
    const auto [stop, error] = std::from_chars(at, end, number);
    is_read = is_read && error == std::errc();
    at = stop != end && *stop == ' ' ? stop + 1 : stop;
  };
  read(spread.count_);
  read(spread.mean_);
  read(spread.variance_);
  if (!is_read || at != end || spread.count_ < 0) return std::nullopt;
  return spread;
}

}  // namespace proxent
