#include "train/process_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace proxent {
namespace {

namespace fs = std::filesystem;

// The first number in a file; `otherwise` where it has none ("max") or is not there.
std::int64_t number_in(const fs::path& file, std::int64_t otherwise) {
  std::int64_t number = 0;
  return std::ifstream(file) >> number ? number : otherwise;
}

// Of a "key value" line; 0 where there is none.
std::int64_t number_at(const fs::path& file, const std::string& key) {
  std::ifstream lines(file);
  std::int64_t value = 0;
  for (std::string name; lines >> name >> value;)
    if (name == key) return value;
  return 0;
}

// Where a version of control groups keeps its files, and what it calls them.
struct GroupFiles {
  const char *folder, *limit, *in_use;
  const char*
      reclaimable;  // in memory.stat: pages of files, which the system takes back when asked
};
constexpr GroupFiles kVersion2{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};
constexpr GroupFiles kVersion1{"sys/fs/cgroup/memory", "memory.limit_in_bytes",
                               "memory.usage_in_bytes", "total_inactive_file"};

// Of a group and those above it. A container may see its own group as the topmost, under a path
// that is not there.
void tighten(GroupMemory& memory, const GroupFiles& files, const fs::path& hierarchy,
             fs::path group) {
  for (;; group = group.parent_path()) {
    const fs::path folder = hierarchy / group.relative_path();
    const std::int64_t limit = number_in(folder / files.limit, GroupMemory{}.limit);
    const std::int64_t in_use =
        number_in(folder / files.in_use, 0) - number_at(folder / "memory.stat", files.reclaimable);
    memory.limit = std::min(memory.limit, limit);
    if (limit != GroupMemory{}.limit)
      memory.left = std::min(memory.left, std::max<std::int64_t>(0, limit - in_use));
    if (!group.has_relative_path()) return;
  }
}

}  // namespace

GroupMemory group_memory(const fs::path& root) {
  GroupMemory memory;
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:memory:/path", "0::/path"
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_version_2 = controllers == ",,";
    if (!is_version_2 && controllers.find(",memory,") == std::string::npos) continue;
    const GroupFiles& files = is_version_2 ? kVersion2 : kVersion1;
    tighten(memory, files, root / files.folder, line.substr(second + 1));
  }
  return memory;
}

std::int64_t machine_bytes() {
  const std::int64_t machine = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return std::min(machine, group_memory().limit);
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

// What the machine and the control groups leave.
std::int64_t memory_left() {
  std::int64_t machine = 0;
  std::ifstream file("/proc/meminfo");
  for (std::string name, line; file >> name; std::getline(file, line))
    if (name == "MemAvailable:" && file >> machine) break;
  return std::min(machine * 1024, group_memory().left);
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
