#include "train/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "data/image.h"
#include "train/text.h"

namespace proxent {
namespace {

// A rename is durable once its folder is; some file systems cannot sync folders, which is no error.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  // Renaming would put a file in the place of a link or a device, /dev/stdout for one.
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path_, error);
  const bool is_folder = !path_.has_filename() || std::filesystem::is_directory(status);
  check<DataError>(!is_folder, "cannot write ", path_.string(), ": this is a folder; name a file");
  check<DataError>(!std::filesystem::exists(status) || std::filesystem::is_regular_file(status),
                   "cannot write ", path_.string(), ": this is a device or a pipe; name a file");
  if (std::filesystem::exists(status) && std::filesystem::is_symlink(path_))
    path_ = std::filesystem::canonical(path_);
  temporary_ = path_;
  temporary_ += ".tmp";
  while (!open_locked()) {
  }
}

// False if another process renamed or removed the file between open and lock: try again.
bool AtomicFile::open_locked() {
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail_with_errno("cannot create it");
  const auto give_up = [&](std::string_view what) {
    const int error = errno;
    ::close(std::exchange(descriptor_, -1));
    errno = error;
    fail_with_errno(what);
  };
  // File systems without locks are trusted to have one writer.
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    give_up("another process is writing it");
  struct stat opened, named;
  const bool is_current = ::fstat(descriptor_, &opened) == 0 &&
                          ::stat(temporary_.c_str(), &named) == 0 &&
                          opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
  if (!is_current) {
    ::close(std::exchange(descriptor_, -1));
    return false;
  }
  if (::ftruncate(descriptor_, 0) != 0) give_up("cannot empty its temporary file");
  return true;
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  if (!is_committed_) ::unlink(temporary_.c_str());
  ::close(descriptor_);
}

void AtomicFile::write(const void* data, std::int64_t bytes) {
  const char* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto written = ::write(descriptor_, from, static_cast<std::size_t>(bytes));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno("writing failed");
    from += written;
    bytes -= written;
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail_with_errno("writing failed");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with_errno("renaming failed");
  is_committed_ = true;
  sync_folder(path_.parent_path());
}

void AtomicFile::fail_with_errno(std::string_view what) const {
  const int error = errno;
  const std::string advice = error == ENOSPC || error == EDQUOT || error == EFBIG
                                 ? "; free some space, a file that was there before is unharmed"
                                 : "";
  fail<DataError>("cannot write ", path_.string(), ": ", what, " (", reason_of(error), ")", advice);
}

void replace_file(const std::filesystem::path& from, const std::filesystem::path& path) {
  const int error = ::rename(from.c_str(), path.c_str()) == 0 ? 0 : errno;
  check<DataError>(error == 0, "cannot rename ", from.string(), " to ", path.string(), ": ",
                   reason_of(error));
  sync_folder(path.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void write_picture_atomically(const std::filesystem::path& path, const Image& picture) {
  const std::vector<std::uint8_t> png = encode_png(picture);
  write_file_atomically(path, {reinterpret_cast<const char*>(png.data()), png.size()});
}

}  // namespace proxent
