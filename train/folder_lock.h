// One process to a run folder: what two would write into the same files is nobody's run.
#pragma once

#include <filesystem>

namespace proxent {

// Holds `<folder>/lock`, which names this process, until the object or the process ends, however it
// ends. File systems without locks are trusted to have one writer.
class FolderLock {
 public:
  // Throws UsageError naming the process that holds it, DataError if the file cannot be made.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace proxent
