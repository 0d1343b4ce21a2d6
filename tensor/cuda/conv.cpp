// Convolutions through cuDNN: one plan for each set of sizes, made at its first call and kept.
#include "tensor/conv.h"

#include <bit>

#include "tensor/copy.h"
#include "tensor/cuda/cudnn_conv.h"
#include "tensor/cuda/library_timing.h"
#include "tensor/cuda/plan_cache.h"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {

using cudnn::ConvDirection;
using cudnn::ConvKey;
using cudnn::ExecutionPlan;

// The tensors of one call: x or dx, weights or dw, y or dy.
struct Operands {
  const Tensor &x, &weights, &y;

  std::array<void*, 3> addresses() const {
    const auto address = [](const Tensor& t) { return const_cast<std::byte*>(t.raw()); };
    return {address(x), address(weights), address(y)};
  }
  std::int64_t alignment() const {
    std::uintptr_t bits = cudnn::kBestAlignment;
    for (const void* address : addresses()) bits |= reinterpret_cast<std::uintptr_t>(address);
    return std::int64_t{1} << std::countr_zero(bits);
  }
};

cudnnHandle_t handle() {
  // Not destroyed: the driver may be gone before static objects are.
  static const cudnnHandle_t shared = [] {
    cudnn::check_version();
    const cudaStream_t stream = cuda::compute_stream();
    cudnnHandle_t made = nullptr;
    CUDA_CHECK(cudnnCreate(&made));
    CUDA_CHECK(cudnnSetStream(made, stream));
    return made;
  }();
  return shared;
}

// "NVIDIA H100 80GB HBM3, sm_90".
std::string gpu_name() {
  int device = 0;
  cudaDeviceProp properties{};
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  return detail::concat(properties.name, ", sm_", properties.major, properties.minor);
}

const cudnn::Target& this_gpu() {
  static const auto& target = *new cudnn::Target(handle(), gpu_name());
  return target;
}

void execute(const ExecutionPlan& plan, const Operands& operands) {
  plan.execute(handle(), cudnn::kConvTensors, operands.addresses(),
               plan.workspace() > 0 ? cuda::workspace(plan.workspace()) : nullptr);
  cuda::count_launch();
}

ExecutionPlan choose_plan(const ConvKey& key, const Operands& operands) {
  const bool is_timed = key.timed_engines > 1 && !cuda::is_capturing();
  std::vector<ExecutionPlan> plans = cudnn::conv_plans(
      key, this_gpu(), is_timed ? static_cast<std::size_t>(key.timed_engines) : 1);
  if (plans.size() == 1) return std::move(plans.front());
  // What is timed must not be added to the sum.
  const bool adds = key.direction == ConvDirection::dx_into;
  const Tensor sum = adds ? operands.x.clone() : operands.x;
  const Operands timed{sum, operands.weights, operands.y};
  return std::move(
      plans[cuda::fastest_of(plans.size(), [&](std::size_t i) { execute(plans[i], timed); })]);
}

void run(ConvDirection direction, const Conv2dOptions& options, const Operands& operands,
         Tensor& result) {
  if (operands.x.numel() == 0 || operands.weights.numel() == 0) {
    if (direction != ConvDirection::dx_into) fill(Cuda{}, 0, result);
    return;
  }
  static auto& plans = *new cuda::PlanCache<ConvKey, ExecutionPlan>;
  const ConvKey key(direction, operands.x.shape(), operands.weights.shape(), options,
                    result.dtype(), operands.alignment(), gpu_math());
  execute(*plans.find_or_make(key, [&] { return choose_plan(key, operands); }), operands);
}

}  // namespace

void conv2d(Cuda, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
  run(ConvDirection::forward, options, {x, w, y}, y);
}
void conv2d_dx(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  run(ConvDirection::dx, options, {dx, w, dy}, dx);
}
void conv2d_dx_into(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                    Tensor& sum) {
  run(ConvDirection::dx_into, options, {sum, w, dy}, sum);
}
void conv2d_dw(Cuda, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
  run(ConvDirection::dw, options, {x, dw, dy}, dw);
}

}  // namespace proxent::kernel
