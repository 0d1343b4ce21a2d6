// How much memory the whole process takes, as the system counts it.
#pragma once

#include <cstdint>

namespace proxent {

std::int64_t process_bytes();       // resident now; 0 where /proc does not tell
std::int64_t peak_process_bytes();  // the most so far

}  // namespace proxent
