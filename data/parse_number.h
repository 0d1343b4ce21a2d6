// A text as a number, all of it.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace proxent {

// "12" or "3e-4" as std::from_chars reads it; none if anything else stands before or behind it, or
// if it does not fit into T.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace proxent
