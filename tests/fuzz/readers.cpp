#include "tests/fuzz/readers.h"

#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "data/csv_table.h"
#include "data/font_info.h"
#include "data/formats.h"
#include "data/idx.h"
#include "data/image.h"
#include "data/mat.h"
#include "data/subclasses.h"
#include "data/text_lines.h"
#include "tensor/check.h"
#include "tests/temp_folder.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/finished_run.h"
#include "train/json.h"
#include "train/npy.h"
#include "train/pth.h"
#include "train/safetensors.h"

namespace proxent {
namespace {

using Bytes = std::span<const std::uint8_t>;

// The bytes as a file in memory, for readers that take a path. Tables and lists name files beside
// theirs: "../exe" is one that is there.
class MemoryFile {
 public:
  explicit MemoryFile(Bytes bytes) : descriptor_(memfd_create("fuzz", 0)) {
    check(descriptor_ >= 0 && ::write(descriptor_, bytes.data(), bytes.size()) ==
                                  static_cast<ssize_t>(bytes.size()),
          "cannot make a file in memory");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

template <auto read>
void from_file(Bytes bytes) {
  const MemoryFile file(bytes);
  read(file.path());
}

// For readers one after the other: what the first refuses, the second sees all the same.
template <class F>
bool accepts(F read) {
  try {
    read();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// What resuming a run reads. Few damaged files have the right checksum, so that the texts are also
// read without it.
void read_training_state(const std::string& path) {
  accepts([&] {
    const TextMap texts = read_safetensors(path).metadata;
    accepts([&] { checkpoint_info(texts, path); });
    progress_of(texts, path);
  });
  read_state(path);
}

// A PNG's checksums made right: a change that spoils them is refused before anything else is read.
std::vector<std::uint8_t> with_png_checksums(Bytes bytes) {
  std::vector<std::uint8_t> png(bytes.begin(), bytes.end());
  const auto number = [&](std::size_t at) {
    return std::size_t{png[at]} << 24 | png[at + 1] << 16 | png[at + 2] << 8 | png[at + 3];
  };
  constexpr std::size_t kMagic = 8, kLength = 4, kType = 4, kChecksum = 4;
  std::size_t at = kMagic;
  while (png.size() >= at + kLength + kType + kChecksum &&
         number(at) <= png.size() - at - kLength - kType - kChecksum) {
    const std::size_t end = at + kLength + kType + number(at);
    const auto sum = static_cast<std::uint32_t>(
        crc32(0, &png[at + kLength], static_cast<uInt>(end - at - kLength)));
    for (std::size_t i = 0; i < kChecksum; ++i)
      png[end + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
    at = end + kChecksum;
  }
  return png;
}

// Through both decoders, where a file can go through both.
void read_picture(Bytes bytes) {
  constexpr std::int64_t kMostPixels = 1 << 12;  // the limit is the user's: here a fast one
  const bool is_png = bytes.size() > 1 && bytes[0] == 0x89 && bytes[1] == 'P';
  const std::vector<std::uint8_t> repaired =
      is_png ? with_png_checksums(bytes) : std::vector(bytes.begin(), bytes.end());
  inspect_image(repaired, "picture");
  accepts(
      [&] { decode_image(repaired, "picture", {.prefer_stb = true, .max_pixels = kMostPixels}); });
  decode_image(repaired, "picture", {.apply_exif = true, .max_pixels = kMostPixels});
}

void read_idx_file(const std::string& path) {
  const auto header = read_idx_header(path);
  read_idx(path, header ? header->shape.size() : 1);
}

// The lists of the benchmarks go through TextLines, which takes fields and numbers from lines.
void read_list(const std::string& path) {
  accepts([&] {
    const TextLines text(path);
    for (const TextLines::Line& line : text.lines())
      accepts([&] { text.id(line, text.fields(line, "name.jpg 1")[1], "the class"); });
  });
  const detail::ListFile lists[] = {{path, true, false}, {path, false, true}};
  detail::PictureOnce known;
  detail::read_lists(lists, "list", known);
}

// As a data set, and as the table of fine labels for it.
void read_table(const std::string& path) {
  Dataset dataset = detail::read_csv_dataset(path).train;
  read_fine_labels(dataset, path);
}

void read_config(Bytes bytes) {
  config_from_toml({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "my.toml", {});
}

// A finished run's record; a line of its logs is read by the same parser.
void read_record(Bytes bytes) {
  static const TempFolder folder;
  const std::string path = folder.write("run.json", bytes).string();
  accepts([] { status_of_run(folder.path()); });
  accepts([&] { read_metrics(path, "test", {"R@1", "nmi"}); });
  // What is written is read again.
  if (!parse_json(read_json(path).text())) std::abort();
}

// With the checksums of a zip archive and without: few damaged files have the right ones.
void read_weights(Bytes bytes) {
  std::vector<std::uint8_t> without(bytes.begin(), bytes.end());
  constexpr std::string_view kEntry = "PK\1\2";  // of the directory
  constexpr std::ptrdiff_t kChecksum = 16, kChecksumEnd = 20;
  auto at = without.begin();
  while (at = std::search(at, without.end(), kEntry.begin(), kEntry.end()),
         without.end() - at >= kChecksumEnd) {
    std::fill(at + kChecksum, at + kChecksumEnd, 0);
    at += kChecksumEnd;
  }
  accepts([&] { from_file<read_pth>(without); });
  from_file<read_pth>(bytes);
}

constexpr std::array kReaders{
    Reader{"safetensors", "fuzz/seeds/safetensors",
           from_file<[](const std::string& path) { read_safetensors(path); }>},
    Reader{"state", "fuzz/seeds/state", from_file<read_training_state>},
    Reader{"pth", "golden/pth", read_weights},
    Reader{"npy", "fuzz/seeds/npy", from_file<[](const std::string& path) { read_npy(path); }>},
    Reader{"mat", "fuzz/seeds/mat", [](Bytes bytes) { MatFile::parse(bytes, "annotations.mat"); }},
    Reader{"picture", "golden/pictures", read_picture},
    Reader{"font", "fuzz/seeds/font", [](Bytes bytes) { inspect_font(bytes, "font"); }},
    Reader{"idx", "fuzz/seeds/idx", from_file<read_idx_file>},
    Reader{"list", "fuzz/seeds/list", from_file<read_list>},
    Reader{"csv", "fuzz/seeds/csv", from_file<read_table>},
    Reader{"toml", "fuzz/seeds/toml", read_config},
    Reader{"record", "fuzz/seeds/record", read_record},
};

}  // namespace

std::span<const Reader> readers() { return kReaders; }

bool reads(const Reader& reader, Bytes bytes) {
  return accepts([&] { reader.read(bytes); });
}

}  // namespace proxent
