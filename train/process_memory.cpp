#include "train/process_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace proxent {
namespace {

// A limit or a count of the control group, in bytes; `otherwise` where it has none ("max").
std::int64_t of_control_group(const std::string& file, std::int64_t otherwise) {
  std::int64_t bytes = 0;
  return std::ifstream("/sys/fs/cgroup/" + file) >> bytes ? bytes : otherwise;
}

// The group's "key value" line, such as pages of files, which the system takes back when asked.
std::int64_t in_group_stat(const std::string& key) {
  std::ifstream file("/sys/fs/cgroup/memory.stat");
  std::int64_t value = 0;
  for (std::string name; file >> name >> value;)
    if (name == key) return value;
  return 0;
}

}  // namespace

std::int64_t machine_bytes() {
  const std::int64_t machine = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return std::min(machine, of_control_group("memory.max", machine));
}

namespace {
// Addresses that `ulimit -v` leaves.
std::int64_t addresses_left() {
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return std::numeric_limits<std::int64_t>::max();
  std::int64_t pages = 0;  // see proc(5), statm
  std::ifstream("/proc/self/statm") >> pages;
  return std::max<std::int64_t>(
      0, static_cast<std::int64_t>(limit.rlim_cur) - pages * ::sysconf(_SC_PAGESIZE));
}

// What the machine and the control group leave.
std::int64_t memory_left() {
  std::int64_t machine = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string name, line; file >> name; std::getline(file, line))
    if (name == "MemAvailable:" && file >> machine) break;
  constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
  const std::int64_t limit = of_control_group("memory.max", kNoLimit);
  if (limit == kNoLimit) return machine * 1024;
  const std::int64_t in_use =
      of_control_group("memory.current", 0) - in_group_stat("inactive_file");
  return std::clamp<std::int64_t>(limit - in_use, 0, machine * 1024);
}
}  // namespace

std::int64_t available_bytes() { return std::min(memory_left(), addresses_left()); }

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
