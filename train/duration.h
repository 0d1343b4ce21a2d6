// Spans of training with a unit, as flags and configuration files write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace proxent {

// "500it", "1.5ep", "30s", "10min", "3h50m". "0" means never or none, whatever the unit.
struct Duration {
  enum class Unit { iterations, epochs, seconds };
  double amount = 0;
  Unit unit = Unit::iterations;

  bool is_zero() const { return amount == 0; }
  bool is_time() const { return !is_zero() && unit == Unit::seconds; }
  // In optimizer steps, rounded to the nearest, at least 1 unless zero. Throws UsageError for a
  // span of time, which no number of steps equals.
  std::int64_t steps(double steps_per_epoch) const;
  bool operator==(const Duration&) const = default;
};

// Throws UsageError that lists the units.
Duration parse_duration(std::string_view text);
// Parses back to the same value: "500it", "1.5ep", "3h50min".
std::string to_text(const Duration& duration);

}  // namespace proxent
