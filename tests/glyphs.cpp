#include "data/glyphs.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "data/typeface.h"
#include "tests/temp_folder.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

const fs::path kDejaVu = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

// Says so and returns false where the packages of the full set are missing.
bool has_all_faces() {
  try {
    glyph_dataset({.size = 1});
    return true;
  } catch (const DataError& error) {
    MESSAGE("skipped: ", error.message());
    return false;
  }
}

double total(const std::vector<std::uint8_t>& ink) {
  return std::accumulate(ink.begin(), ink.end(), 0.0) / 255;
}

TEST_SUITE("glyphs") {
  TEST_CASE("the set has the expected classes and families") {
    if (!has_all_faces()) return;
    const DatasetSplits splits = open_dataset({});
    CHECK(splits.train.classes() == 55);
    CHECK(splits.test.classes() == 40);
    CHECK(splits.train.size() > 9000);
    CHECK(splits.test.size() > 6000);
    CHECK(splits.train.class_names[0] == "A");
    CHECK(splits.test.class_names[39] == "Я");
    std::set<std::string> families;
    for (const Sample& sample : splits.test.samples) families.insert(sample.group);
    CHECK(families.size() >= 15);
    CHECK(families.contains("DejaVuSans"));
    for (const std::string& name : splits.train.class_names)
      CHECK(std::count(splits.test.class_names.begin(), splits.test.class_names.end(), name) == 0);
    // Every picture has contrast: at least a third of the range between paper and ink.
    for (std::int64_t i = 0; i < splits.test.size(); i += 97) {
      const Image image = splits.test.load(i);
      REQUIRE(image.width == 32);
      const auto [darkest, lightest] =
          std::minmax_element(image.pixels.begin(), image.pixels.end());
      CAPTURE(splits.test.samples[i].path);
      CHECK(*lightest - *darkest > 85);
    }
  }

  TEST_CASE("pictures depend on the seed and nothing else") {
    if (!has_all_faces()) return;
    const DatasetSplits one = glyph_dataset({.seed = 3, .threads = 1});
    const DatasetSplits four = glyph_dataset({.seed = 3, .threads = 4});
    CHECK(one.train.stored->pixels == four.train.stored->pixels);
    CHECK(one.test.stored->pixels == four.test.stored->pixels);
    CHECK(one.test.samples.back().path == four.test.samples.back().path);
    CHECK(glyph_dataset({.seed = 4}).test.stored->pixels != one.test.stored->pixels);
  }

  TEST_CASE("a picture does not change when other faces come or go") {
    if (!fs::exists(kDejaVu)) {
      MESSAGE("skipped: ", kDejaVu.string(), " is absent");
      return;
    }
    const TempFolder folder;
    fs::copy(kDejaVu, folder.path() / "b.ttf");
    const DatasetSplits alone = glyph_dataset({.face_folder = folder.path()});
    fs::copy(kDejaVu, folder.path() / "a.ttf");
    folder.write("c.otf", "not a font");
    folder.write("d.ttf", std::string(4096, 'x'));
    const DatasetSplits both = glyph_dataset({.face_folder = folder.path()});
    REQUIRE(both.train.size() == 2 * alone.train.size());
    CHECK(both.train.load(0) != alone.train.load(0));
    CHECK(both.train.load(alone.train.size()) == alone.train.load(0));
    CHECK(both.train.samples[0].group == "a");
    CHECK(both.train.samples[0].path == "a.ttf A");
  }

  TEST_CASE("missing packages are named") {
    const TempFolder folder;
    folder.write("truetype/dejavu/DejaVuSans.ttf", "x");
    const auto message = [](const GlyphOptions& options) {
      try {
        glyph_dataset(options);
      } catch (const Error& error) {
        return error.message();
      }
      return std::string("no error");
    };
    const std::string text = message({.system_fonts = folder.path()});
    CHECK(text.find("sudo apt-get install fonts-crosextra-carlito fonts-dejavu-extra ") !=
          std::string::npos);
    CHECK(text.find("dejavu-core") == std::string::npos);
    CHECK(message({.face_folder = folder.path() / "none"}).starts_with("glyphs: no .ttf or .otf"));
    CHECK(message({.size = 0}) == "glyphs: the size must be 1 to 96 pixels, got 0");
  }

  TEST_CASE("families join weights, widths, slopes and close relatives") {
    CHECK(face_family("x/LiberationSansNarrow-BoldItalic.ttf") == "LiberationSans");
    CHECK(face_family("FreeMonoBoldOblique.ttf") == "FreeMono");
    CHECK(face_family("DejaVuSansMono-Oblique.ttf") == "DejaVuSans");
    CHECK(face_family("Hack-Regular.ttf") == "DejaVuSans");
    CHECK(face_family("DejaVuSerifCondensed.ttf") == "DejaVuSerif");
    CHECK(face_family("LinLibertine_RZI.otf") == "LinLibertine");
    CHECK(face_family("EBGaramond08-Italic.otf") == "EBGaramond");
    CHECK(face_family("RobotoCondensed-Light.ttf") == "Roboto");
    CHECK(face_family("InterDisplay-Thin.otf") == "Inter");
  }

  TEST_CASE("a drawn character has its extent, place, turn and slant") {
    if (!fs::exists(kDejaVu)) {
      MESSAGE("skipped: ", kDejaVu.string(), " is absent");
      return;
    }
    const auto face = Typeface::open(kDejaVu);
    REQUIRE(face);
    CHECK(face->has(U'A'));
    CHECK(!face->has(U' '));
    CHECK(!face->has(U'\uE123'));  // private use: no such glyph
    CHECK_THROWS_AS(face->draw(U' ', {}), Error);
    // 'l' of a sans face is a bar, 24 pixels high and a few wide: its ink tells where it lies.
    const auto bar = face->draw(U'l', {.canvas = 32, .extent = 24});
    const double width = total(bar) / 24;
    CHECK(width > 2);
    CHECK(width < 4);
    CHECK(bar[16 * 32 + 16] == 255);
    CHECK(bar[3 * 32 + 16] == 0);
    CHECK(bar[4 * 32 + 16] == 255);
    CHECK(bar[27 * 32 + 16] == 255);
    CHECK(bar[28 * 32 + 16] == 0);
    const auto moved = face->draw(U'l', {.canvas = 32, .extent = 24, .dx = 5, .dy = -2});
    CHECK(moved[16 * 32 + 21] == 255);
    CHECK(moved[2 * 32 + 21] == 255);
    CHECK(moved[16 * 32 + 15] == 0);
    // A quarter turn makes it horizontal; the area stays (to the outline's 1/256 pixel).
    const auto turned = face->draw(U'l', {.canvas = 32, .extent = 24, .angle = 1.5707963267948966});
    CHECK(turned[16 * 32 + 5] == 255);
    CHECK(turned[5 * 32 + 16] == 0);
    CHECK(total(turned) == doctest::Approx(total(bar)).epsilon(0.02));
    // Slant 0.5: the top, 11 pixels above the centre, lies 5.5 pixels to the right.
    const auto slanted = face->draw(U'l', {.canvas = 32, .extent = 24, .slant = 0.5});
    CHECK(slanted[5 * 32 + 21] == 255);
    CHECK(slanted[26 * 32 + 10] == 255);
    CHECK(slanted[5 * 32 + 16] == 0);
    // Positive angles turn counter-clockwise: a bar's top goes left.
    const auto leaning = face->draw(U'l', {.canvas = 32, .extent = 24, .angle = 0.4});
    CHECK(leaning[6 * 32 + 12] > 128);
  }
}
}  // namespace
}  // namespace proxent
