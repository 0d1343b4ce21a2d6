#include "tensor/gpu_math.h"

#include "tensor/check.h"

namespace proxent {
namespace {
GpuMath current;
}

const GpuMath& gpu_math() { return current; }

void set_gpu_math(const GpuMath& math) {
  check(math.timed_engines >= 0, "gpu_math: timed_engines must not be negative, got ",
        math.timed_engines);
  check(math.workspace_limit >= 0, "gpu_math: workspace_limit must not be negative, got ",
        math.workspace_limit);
  current = math;
}

}  // namespace proxent
