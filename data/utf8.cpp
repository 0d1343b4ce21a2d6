#include "data/utf8.h"

#include <array>

namespace proxent {
namespace {

constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};  // of a length in bytes

bool is_code_point(char32_t c) { return c <= 0x10FFFF && (c < 0xD800 || c >= 0xE000); }

// What a first byte announces; 0 for a byte that is none.
std::size_t length_by(unsigned char first) {
  if (first < 0x80) return 1;
  return first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
}

}  // namespace

std::optional<CodePoint> code_point_at(std::string_view text, std::size_t i) {
  const auto first = static_cast<unsigned char>(text[i]);
  const std::size_t length = length_by(first);
  if (length == 0 || length > text.size() - i) return std::nullopt;
  char32_t value = length == 1 ? first : first & (0xFFu >> (length + 1));
  for (std::size_t k = 1; k < length; ++k) {
    const auto next = static_cast<unsigned char>(text[i + k]);
    if (next >> 6 != 2) return std::nullopt;
    value = value << 6 | (next & 0x3Fu);
  }
  if (value < kLeast[length] || !is_code_point(value)) return std::nullopt;
  return CodePoint{value, length};
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::optional<CodePoint> c = code_point_at(text, i);
    if (!c) return false;
    i += c->length;
  }
  return true;
}

void append_utf8(std::string& text, char32_t c) {
  if (!is_code_point(c)) c = 0xFFFD;
  std::size_t length = 1;
  while (length < 4 && c >= kLeast[length + 1]) ++length;
  constexpr std::array<unsigned, 5> kFirst{0, 0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(kFirst[length] | c >> (6 * (length - 1)));
  for (std::size_t k = length - 1; k-- > 0;)
    text += static_cast<char>(0x80 | (c >> (6 * k) & 0x3F));
}

}  // namespace proxent
