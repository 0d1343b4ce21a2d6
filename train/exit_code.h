// The exit codes of the binary, and which error leads to which.
#pragma once

#include <exception>
#include <string>

namespace proxent {

enum ExitCode {
  kDone = 0,
  kFailed = 1,
  kUsageError = 2,
  kDataError = 3,
  kDeviceError = 4,
  kOutOfMemory = 5,
  kNonFinite = 6,
  kStoppedEarly = 75,  // EX_TEMPFAIL: a good checkpoint lies there, run me again
  kInterrupted = 130,  // a second Ctrl-C
};

int exit_code_of(const std::exception& error);

// What the help pages say about them.
std::string exit_code_help();

}  // namespace proxent
