#include "train/duration.h"

#include <charconv>
#include <cmath>

#include "tensor/check.h"

namespace proxent {
namespace {

struct UnitName {
  std::string_view name;
  Duration::Unit unit;
  double factor;
};
constexpr UnitName kUnits[] = {
    {"it", Duration::Unit::iterations, 1}, {"ep", Duration::Unit::epochs, 1},
    {"s", Duration::Unit::seconds, 1},     {"min", Duration::Unit::seconds, 60},
    {"m", Duration::Unit::seconds, 60},    {"h", Duration::Unit::seconds, 3600},
    {"d", Duration::Unit::seconds, 86400},
};

[[noreturn]] void refuse(std::string_view text) {
  fail<UsageError>("expected a number with its unit, as 500it, 1.5ep, 30s, 10min or 3h50m, got '",
                   text, "'");
}

const UnitName& unit_named(std::string_view name, std::string_view text) {
  for (const UnitName& unit : kUnits)
    if (unit.name == name) return unit;
  refuse(text);
}

// Shortest digits without an exponent, whose 'e' would read as the unit "ep".
std::string plain_digits(double amount) {
  char buffer[400];
  return {buffer,
          std::to_chars(buffer, buffer + sizeof buffer, amount, std::chars_format::fixed).ptr};
}

}  // namespace

std::int64_t Duration::steps(double steps_per_epoch) const {
  if (is_zero()) return 0;
  check<UsageError>(unit != Unit::seconds, "expected iterations or epochs (500it, 1ep), got ",
                    to_text(*this));
  const double steps = unit == Unit::epochs ? amount * steps_per_epoch : amount;
  return std::max<std::int64_t>(1, std::llround(steps));
}

Duration parse_duration(std::string_view text) {
  if (text == "0" || text == "never") return {};
  Duration total;
  std::string_view rest = text;
  bool is_first = true;
  while (!rest.empty()) {
    double amount = 0;
    const auto [end, error] =
        std::from_chars(rest.data(), rest.data() + rest.size(), amount, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(amount) || amount < 0) refuse(text);
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    const auto letters = std::min(rest.find_first_of("0123456789.-"), rest.size());
    const UnitName& unit = unit_named(rest.substr(0, letters), text);
    rest.remove_prefix(letters);
    // Only time may be given in parts: 3h50m.
    const bool is_part = !is_first && unit.unit == Duration::Unit::seconds;
    if (!is_first && (!is_part || total.unit != Duration::Unit::seconds)) refuse(text);
    total.amount += amount * unit.factor;
    total.unit = unit.unit;
    is_first = false;
  }
  if (is_first) refuse(text);
  if (total.is_zero()) return {};
  return total;
}

std::string to_text(const Duration& duration) {
  if (duration.is_zero()) return "0";
  if (duration.unit == Duration::Unit::iterations) return plain_digits(duration.amount) + "it";
  if (duration.unit == Duration::Unit::epochs) return plain_digits(duration.amount) + "ep";
  const double seconds = duration.amount;
  const auto whole = static_cast<std::int64_t>(seconds);
  if (static_cast<double>(whole) != seconds || whole > 1'000'000'000)
    return plain_digits(seconds) + "s";
  std::string text;
  const std::int64_t hours = whole / 3600, minutes = whole / 60 % 60, rest = whole % 60;
  if (hours) text += std::to_string(hours) + "h";
  if (minutes) text += std::to_string(minutes) + "min";
  if (rest) text += std::to_string(rest) + "s";
  return text;
}

}  // namespace proxent
