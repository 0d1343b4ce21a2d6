// What time it is, as files and folders of a run write it, and how much has passed.
#pragma once

#include <chrono>
#include <string>

namespace proxent {

double seconds_since_1970();
// "2026-11-23T08:39:51.123Z"
std::string utc_now();
// "2026-11-23", where the machine stands.
std::string local_date();

// Runs from when it is made, on a clock that nobody sets.
class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace proxent
