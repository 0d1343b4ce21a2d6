#include "tensor/cuda/library_timing.h"

#include <exception>
#include <limits>

#include "tensor/cuda/runtime.h"
#include "tensor/timing.h"

namespace proxent::cuda {
namespace {

constexpr int kRounds = 11;

}  // namespace

bool is_capturing() {
  cudaStreamCaptureStatus status{};
  CUDA_CHECK(cudaStreamIsCapturing(compute_stream(), &status));
  return status != cudaStreamCaptureStatusNone;
}

std::size_t fastest_of(std::size_t count, const std::function<void(std::size_t)>& run) {
  std::size_t best = count;
  double least = std::numeric_limits<double>::infinity();
  std::exception_ptr refusal;
  for (std::size_t i = 0; i < count; ++i) try {
      const double time = time_runs(Device::cuda, kRounds, [&] { run(i); }).median;
      if (time < least) least = time, best = i;
    } catch (const CudaError&) {
      throw;
    } catch (const Error&) {
      refusal = std::current_exception();
      cudaGetLastError();  // what the candidate left behind is dealt with
    }
  if (best == count) std::rethrow_exception(refusal);
  return best;
}

}  // namespace proxent::cuda
