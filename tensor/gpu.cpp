#include "tensor/gpu.h"

#include <sstream>

namespace proxent {

bool has_code_for(const std::string& built_for, int major, int minor) {
  std::istringstream architectures(built_for);
  for (std::string one; architectures >> one;) {
    if (one == "native" || one == "all" || one == "all-major") return true;  // nvcc's own words
    const bool has_ptx = one.find("-real") == std::string::npos;
    const bool is_specific =
        one.find_first_of("af") != std::string::npos;  // 90a: not for newer ones
    const int built = std::atoi(one.c_str()), built_major = built / 10, built_minor = built % 10;
    if (built_major == major && built_minor <= minor) return true;
    if (built_major < major && has_ptx && !is_specific) return true;
  }
  return false;
}

#ifndef PROXENT_CUDA
GpuReport gpu_report() { return {.problem = "this build has no CUDA"}; }
int selected_gpu() { return 0; }
void select_gpu(int) { fail<CudaError>("select_gpu: this build has no CUDA"); }
GpuMemory gpu_memory() { fail<CudaError>("gpu_memory: this build has no CUDA"); }
void synchronize(Device) {}
void set_gpu_synchronous(bool) {}
bool is_gpu_synchronous() { return false; }
std::int64_t gpu_launches() { return 0; }
#endif

}  // namespace proxent
