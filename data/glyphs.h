// The glyph data set: characters drawn in every installed typeface. A class is a character; the
// training classes are Latin letters, digits and signs, the test classes Greek and Cyrillic
// letters.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "data/dataset.h"

namespace proxent {

struct GlyphOptions {
  std::uint64_t seed = 1;
  std::int64_t size = 32;  // pixels of a side
  int threads = 0;         // 0: as many as the machine has; the pictures do not depend on it
  // Empty: the faces of a fixed list of Debian packages, so that machines agree. Else every .ttf
  // and .otf below the folder.
  std::filesystem::path face_folder{};
  std::filesystem::path system_fonts = "/usr/share/fonts";  // where the packages put their files
};

// One picture per face and character that the face has, in the order of the faces' paths: random
// size, place, turn, slant, ink and paper, a gradient and noise. A picture depends on the seed, its
// face's file name and its character only. `group` is the design family, since a query must be
// found among other designs than its own. DataError naming the apt packages to install when faces
// are missing.
DatasetSplits glyph_dataset(const GlyphOptions& options = {});

// "LiberationSansNarrow-BoldItalic.ttf" -> "LiberationSans": the file name without weight, width
// and slope; faces drawn from one another (DejaVu Sans, its Mono, and Hack) share a family.
std::string face_family(const std::filesystem::path& face);

}  // namespace proxent
