#include "data/typeface.h"

#define STBTT_STATIC
#ifndef __clang_analyzer__  // it finds leaks in there that are not ours to mend
#define STB_TRUETYPE_IMPLEMENTATION
#endif
#include <stb_truetype.h>

#include <algorithm>
#include <cmath>

#include "data/image.h"

namespace proxent {

struct Typeface::Font {
  std::vector<std::uint8_t> file;  // stbtt_fontinfo points into it
  stbtt_fontinfo info{};

  int glyph(char32_t character) const {
    return stbtt_FindGlyphIndex(&info, static_cast<int>(character));
  }
};

Typeface::Typeface(std::unique_ptr<Font> font) : font_(std::move(font)) {}
Typeface::~Typeface() = default;
Typeface::Typeface(Typeface&&) noexcept = default;
Typeface& Typeface::operator=(Typeface&&) noexcept = default;

std::optional<Typeface> Typeface::open(const std::filesystem::path& path) {
  auto font = std::make_unique<Font>();
  font->file = read_file(path);
  if (font->file.size() < 1024) return std::nullopt;  // no font; its tables would be read blindly
  const int offset = stbtt_GetFontOffsetForIndex(font->file.data(), 0);
  if (offset < 0 || !stbtt_InitFont(&font->info, font->file.data(), offset)) return std::nullopt;
  return Typeface(std::move(font));
}

bool Typeface::has(char32_t character) const {
  const int glyph = font_->glyph(character);
  if (glyph == 0 || stbtt_IsGlyphEmpty(&font_->info, glyph)) return false;
  int x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  return stbtt_GetGlyphBox(&font_->info, glyph, &x0, &y0, &x1, &y1) && x1 > x0 && y1 > y0;
}

std::vector<std::uint8_t> Typeface::draw(char32_t character, const GlyphPlacement& at) const {
  const int glyph = font_->glyph(character);
  int x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  check(has(character) && stbtt_GetGlyphBox(&font_->info, glyph, &x0, &y0, &x1, &y1),
        "typeface: no character ", static_cast<std::uint32_t>(character));
  stbtt_vertex* outline = nullptr;
  const int count = stbtt_GetGlyphShape(&font_->info, glyph, &outline);
  const std::unique_ptr<stbtt_vertex, void (*)(stbtt_vertex*)> owner(
      outline, [](stbtt_vertex* v) { std::free(v); });

  // The outline itself is turned, in 1/256 pixel, and filled once: no resampling, no blur.
  constexpr double kUnits = 256;
  // One pixel down and a canvas that begins there: stb clips outlines at the top only if it is not
  // 0.
  constexpr int kShift = 1;
  const double scale = at.extent / std::max(x1 - x0, y1 - y0);
  const double center_x = (x0 + x1) / 2., center_y = (y0 + y1) / 2.;
  const double cosine = std::cos(at.angle), sine = std::sin(at.angle);
  const auto place = [&](stbtt_vertex_type& x, stbtt_vertex_type& y) {
    const double right = (x - center_x) * scale + at.dx, down = (center_y - y) * scale + at.dy;
    const double turned_x = cosine * right + sine * down, turned_y = cosine * down - sine * right;
    const double half = static_cast<double>(at.canvas) / 2;
    const auto units = [&](double v) {
      return static_cast<stbtt_vertex_type>(
          std::lround(std::clamp((v + half) * kUnits, -32767.0, 32767.0)));
    };
    x = units(turned_x - at.slant * turned_y);
    y = units(turned_y + kShift);
  };
  for (stbtt_vertex* v = outline; v != outline + count; ++v) {
    place(v->x, v->y);
    place(v->cx, v->cy);
    place(v->cx1, v->cy1);
  }
  std::vector<std::uint8_t> ink(at.canvas * at.canvas);
  const int side = static_cast<int>(at.canvas);
  stbtt__bitmap bitmap{side, side, side, ink.data()};
  stbtt_Rasterize(&bitmap, 0.1f, outline, count, 1 / kUnits, 1 / kUnits, 0, 0, 0, kShift,
                  /*invert=*/0, nullptr);
  return ink;
}

}  // namespace proxent
