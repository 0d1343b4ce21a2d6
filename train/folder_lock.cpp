#include "train/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>

#include "tensor/check.h"

namespace proxent {
namespace {

std::string name_of_this_process() {
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  return fmt::format("process {} on {}", ::getpid(), host.data());
}

std::string first_bytes(int descriptor) {
  std::array<char, 300> text{};
  const auto count = ::pread(descriptor, text.data(), text.size(), 0);
  return count > 0 ? std::string(text.data(), static_cast<std::size_t>(count)) : "another process";
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) {
  const std::string path = (folder / "lock").string();
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check<DataError>(descriptor_ >= 0, "cannot write '", path,
                   "': ", std::generic_category().message(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string owner = first_bytes(descriptor_);
    ::close(descriptor_);
    fail<UsageError>("'", folder.string(), "' is in use: ", owner,
                     " trains in it. Wait for it, stop it, or choose another --out");
  }
  const std::string name = name_of_this_process();
  // Who holds the lock is told to people only: that it cannot be written is no reason to stop.
  if (::ftruncate(descriptor_, 0) == 0) (void)!::pwrite(descriptor_, name.data(), name.size(), 0);
}

FolderLock::~FolderLock() { ::close(descriptor_); }

}  // namespace proxent
