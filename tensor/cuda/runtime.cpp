#include "tensor/cuda/runtime.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "tensor/launch.h"
#include "tensor/storage.h"

namespace proxent {
namespace cuda {
namespace {

constexpr const char* kBuiltFor = PROXENT_CUDA_ARCHITECTURES;

std::atomic<int> chosen = 0;
std::atomic<std::int64_t> launches = 0;
bool keeps_workspaces = false;
std::atomic<bool> is_synchronous = [] {
  const char* value = std::getenv("CUDA_LAUNCH_BLOCKING");
  return value && std::string_view(value) == "1";
}();

std::string version_text(int version) {
  return detail::concat(version / 1000, ".", version % 1000 / 10);
}

// Why no GPU can be used at all; empty if there is one.
std::string problem_of(cudaError_t counted, const GpuReport& report) {
  if (counted == cudaSuccess && !report.gpus.empty()) return {};
  if (report.driver_version == 0)
    return "no NVIDIA driver on this machine (libcuda.so.1 is missing or does not answer)";
  if (report.driver_version / 1000 < report.runtime_version / 1000)
    return detail::concat("the driver is too old: it knows CUDA ",
                          version_text(report.driver_version), ", this build needs ",
                          version_text(report.runtime_version / 1000 * 1000),
                          " or newer; update the driver");
  if (counted == cudaErrorNoDevice || counted == cudaSuccess) {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return detail::concat(
        "the driver sees no GPU",
        visible ? detail::concat("; CUDA_VISIBLE_DEVICES is \"", visible, "\"") : "");
  }
  return detail::concat(cudaGetErrorName(counted), ": ", cudaGetErrorString(counted));
}

std::string problem_of_architecture(const GpuReport& report, int index) {
  const Gpu& gpu = report.gpus[static_cast<std::size_t>(index)];
  if (report.is_emulated || has_code_for(report.built_for, gpu.major, gpu.minor)) return {};
  return detail::concat("GPU ", index, ", ", gpu.name, ", has architecture ", gpu.major, gpu.minor,
                        "; this build has code for ", report.built_for,
                        ": configure with -DCMAKE_CUDA_ARCHITECTURES=", gpu.major, gpu.minor);
}

// Throws unless GPU `index` can be used.
void check_usable(const GpuReport& report, int index) {
  check<CudaError>(report.problem.empty(), "cuda: ", report.problem);
  const std::int64_t count = std::ssize(report.gpus);
  check<CudaError>(
      index >= 0 && index < count, "cuda:", index, ": this machine has ", count,
      count == 1 ? " GPU, cuda:0" : detail::concat(" GPUs, cuda:0 to cuda:", count - 1));
  const std::string problem = problem_of_architecture(report, index);
  check<CudaError>(problem.empty(), "cuda: ", problem);
}

// What is started once per process.
struct Runtime {
  int device;
  int multiprocessors;
  cudaStream_t stream = nullptr;

  explicit Runtime(int index) : device(index) {
    const GpuReport report = gpu_report();
    check_usable(report, index);
    multiprocessors = report.gpus[static_cast<std::size_t>(index)].multiprocessors;
    CUDA_CHECK(cudaSetDevice(index));
    // Not ordered with stream 0, which libraries may use; and only such a stream can be captured.
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
};
std::atomic<bool> is_started = false;

// Never destroyed: the driver may be gone before static objects are.
Runtime& runtime() {
  static Runtime& only = *[] {
    auto* started = new Runtime(chosen);
    is_started = true;
    return started;
  }();
  thread_local const bool is_current = [] {  // which device is current is a property of the thread
    CUDA_CHECK(cudaSetDevice(only.device));
    return true;
  }();
  static_cast<void>(is_current);
  return only;
}

}  // namespace

void throw_cuda_error(cudaError_t error, std::string_view call, const std::source_location& where) {
  constexpr cudaError_t kFaultsOfKernels[] = {cudaErrorIllegalAddress,
                                              cudaErrorMisalignedAddress,
                                              cudaErrorIllegalInstruction,
                                              cudaErrorInvalidAddressSpace,
                                              cudaErrorInvalidPc,
                                              cudaErrorHardwareStackError,
                                              cudaErrorAssert,
                                              cudaErrorLaunchFailure};
  const bool is_late = std::find(std::begin(kFaultsOfKernels), std::end(kFaultsOfKernels), error) !=
                       std::end(kFaultsOfKernels);
  throw CudaError(
      detail::concat(call, ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error),
                     is_late && !is_synchronous
                         ? "\n  an earlier kernel may be the cause: run with "
                           "CUDA_LAUNCH_BLOCKING=1 to see which"
                         : ""),
      detail::origin(where));
}

cudaStream_t compute_stream() { return runtime().stream; }
int multiprocessors() { return runtime().multiprocessors; }

void* workspace(std::int64_t bytes) {
  static auto& blocks = *new std::vector<std::unique_ptr<Storage>>;  // the last is in use
  if (blocks.empty() || blocks.back()->bytes() < bytes) {
    Scope scope("workspace");
    // The pool may give the same bytes back; the stream keeps users in order.
    if (!keeps_workspaces) blocks.clear();
    blocks.push_back(std::make_unique<Storage>(Device::cuda, bytes));
  }
  return blocks.back()->data();
}
void keep_workspaces() { keeps_workspaces = true; }

unsigned blocks_for(std::int64_t n, std::int64_t per_block) {
  const std::int64_t blocks = (n + per_block - 1) / per_block;
  check(blocks <= std::numeric_limits<std::int32_t>::max(), "cuda: ", n,
        " items are more than one kernel can take");
  return static_cast<unsigned>(blocks);
}

void count_launch() { ++launches; }

}  // namespace cuda

GpuReport gpu_report() {
  GpuReport report{.is_built = true, .built_for = cuda::kBuiltFor};
#ifdef PROXENT_CUDA_EMULATED
  report.is_emulated = true;
#endif
  cudaRuntimeGetVersion(&report.runtime_version);
  cudaDriverGetVersion(&report.driver_version);
  int count = 0;  // stays as it is on failure
  const cudaError_t counted = cudaGetDeviceCount(&count);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) break;
    report.gpus.push_back({properties.name, properties.major, properties.minor,
                           properties.multiProcessorCount,
                           static_cast<std::int64_t>(properties.totalGlobalMem)});
  }
  cudaGetLastError();  // looking leaves no error behind for the next check to find
  report.problem = cuda::problem_of(counted, report);
  return report;
}

void select_gpu(int index) {
  cuda::check_usable(gpu_report(), index);
  check<CudaError>(!cuda::is_started || cuda::runtime().device == index,
                   "select_gpu: cuda:", cuda::is_started ? cuda::runtime().device : 0,
                   " is in use already, asked for ", index);
  cuda::chosen = index;
  cuda::runtime();
}

GpuMemory gpu_memory() {
  cuda::compute_stream();
  std::size_t free = 0, total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return {static_cast<std::int64_t>(free), static_cast<std::int64_t>(total)};
}

void synchronize(Device device) {
  if (device == Device::cuda) CUDA_CHECK(cudaStreamSynchronize(cuda::compute_stream()));
}
void set_gpu_synchronous(bool is_on) { cuda::is_synchronous = is_on; }
bool is_gpu_synchronous() { return cuda::is_synchronous; }
int selected_gpu() { return cuda::chosen; }
std::int64_t gpu_launches() { return cuda::launches; }

void detail::finish_cuda_call(std::string_view op) {
  if (cuda::is_synchronous) cuda::check_call(cudaStreamSynchronize(cuda::compute_stream()), op);
  cuda::check_call(cudaGetLastError(), op);
}

}  // namespace proxent
