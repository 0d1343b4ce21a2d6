// UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace proxent {

struct CodePoint {
  char32_t value;
  std::size_t length;  // in bytes
};
// The one that begins at byte i; nothing where none does.
std::optional<CodePoint> code_point_at(std::string_view text, std::size_t i);
// Whether the bytes are UTF-8, as JSON, TOML and safetensors want theirs.
bool is_utf8(std::string_view text);
// What is no code point becomes U+FFFD.
void append_utf8(std::string& text, char32_t c);

}  // namespace proxent
