// Pictures side by side in one picture: queries with their nearest neighbours, right ones in green.
#pragma once

#include <vector>

#include "data/image.h"

namespace proxent {

enum class Frame : std::uint8_t { none, green, red, blue };

struct SheetCell {
  Image image;  // any size; an empty picture leaves the cell white
  Frame frame = Frame::none;
};

struct SheetOptions {
  std::int64_t cell = 96;       // pixels of a picture's longer side
  std::int64_t frame = 4;       // thickness around each picture, white for Frame::none
  std::int64_t gap = 6;         // white between cells and around the sheet
  std::int64_t first_gap = 18;  // white after the first column, which sets the query apart
};

// One row of cells per row of pictures, on white; rows may differ in length. Pictures keep their
// aspect and are centred in their cell; small ones grow by whole factors so that pixels stay sharp.
// Throws when there is nothing to show, a cell has no size or a gap is negative.
Image contact_sheet(const std::vector<std::vector<SheetCell>>& rows,
                    const SheetOptions& options = {});

}  // namespace proxent
