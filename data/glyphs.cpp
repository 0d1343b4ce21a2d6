#include "data/glyphs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include "data/parallel.h"
#include "data/typeface.h"
#include "data/utf8.h"
#include "tensor/random.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

// Without the letters whose two cases are one shape at two sizes (C c, O o, S s, ...).
constexpr std::u32string_view kTrainCharacters =
    U"ABDEFGHIJLMNQRTUYabdefghijklmnqrtuy0123456789&@#$%?!§€£";
constexpr std::u32string_view kTestCharacters = U"ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψωБДЖЗИЛЦЧШЩЫЭЮЯ";

struct FontPackage {
  std::string_view name, folder;  // Debian package, folder below /usr/share/fonts
  std::string_view probe;         // a file that only this package installs; empty: any face
};
constexpr std::array kFontPackages{
    FontPackage{"fonts-crosextra-carlito", "truetype/crosextra", "Carlito-Regular.ttf"},
    FontPackage{"fonts-dejavu-core", "truetype/dejavu", "DejaVuSans.ttf"},
    FontPackage{"fonts-dejavu-extra", "truetype/dejavu", "DejaVuSans-Oblique.ttf"},
    FontPackage{"fonts-ebgaramond", "opentype/ebgaramond", ""},
    FontPackage{"fonts-freefont-ttf", "truetype/freefont", ""},
    FontPackage{"fonts-hack", "truetype/hack", ""},
    FontPackage{"fonts-inter", "opentype/inter", ""},
    FontPackage{"fonts-jetbrains-mono", "truetype/jetbrains-mono", ""},
    FontPackage{"fonts-lato", "truetype/lato", ""},
    FontPackage{"fonts-liberation", "truetype/liberation", ""},
    FontPackage{"fonts-linuxlibertine", "opentype/linux-libertine", ""},
    FontPackage{"fonts-open-sans", "truetype/open-sans", ""},
    FontPackage{"fonts-roboto-unhinted", "truetype/roboto/unhinted", ""},
};

std::string utf8(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return text;
}

// Faces whose letters are no letters: mathematics, symbols, key caps (Biolinum's _K), initials.
bool is_text_face(const fs::path& path) {
  const std::string extension = path.extension().string(), stem = path.stem().string();
  if (extension != ".ttf" && extension != ".otf") return false;
  for (const char* word : {"Math", "Symbol", "Dingbat", "Keyboard", "Initials"})
    if (stem.find(word) != std::string::npos) return false;
  return stem != "LinBiolinum_K" && stem != "LinLibertine_I";
}

// The text faces below a folder, which need not exist.
void add_faces(const fs::path& folder, std::set<fs::path>& faces) {
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (is_text_face(entry->path())) faces.insert(entry->path());
}

// Sorted by path.
std::vector<fs::path> find_faces(const GlyphOptions& options) {
  std::set<fs::path> faces;
  if (!options.face_folder.empty()) {
    add_faces(options.face_folder, faces);
    check<DataError>(!faces.empty(), "glyphs: no .ttf or .otf files below ",
                     options.face_folder.string());
    return {faces.begin(), faces.end()};
  }
  std::string missing;
  for (const FontPackage& package : kFontPackages) {
    std::set<fs::path> found;
    add_faces(options.system_fonts / package.folder, found);
    const bool is_installed =
        package.probe.empty() ? !found.empty()
                              : fs::exists(options.system_fonts / package.folder / package.probe);
    if (!is_installed) missing.append(" ").append(package.name);
    faces.merge(found);
  }
  check<DataError>(missing.empty(), "glyphs: typefaces are missing below ",
                   options.system_fonts.string(), "; on Debian and Ubuntu: sudo apt-get install",
                   missing);
  return {faces.begin(), faces.end()};
}

// Four bytes of a word added up: a bell of mean 510 and variance 4 (256^2 - 1) / 12, in integers,
// so that it is the same on every machine.
double bell(std::uint32_t word) {
  const int sum =
      static_cast<int>((word & 255) + (word >> 8 & 255) + (word >> 16 & 255) + (word >> 24));
  return (sum - 510) / 147.8;
}

// Ink on paper: paper + (ink - paper) * coverage, a gradient over the paper, noise over all.
void paint(const std::vector<std::uint8_t>& coverage, std::int64_t size, Philox& random,
           std::uint8_t* out) {
  const double ink = random.uniform();
  double paper = random.uniform();
  while (std::abs(ink - paper) < 0.35) paper = random.uniform();
  const double gradient = random.uniform(-0.3, 0.3);
  for (std::int64_t i = 0; i < size * size; ++i) {
    const double a = coverage[i] / 255.0;
    const double across =
        size > 1 ? 2.0 * static_cast<double>(i % size) / static_cast<double>(size - 1) - 1 : 0;
    const double light =
        paper + (ink - paper) * a + gradient * across * (1 - a) + 0.05 * bell(random());
    out[i] = static_cast<std::uint8_t>(std::clamp(light, 0.0, 1.0) * 255);
  }
}

// The pictures of one face, before they are put together in the order of the faces.
struct FacePictures {
  struct Part {
    std::vector<std::int32_t> labels;
    std::vector<std::uint8_t> pixels;
  };
  Part train, test;
};

void draw_characters(const Typeface& face, const std::string& file, const GlyphOptions& options,
                     std::u32string_view characters, FacePictures::Part& part) {
  const std::int64_t size = options.size;
  for (std::size_t c = 0; c < characters.size(); ++c) {
    if (!face.has(characters[c])) continue;
    Philox random(options.seed, stream_of("glyph " + file, characters[c]));
    GlyphPlacement placement{.canvas = size};
    const double pixel = static_cast<double>(size) / 32;
    placement.extent = random.uniform(0.62, 0.9) * static_cast<double>(size);
    placement.dx = random.uniform(-2.5, 2.5) * pixel;
    placement.dy = random.uniform(-2.5, 2.5) * pixel;
    placement.angle = random.uniform(-15, 15) * std::numbers::pi / 180;
    placement.slant = random.uniform(-0.2, 0.2);
    part.labels.push_back(static_cast<std::int32_t>(c));
    part.pixels.resize(part.pixels.size() + size * size);
    paint(face.draw(characters[c], placement), size, random,
          part.pixels.data() + part.pixels.size() - size * size);
  }
}

std::vector<FacePictures> draw_faces(const std::vector<fs::path>& faces,
                                     const GlyphOptions& options) {
  std::vector<FacePictures> drawn(faces.size());
  detail::for_each_index(std::ssize(faces), options.threads, [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    const std::optional<Typeface> face = Typeface::open(faces[at]);
    if (!face) return;
    const std::string file = faces[at].filename().string();
    draw_characters(*face, file, options, kTrainCharacters, drawn[at].train);
    draw_characters(*face, file, options, kTestCharacters, drawn[at].test);
  });
  return drawn;
}

Dataset put_together(const std::vector<fs::path>& faces, std::vector<FacePictures>& drawn,
                     FacePictures::Part FacePictures::*part, std::u32string_view characters,
                     const GlyphOptions& options, std::string name) {
  auto stored = std::make_shared<StoredPictures>();
  stored->height = stored->width = options.size;
  Dataset all;
  all.name = std::move(name);
  for (const char32_t c : characters) all.class_names.push_back(utf8(c));
  for (std::size_t i = 0; i < faces.size(); ++i) {
    const FacePictures::Part& pictures = drawn[i].*part;
    const std::string file = faces[i].filename().string(), family = face_family(faces[i]);
    for (const std::int32_t label : pictures.labels) {
      const std::string path = file + " " + all.class_names[label];
      all.samples.push_back({.path = path, .stored = all.size(), .label = label, .group = family});
    }
    stored->pixels.insert(stored->pixels.end(), pictures.pixels.begin(), pictures.pixels.end());
    drawn[i].*part = {};
  }
  all.stored = std::move(stored);
  std::vector<std::int32_t> present;  // a character that no face has is no class
  for (std::int32_t label = 0; const auto& members : all.samples_by_class()) {
    if (!members.empty()) present.push_back(label);
    ++label;
  }
  return all.of_classes(present, all.name);
}

}  // namespace

std::string face_family(const fs::path& face) {
  std::string name = face.filename().string();
  name = name.substr(0, name.find_first_of("-_.0123456789["));
  for (bool is_shorter = true; is_shorter;) {
    is_shorter = false;
    for (const std::string_view style :
         {"Condensed", "Narrow", "Display", "Bold", "Italic", "Oblique"})
      if (name.size() > style.size() && name.ends_with(style)) {
        name.resize(name.size() - style.size());
        is_shorter = true;
      }
  }
  return name == "DejaVuSansMono" || name == "Hack" ? "DejaVuSans" : name;
}

DatasetSplits glyph_dataset(const GlyphOptions& options) {
  check<UsageError>(options.size >= 1 && options.size <= 96,
                    "glyphs: the size must be 1 to 96 pixels, got ", options.size);
  const std::vector<fs::path> faces = find_faces(options);
  std::vector<FacePictures> drawn = draw_faces(faces, options);
  DatasetSplits splits;
  splits.train =
      put_together(faces, drawn, &FacePictures::train, kTrainCharacters, options, "glyphs train");
  splits.test =
      put_together(faces, drawn, &FacePictures::test, kTestCharacters, options, "glyphs test");
  std::set<std::string> families;
  for (const fs::path& face : faces) families.insert(face_family(face));
  splits.description = "glyphs of " + std::to_string(faces.size()) + " faces in " +
                       std::to_string(families.size()) + " families, seed " +
                       std::to_string(options.seed) +
                       "; Latin letters, digits and signs train, Greek and Cyrillic letters test";
  return splits;
}

}  // namespace proxent
