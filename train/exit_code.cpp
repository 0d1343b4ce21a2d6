#include "train/exit_code.h"

#include <fmt/format.h>

#include <filesystem>
#include <iterator>
#include <new>

#include "tensor/allocator.h"
#include "tensor/check.h"
#include "tensor/gpu.h"
#include "train/terminal.h"

namespace proxent {

int exit_code_of(const std::exception& error) {
  if (dynamic_cast<const UsageError*>(&error)) return kUsageError;
  if (dynamic_cast<const DataError*>(&error)) return kDataError;
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error)) return kDataError;
  if (dynamic_cast<const CudaError*>(&error)) return kDeviceError;
  if (dynamic_cast<const OutOfMemory*>(&error)) return kOutOfMemory;
  if (dynamic_cast<const std::bad_alloc*>(&error)) return kOutOfMemory;
  if (dynamic_cast<const NonFiniteError*>(&error)) return kNonFinite;
  return kFailed;
}

std::string exit_code_help() {
  struct Row {
    ExitCode code;
    const char* meaning;
  };
  constexpr Row kRows[] = {
      {kDone, "done"},
      {kFailed, "failed while running"},
      {kUsageError, "wrong flag, key or value"},
      {kDataError, "wrong picture, list, data set or weight file"},
      {kDeviceError, "device or driver"},
      {kOutOfMemory, "out of memory"},
      {kNonFinite, "loss or gradient not finite"},
      {kStoppedEarly, "stopped early with a checkpoint: run again with --resume"},
      {kInterrupted, "second Ctrl-C"},
  };
  std::string text = bold("exit codes") + "\n";
  for (const Row& row : kRows) text += fmt::format("  {:>3}  {}\n", int{row.code}, row.meaning);
  return text;
}

}  // namespace proxent
