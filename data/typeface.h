// One font file: which characters it has, and drawing them turned, slanted and scaled.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace proxent {

// How a character is put on a square canvas: scaled so that the longer side of its box is `extent`
// pixels, centred, moved, turned about the canvas' centre, then slanted.
struct GlyphPlacement {
  std::int64_t canvas = 32;  // pixels
  double extent = 24;        // pixels
  double dx = 0, dy = 0;     // pixels, right and down
  double angle = 0;          // radians, counter-clockwise
  double slant = 0;          // pixels to the left per pixel below the centre
};

// Font files are trusted: stb_truetype does not check them.
class Typeface {
 public:
  // Nothing when the file is not a TrueType or OpenType font.
  static std::optional<Typeface> open(const std::filesystem::path& path);
  ~Typeface();
  Typeface(Typeface&&) noexcept;
  Typeface& operator=(Typeface&&) noexcept;

  // Whether the character has an outline of its own (neither missing nor blank).
  bool has(char32_t character) const;
  // Ink from 0 to 255 by exact area, (canvas, canvas). The character must be there.
  std::vector<std::uint8_t> draw(char32_t character, const GlyphPlacement& placement) const;

 private:
  struct Font;
  explicit Typeface(std::unique_ptr<Font> font);
  std::unique_ptr<Font> font_;
};

}  // namespace proxent
