#include "tensor/graph.h"

#include "tensor/gpu.h"

namespace proxent {

#ifndef PROXENT_CUDA  // else tensor/cuda/graph.cpp
class RecordedWork::Gpu {};
RecordedWork::RecordedWork(const std::function<void()>&, std::function<void()>) {
  fail<CudaError>("record: this build has no CUDA");
}
RecordedWork::~RecordedWork() = default;
void RecordedWork::run() {}
#endif

}  // namespace proxent
