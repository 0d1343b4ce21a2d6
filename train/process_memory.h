// How much memory there is and how much of it this process takes, as the system counts it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>

namespace proxent {

// What control groups (a container, a batch system's job) allow this process; without limits: the
// largest numbers.
struct GroupMemory {
  std::int64_t limit = std::numeric_limits<std::int64_t>::max();
  std::int64_t left = std::numeric_limits<std::int64_t>::max();
};
// The tightest of the process's group and of those above it, in version 2 and 1 of control groups
// (cgroups(7)). `root` holds proc/ and sys/.
GroupMemory group_memory(const std::filesystem::path& root = "/");

// What the machine has, or the control groups allow if that is less.
std::int64_t machine_bytes();
// How much of it this process could still take, under `ulimit -v` too; 0 where /proc does not tell.
std::int64_t available_bytes();

std::int64_t process_bytes();       // resident now; 0 where /proc does not tell
std::int64_t peak_process_bytes();  // the most so far

}  // namespace proxent
