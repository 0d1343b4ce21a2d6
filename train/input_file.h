// Files opened for reading, with errors that name the file and the reason.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tensor/check.h"

namespace proxent {

// Bytes [begin, begin + bytes) of a file.
struct FileSpan {
  std::int64_t begin = 0, bytes = 0;
};

// A regular file opened for reading; every failure is a DataError naming path and reason.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::int64_t size() const { return size_; }
  // Reads bytes [from, from + bytes), which must lie inside the file.
  void read(void* data, std::int64_t from, std::int64_t bytes) const;
  // The bytes of the span, which must lie inside the file.
  std::string text(FileSpan span) const;

 private:
  std::filesystem::path path_;
  std::int64_t size_ = 0;
  int descriptor_ = -1;
};

// All of a file. DataError as InputFile's, and when it is empty.
std::string read_text(const std::filesystem::path& path);

}  // namespace proxent
