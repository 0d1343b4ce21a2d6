// How much memory there is and how much of it this process takes, as the system counts it.
#pragma once

#include <cstdint>

namespace proxent {

// What the machine has, or the control group (a container) allows if that is less.
std::int64_t machine_bytes();
// How much of it this process could still take, under `ulimit -v` too; 0 where /proc does not tell.
std::int64_t available_bytes();

std::int64_t process_bytes();       // resident now; 0 where /proc does not tell
std::int64_t peak_process_bytes();  // the most so far

}  // namespace proxent
