// Files that are whole or not there: written beside their place under another name, forced to the
// disk, then renamed. A crash, a kill or a full disk leaves the former file as it was.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "tensor/check.h"

namespace proxent {

struct Image;  // data/image.h

class AtomicFile {
 public:
  // Opens `<path>.tmp` for writing and locks it; what a killed process left there is overwritten.
  // Of a link, the file that it leads to is written. Throws DataError naming path and reason: a
  // folder, a device, no such folder, no permission, another process writing the same file.
  explicit AtomicFile(std::filesystem::path path);
  // Without commit() nothing remains.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends bytes; DataError when the disk is full.
  void write(const void* data, std::int64_t bytes);
  void write(std::string_view text) { write(text.data(), static_cast<std::int64_t>(text.size())); }
  // Makes the file durable under its name, or throws DataError and leaves the former one.
  void commit();

 private:
  [[noreturn]] void fail_with_errno(std::string_view what) const;
  bool open_locked();

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
  bool is_committed_ = false;
};

// `path` becomes what `from` is, durably; `from` is gone. Throws DataError, and leaves both.
void replace_file(const std::filesystem::path& from, const std::filesystem::path& path);

// The file becomes `text`, at once or not at all.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
// The file becomes the picture as PNG, at once or not at all.
void write_picture_atomically(const std::filesystem::path& path, const Image& picture);

}  // namespace proxent
