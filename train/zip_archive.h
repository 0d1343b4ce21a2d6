// The stored entries of a zip archive, which is how torch.save writes one: nothing in it is
// compressed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "train/input_file.h"

namespace proxent {

// The layout is that of PKWARE's APPNOTE.TXT, zip64 among it. Every entry lies inside the file and
// has the CRC-32 that the directory says, where 0 says none: PyTorch can be told to compute none
// (torch.serialization.set_crc32_options). Each function throws DataError naming the file where it
// is truncated, damaged, compressed, or does not hold what is asked for.
class ZipArchive {
 public:
  // `file` must outlive the archive.
  explicit ZipArchive(const InputFile& file);

  // The name of the entry whose name ends so: of several, the first in the order of their bytes.
  std::string name_ending_with(std::string_view end) const;
  // Where the data of the entry lie in the file.
  FileSpan find(const std::string& name) const;
  bool contains(const std::string& name) const { return entries_.contains(name); }

 private:
  struct Directory {
    std::int64_t begin, bytes;
    std::uint64_t count;
  };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const;
  void check_inside(std::uint64_t begin, std::uint64_t bytes) const;
  Directory find_directory() const;
  std::size_t add_entry(const std::string& directory, std::size_t at);
  FileSpan data_of(std::uint64_t header, std::uint64_t bytes) const;
  void check_data(const std::string& name, FileSpan span, std::uint32_t expected) const;

  const InputFile& file_;
  std::map<std::string, FileSpan> entries_;
  std::int64_t entry_bytes_ = 0;  // of all
};

}  // namespace proxent
