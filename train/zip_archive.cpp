#include "train/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tensor/check.h"
#include "train/checksum.h"

namespace proxent {
namespace {

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Sizes and places that do not fit 32 bits stand in an extra field, in a fixed order.
void read_zip64(std::string_view extra, bool has_packed_size, std::uint64_t& bytes,
                std::uint64_t& begin) {
  while (extra.size() >= 4) {
    const auto kind = number_at<std::uint16_t>(extra, 0), size = number_at<std::uint16_t>(extra, 2);
    std::string_view field = extra.substr(4, size);
    const auto take = [&](std::uint64_t& value) {
      if (field.size() < 8) return;
      value = number_at<std::uint64_t>(field, 0);
      field.remove_prefix(8);
    };
    if (kind == 1) {
      std::uint64_t ignored = 0;
      if (bytes == 0xFFFFFFFF) take(bytes);
      if (has_packed_size) take(ignored);
      if (begin == 0xFFFFFFFF) take(begin);
      return;
    }
    extra.remove_prefix(std::min<std::size_t>(extra.size(), 4 + std::size_t{size}));
  }
}

}  // namespace

template <class... Parts>
void ZipArchive::fail(const Parts&... parts) const {
  proxent::fail<DataError>(file_.path().string(), ": this zip archive ", parts...);
}

ZipArchive::ZipArchive(const InputFile& file) : file_(file) {
  const auto [begin, bytes, count] = find_directory();
  const std::string directory = file_.text({begin, bytes});
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < count; ++i) at = add_entry(directory, at);
}

std::string ZipArchive::name_ending_with(std::string_view end) const {
  for (const auto& [name, span] : entries_)
    if (name.ends_with(end)) return name;
  fail("holds no ", end, "; was it written by torch.save?");
}

FileSpan ZipArchive::find(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail("holds no ", name);
  return found->second;
}

void ZipArchive::check_inside(std::uint64_t begin, std::uint64_t bytes) const {
  const auto size = static_cast<std::uint64_t>(file_.size());
  if (begin > size || bytes > size - begin) fail("is truncated or damaged");
}

ZipArchive::Directory ZipArchive::find_directory() const {
  constexpr std::int64_t kEnd = 22, kLongestComment = 65535, kEnd64 = 56, kLocator = 20;
  const std::int64_t tail = std::min(file_.size(), kEnd + kLongestComment + kLocator);
  const std::string bytes = file_.text({file_.size() - tail, tail});
  const std::size_t end = bytes.rfind("PK\5\6");
  if (end == std::string::npos || bytes.size() - end < kEnd) fail("is truncated: it has no end");
  Directory out{number_at<std::uint32_t>(bytes, end + 16),
                number_at<std::uint32_t>(bytes, end + 12),
                number_at<std::uint16_t>(bytes, end + 10)};
  const std::size_t locator = end - kLocator;
  if (end >= kLocator && bytes.compare(locator, 4, "PK\6\7") == 0) {  // zip64
    const auto at = number_at<std::uint64_t>(bytes, locator + 8);
    check_inside(at, kEnd64);
    const std::string end64 = file_.text({static_cast<std::int64_t>(at), kEnd64});
    out = {number_at<std::int64_t>(end64, 48), number_at<std::int64_t>(end64, 40),
           number_at<std::uint64_t>(end64, 32)};
  }
  check_inside(static_cast<std::uint64_t>(out.begin), static_cast<std::uint64_t>(out.bytes));
  return out;
}

// Returns where the next entry begins.
std::size_t ZipArchive::add_entry(const std::string& directory, std::size_t at) {
  constexpr std::size_t kEntry = 46;
  if (directory.size() - at < kEntry || directory.compare(at, 4, "PK\1\2") != 0)
    fail("has a damaged directory");
  const auto name_bytes = number_at<std::uint16_t>(directory, at + 28),
             extra_bytes = number_at<std::uint16_t>(directory, at + 30),
             comment_bytes = number_at<std::uint16_t>(directory, at + 32);
  const std::size_t next = at + kEntry + name_bytes + extra_bytes + comment_bytes;
  if (next > directory.size()) fail("has a damaged directory");
  const std::string name = directory.substr(at + kEntry, name_bytes);
  if (number_at<std::uint16_t>(directory, at + 10) != 0)
    fail("has '", name, "' compressed, which torch.save never does");
  std::uint64_t bytes = number_at<std::uint32_t>(directory, at + 24),
                begin = number_at<std::uint32_t>(directory, at + 42);
  read_zip64(std::string_view(directory).substr(at + kEntry + name_bytes, extra_bytes),
             number_at<std::uint32_t>(directory, at + 20) == 0xFFFFFFFF, bytes, begin);
  const FileSpan span = data_of(begin, bytes);
  // Or a small file could have the same bytes looked through any number of times.
  entry_bytes_ += span.bytes;
  if (entry_bytes_ > file_.size()) fail("has entries that overlap");
  check_data(name, span, number_at<std::uint32_t>(directory, at + 16));
  entries_[name] = span;
  return next;
}

// The data lie behind a header of their own, whose extra field pads them to 64 bytes.
FileSpan ZipArchive::data_of(std::uint64_t header, std::uint64_t bytes) const {
  constexpr std::uint64_t kHeader = 30;
  check_inside(header, kHeader);
  const std::string text = file_.text({static_cast<std::int64_t>(header), kHeader});
  if (!text.starts_with("PK\3\4")) fail("has a damaged entry");
  const std::uint64_t begin =
      header + kHeader + number_at<std::uint16_t>(text, 26) + number_at<std::uint16_t>(text, 28);
  check_inside(begin, bytes);
  return {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(bytes)};
}

void ZipArchive::check_data(const std::string& name, FileSpan span, std::uint32_t expected) const {
  constexpr std::int64_t kPiece = 1 << 20;
  if (expected == 0) return;
  std::uint32_t found = 0;
  for (std::int64_t at = 0; at < span.bytes; at += kPiece) {
    const std::string piece =
        file_.text({span.begin + at, std::min<std::int64_t>(kPiece, span.bytes - at)});
    found = crc32_of(piece.data(), std::ssize(piece), found);
  }
  if (found != expected)
    fail(fmt::format(
        "is damaged: the CRC-32 of '{}' should be {:08x} and is {:08x}; get the file again", name,
        expected, found));
}

}  // namespace proxent
