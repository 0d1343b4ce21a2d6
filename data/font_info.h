// What a font file says of itself. Unlike typeface.h, which trusts its files, this reads any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace proxent {

struct FontInfo {
  std::string family;           // UTF-8; empty where the file does not tell
  std::int64_t fonts = 1;       // in the file; what follows is of the first
  std::int64_t glyphs = 0;      // outlines
  std::int64_t characters = 0;  // of Unicode, that have a glyph
};

// Whether a file that starts so is a TrueType or OpenType font, or a collection of them.
bool is_font(std::string_view start);
// From the tables maxp, name and cmap (formats 4 and 12) of the OpenType specification. Throws
// DataError, naming `name`, where the file is truncated or damaged.
FontInfo inspect_font(std::span<const std::uint8_t> bytes, std::string_view name);

}  // namespace proxent
