// Preloaded into the binary by tests/resume.cpp: kills the process, as kill -9 or a loss of power
// would, at the n-th call of a function by which it changes files. DIE_AT names both:
//   write N   in the middle of the N-th write to a file: half of the bytes are there
//   fputs N, fwrite N   the same for a line of a log, a record of an event file
//   fsync N, rename N   just before
//   renamed N   just after the N-th rename
#include <dlfcn.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<int> calls{0};

// Whether this is the call, of the function that DIE_AT names, to die at.
bool is_due(const char* function) {
  const char* wanted = std::getenv("DIE_AT");
  const char* space = wanted ? std::strchr(wanted, ' ') : nullptr;
  if (!space || std::strlen(function) != static_cast<std::size_t>(space - wanted) ||
      std::strncmp(wanted, function, static_cast<std::size_t>(space - wanted)) != 0)
    return false;
  return ++calls == std::atoi(space);
}

void die() { kill(getpid(), SIGKILL); }

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t write(int file, const void* data, size_t bytes) {
  const auto real = next<ssize_t(int, const void*, size_t)>("write");
  const bool dies = is_due("write");
  const ssize_t written = real(file, data, dies ? bytes / 2 : bytes);
  if (dies) die();
  return written;
}

int fputs(const char* text, std::FILE* file) {
  if (is_due("fputs")) {
    std::fwrite(text, 1, std::strlen(text) / 2, file);
    std::fflush(file);
    die();
  }
  return next<int(const char*, std::FILE*)>("fputs")(text, file);
}

size_t fwrite(const void* data, size_t size, size_t count, std::FILE* file) {
  const auto real = next<size_t(const void*, size_t, size_t, std::FILE*)>("fwrite");
  if (is_due("fwrite")) {
    real(data, 1, size * count / 2, file);
    std::fflush(file);
    die();
  }
  return real(data, size, count, file);
}

int fsync(int file) {
  if (is_due("fsync")) die();
  return next<int(int)>("fsync")(file);
}

int rename(const char* from, const char* to) noexcept {
  if (is_due("rename")) die();
  const int result = next<int(const char*, const char*)>("rename")(from, to);
  if (is_due("renamed")) die();
  return result;
}
}
