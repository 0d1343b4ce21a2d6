#include "train/process_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace proxent {

std::int64_t process_bytes() {
  std::int64_t all = 0, resident = 0;  // pages; see proc(5), statm
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::int64_t peak_process_bytes() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024;
}

}  // namespace proxent
