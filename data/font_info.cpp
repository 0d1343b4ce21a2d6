#include "data/font_info.h"

#include <algorithm>
#include <array>

#include "data/utf8.h"
#include "tensor/check.h"

namespace proxent {
namespace {

constexpr std::string_view kCollection = "ttcf";
constexpr std::uint32_t kMacintosh = 1;  // a platform, whose texts and characters are not Unicode's

// Bytes of a file, as numbers whose first byte is the highest; DataError beyond their end.
class Table {
 public:
  Table(std::span<const std::uint8_t> bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  std::uint32_t number(std::size_t at, std::size_t count) const {
    std::uint32_t value = 0;
    for (const std::uint8_t byte : from(at, count).bytes_) value = value << 8 | byte;
    return value;
  }
  std::uint32_t u16(std::size_t at) const { return number(at, 2); }
  std::uint32_t u32(std::size_t at) const { return number(at, 4); }
  bool has_tag(std::size_t at, std::string_view tag) const {
    const auto bytes = from(at, tag.size()).bytes_;
    return std::equal(bytes.begin(), bytes.end(), tag.begin(),
                      [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
  }
  Table from(std::size_t at, std::size_t count) const {
    require(at <= bytes_.size() && count <= bytes_.size() - at);
    return {bytes_.subspan(at, count), file_};
  }
  Table from(std::size_t at) const {
    require(at <= bytes_.size());
    return {bytes_.subspan(at), file_};
  }
  std::size_t size() const { return bytes_.size(); }
  void require(bool condition) const {
    check<DataError>(condition, "font ", file_, ": truncated or damaged");
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::string_view file_;
};

// The table of this name; empty where the font has none.
Table find_table(const Table& file, std::size_t font, std::string_view tag) {
  constexpr std::size_t kDirectory = 12, kEntry = 16;
  const std::size_t count = file.u16(font + 4);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t entry = font + kDirectory + i * kEntry;
    if (file.has_tag(entry, tag)) return file.from(file.u32(entry + 8), file.u32(entry + 12));
  }
  return file.from(0, 0);
}

// The first family name that is there in UTF-16, as all systems but the first Macintosh have it.
std::string family_in(const Table& names) {
  constexpr std::size_t kHeader = 6, kRecord = 12;
  constexpr std::uint32_t kFamily = 1;
  std::string family;
  const std::size_t count = names.size() == 0 ? 0 : names.u16(2);
  for (std::size_t i = 0; i < count && family.empty(); ++i) {
    const std::size_t record = kHeader + i * kRecord;
    if (names.u16(record) == kMacintosh || names.u16(record + 6) != kFamily) continue;
    const Table text =
        names.from(names.u16(4) + std::size_t{names.u16(record + 10)}, names.u16(record + 8));
    for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
      const std::uint32_t character = text.u16(at);
      const bool is_plain = character >= ' ' && (character < 0xD800 || character > 0xDFFF);
      append_utf8(family, is_plain ? character : '?');
    }
  }
  return family;
}

// Format 4: segments of the first 65,536 characters, in order.
std::int64_t characters_in_segments(const Table& map) {
  const std::size_t bytes = map.u16(6);  // of one number per segment
  const std::size_t ends = 14, starts = ends + bytes + 2, deltas = starts + bytes,
                    offsets = deltas + bytes;
  std::int64_t count = 0, next = 0;
  for (std::size_t i = 0; i + 1 < bytes; i += 2) {
    const std::uint32_t start = map.u16(starts + i), end = map.u16(ends + i);
    map.require(start >= next && start <= end);
    next = end + std::int64_t{1};
    const std::uint32_t delta = map.u16(deltas + i), offset = map.u16(offsets + i);
    for (std::uint32_t c = start; c <= end && c < 0xFFFF; ++c) {
      // The offset counts from where it stands itself; a glyph of 0 there is none.
      const std::uint32_t glyph =
          offset == 0 ? c : map.u16(offsets + i + offset + std::size_t{2} * (c - start));
      count += glyph == 0 && offset != 0 ? 0 : (glyph + delta) % 0x10000 != 0;
    }
  }
  return count;
}

// Format 12: groups of characters, in order.
std::int64_t characters_in_groups(const Table& map) {
  constexpr std::size_t kHeader = 16, kGroup = 12;
  constexpr std::uint32_t kLast = 0x10FFFF;  // of Unicode
  std::int64_t count = 0, next = 0;
  const std::size_t groups = map.u32(12);
  for (std::size_t i = 0; i < groups; ++i) {
    const std::uint32_t start = map.u32(kHeader + i * kGroup),
                        end = map.u32(kHeader + i * kGroup + 4);
    map.require(start >= next && start <= end && end <= kLast);
    next = end + std::int64_t{1};
    count += next - start;
  }
  return count;
}

// Of the map that knows most: a font may have one for all of Unicode beside one for its start.
std::int64_t characters_in(const Table& maps) {
  constexpr std::size_t kHeader = 4, kRecord = 8;
  std::int64_t most = 0;
  constexpr std::size_t kMostMaps = 16;  // any number may share one, and fonts have five or so
  const std::size_t count = maps.size() == 0 ? 0 : maps.u16(2);
  for (std::size_t i = 0; i < std::min(count, kMostMaps); ++i) {
    const std::size_t record = kHeader + i * kRecord;
    if (maps.u16(record) == kMacintosh) continue;
    const Table map = maps.from(maps.u32(record + 4));
    const std::uint32_t format = map.u16(0);
    if (format == 4) most = std::max(most, characters_in_segments(map));
    if (format == 12) most = std::max(most, characters_in_groups(map));
  }
  return most;
}

}  // namespace

bool is_font(std::string_view start) {
  const std::array<std::string_view, 3> kinds{std::string_view("\0\1\0\0", 4), "OTTO", kCollection};
  return std::any_of(kinds.begin(), kinds.end(),
                     [&](std::string_view kind) { return start.starts_with(kind); });
}

FontInfo inspect_font(std::span<const std::uint8_t> bytes, std::string_view name) {
  const Table file(bytes, name);
  FontInfo info;
  std::size_t font = 0;
  if (file.has_tag(0, kCollection)) {
    info.fonts = file.u32(8);
    font = file.u32(12);
  }
  info.glyphs = find_table(file, font, "maxp").u16(4);
  info.family = family_in(find_table(file, font, "name"));
  info.characters = characters_in(find_table(file, font, "cmap"));
  return info;
}

}  // namespace proxent
