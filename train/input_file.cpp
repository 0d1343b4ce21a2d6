#include "train/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "train/text.h"

namespace proxent {

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Without O_NONBLOCK opening a named pipe would wait for its writer.
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const int error = errno;
  check<DataError>(descriptor_ >= 0, "cannot read ", path_.string(), ": ", reason_of(error));
  struct stat status;
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    fail<DataError>("cannot read ", path_.string(), ": not a regular file");
  }
  size_ = status.st_size;
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::read(void* data, std::int64_t from, std::int64_t bytes) const {
  char* to = static_cast<char*>(data);
  while (bytes > 0) {
    const auto count = ::pread(descriptor_, to, static_cast<std::size_t>(bytes), from);
    if (count < 0 && errno == EINTR) continue;
    const int error = errno;
    check<DataError>(count >= 0, "cannot read ", path_.string(), ": ", reason_of(error));
    check<DataError>(count > 0, "cannot read ", path_.string(), ": it shrank while being read");
    to += count;
    from += count;
    bytes -= count;
  }
}

std::string InputFile::text(FileSpan span) const {
  std::string text(static_cast<std::size_t>(span.bytes), '\0');
  read(text.data(), span.begin, span.bytes);
  return text;
}

std::string read_text(const std::filesystem::path& path) {
  const InputFile file(path);
  check<DataError>(file.size() > 0, "'", path.string(), "' is empty");
  return file.text({0, file.size()});
}

}  // namespace proxent
