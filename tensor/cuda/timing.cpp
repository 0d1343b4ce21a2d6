// The GPU's own time of what is queued on the compute stream, between two events.
#include "tensor/timing.h"

#include <vector>

#include "tensor/cuda/runtime.h"
#include "tensor/tensor.h"

namespace proxent::cuda {
namespace {

class Event {
 public:
  Event() { CUDA_CHECK(cudaEventCreate(&raw_)); }
  ~Event() { cudaEventDestroy(raw_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record() { CUDA_CHECK(cudaEventRecord(raw_, compute_stream())); }
  // Seconds from `start` to this one, once it has happened.
  double since(const Event& start) const {
    CUDA_CHECK(cudaEventSynchronize(raw_));
    float milliseconds = 0;
    CUDA_CHECK(cudaEventElapsedTime(&milliseconds, start.raw_, raw_));
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t raw_ = nullptr;
};

std::int64_t l2_bytes() {
  int device = 0, bytes = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device));
  return bytes;
}

}  // namespace

// Of each run. Writing `flush` also keeps the GPU busy while the host queues what is timed, so that
// the time holds no gap before the first kernel: sixteen times, since once takes an H200 about 20
// microseconds, and a few launches take the host more.
std::vector<double> seconds_of_runs(int rounds, const std::function<void()>& run) {
  compute_stream();  // makes the chosen GPU the current one
  Tensor flush({2 * l2_bytes()}, DType::u8, Device::cuda);
  Event start, stop;
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    for (int write = 0; write < 16; ++write)
      CUDA_CHECK(cudaMemsetAsync(flush.raw(), 0, static_cast<std::size_t>(flush.bytes()),
                                 compute_stream()));
    start.record();
    run();
    stop.record();
    seconds.push_back(stop.since(start));
  }
  return seconds;
}

}  // namespace proxent::cuda
