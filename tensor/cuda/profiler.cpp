// NVTX ranges for Nsight Systems: one per Scope. Without a profiler attached they cost a call.
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>

#include "tensor/check.h"

namespace proxent::detail {

void open_profiler_range(std::string_view name) {
  std::array<char, 64> text{};  // NVTX wants a terminating zero; longer names are cut
  std::copy_n(name.data(), std::min(name.size(), text.size() - 1), text.data());
  nvtxRangePushA(text.data());
}
void close_profiler_range() { nvtxRangePop(); }

}  // namespace proxent::detail
