#include "data/contact_sheet.h"

#include <algorithm>
#include <array>

#include "data/transform.h"

namespace proxent {
namespace {

using Color = std::array<std::uint8_t, 3>;

Color color_of(Frame frame) {
  switch (frame) {
    case Frame::green:
      return {34, 160, 60};
    case Frame::red:
      return {214, 48, 49};
    case Frame::blue:
      return {37, 99, 235};
    case Frame::none:
      break;
  }
  return {255, 255, 255};
}

void fill(Image& sheet, CropBox box, Color color) {
  for (std::int64_t y = box.top; y < box.top + box.height; ++y)
    for (std::int64_t x = box.left; x < box.left + box.width; ++x)
      std::copy(color.begin(), color.end(), sheet.pixel(y, x));
}

void paste(Image& sheet, std::int64_t top, std::int64_t left, const Image& image) {
  for (std::int64_t y = 0; y < image.height; ++y)
    std::copy_n(image.pixel(y, 0), image.width * Image::kChannels, sheet.pixel(top + y, left));
}

// Each pixel becomes a square of factor x factor.
Image enlarged(const Image& image, std::int64_t factor) {
  Image out(image.height * factor, image.width * factor);
  for (std::int64_t y = 0; y < out.height; ++y)
    for (std::int64_t x = 0; x < out.width; ++x)
      std::copy_n(image.pixel(y / factor, x / factor), Image::kChannels, out.pixel(y, x));
  return out;
}

Image fitted(const Image& image, std::int64_t cell) {
  const std::int64_t longer = std::max(image.height, image.width);
  if (longer <= cell) return enlarged(image, cell / longer);
  return resize_bilinear(image, std::max<std::int64_t>(1, image.height * cell / longer),
                         std::max<std::int64_t>(1, image.width * cell / longer));
}

}  // namespace

Image contact_sheet(const std::vector<std::vector<SheetCell>>& rows, const SheetOptions& options) {
  check(options.cell > 0 && options.frame >= 0 && options.gap >= 0 && options.first_gap >= 0,
        "contact_sheet: cells need a positive size and no other size may be negative");
  std::size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, row.size());
  check(columns > 0, "contact_sheet: there are no pictures to show");

  const std::int64_t outer = options.cell + 2 * options.frame;
  const std::int64_t step = outer + options.gap;
  const std::int64_t extra = columns > 1 ? options.first_gap - options.gap : 0;
  Image sheet(options.gap + step * static_cast<std::int64_t>(rows.size()),
              options.gap + step * static_cast<std::int64_t>(columns) + extra, 255);
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      const SheetCell& cell = rows[r][c];
      if (cell.image.pixels.empty()) continue;
      const Image picture = fitted(cell.image, options.cell);
      const std::int64_t top = options.gap + step * static_cast<std::int64_t>(r) + options.frame +
                               (options.cell - picture.height) / 2;
      const std::int64_t left = options.gap + step * static_cast<std::int64_t>(c) +
                                (c > 0 ? extra : 0) + options.frame +
                                (options.cell - picture.width) / 2;
      const std::int64_t edge = 2 * options.frame;
      fill(sheet,
           {top - options.frame, left - options.frame, picture.height + edge, picture.width + edge},
           color_of(cell.frame));
      paste(sheet, top, left, picture);
    }
  return sheet;
}

}  // namespace proxent
