#include "tensor/graph.h"

#include "tensor/allocator.h"
#include "tensor/cuda/runtime.h"

namespace proxent {

class RecordedWork::Gpu {
 public:
  Gpu(const std::function<void()>& work, std::function<void()> give_up)
      : memory_(Device::cuda, std::move(give_up)) {
    cudaGraph_t graph = nullptr;
    const cudaStream_t stream = cuda::compute_stream();
    cuda::keep_workspaces();  // before one is used in what is recorded
    // Relaxed: the pool may ask the driver for a block meanwhile, and so may other threads.
    CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph) cudaGraphDestroy(graph);
      cudaGetLastError();  // of the capture that was broken off: the one thrown tells more
      throw;
    }
    memory_.close();
    CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    CUDA_CHECK(error);
  }
  ~Gpu() {
    cudaStreamSynchronize(cuda::compute_stream());  // it may still be running
    if (executable_) cudaGraphExecDestroy(executable_);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  void run() { CUDA_CHECK(cudaGraphLaunch(executable_, cuda::compute_stream())); }

 private:
  MemoryReserve memory_;  // first in, last out
  cudaGraphExec_t executable_ = nullptr;
};

RecordedWork::RecordedWork(const std::function<void()>& work, std::function<void()> give_up) {
  Scope scope("record");
  gpu_ = std::make_unique<Gpu>(work, std::move(give_up));
}
RecordedWork::~RecordedWork() = default;

void RecordedWork::run() {
  Scope scope("recorded");
  gpu_->run();
}

}  // namespace proxent
