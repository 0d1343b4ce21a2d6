// Matrix products through cuBLASLt: one algorithm for each set of sizes, chosen at its first call
// and kept.
#include "tensor/matmul.h"

#include <bit>
#include <vector>

#include "tensor/copy.h"
#include "tensor/cuda/cublas_matmul.h"
#include "tensor/cuda/library_timing.h"
#include "tensor/cuda/plan_cache.h"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {

using cublas::MatmulKey;

struct Plan {
  cublas::Problem problem;
  cublasLtMatmulAlgo_t algorithm{};
  std::int64_t workspace = 0;  // bytes
};

struct Operands {
  const Tensor &a, &b;
  Tensor& y;
};

cublasLtHandle_t handle() {
  // Not destroyed: the driver may be gone before static objects are.
  static const cublasLtHandle_t shared = [] {
    cuda::compute_stream();  // makes the chosen GPU the current one, or says why there is none
    cublasLtHandle_t made = nullptr;
    CUDA_CHECK(cublasLtCreate(&made));
    return made;
  }();
  return shared;
}

// The largest power of two, at most what cuBLASLt makes use of, that divides the address.
std::int64_t alignment_of(const Tensor& tensor) {
  constexpr std::uintptr_t kBest = 256;
  return std::int64_t{1} << std::countr_zero(reinterpret_cast<std::uintptr_t>(tensor.raw()) |
                                             kBest);
}

MatmulKey key_of(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                 const Tensor& y) {
  const GpuMath& math = gpu_math();
  return {.m = y.dim(0),
          .n = y.dim(1),
          .k = a.dim(transpose_a ? 0 : 1),
          .transpose_a = transpose_a,
          .transpose_b = transpose_b,
          .dtype = static_cast<std::int64_t>(y.dtype()),
          .alignment_a = alignment_of(a),
          .alignment_b = alignment_of(b),
          .alignment_y = alignment_of(y),
          .timed_engines = math.timed_engines,
          .workspace_limit = math.workspace_limit};
}

void execute(const Plan& plan, const Operands& operands) {
  // The scale factors have the type that sums have.
  const bool is_double = operands.y.dtype() == DType::f64;
  constexpr float kOne = 1, kZero = 0;
  constexpr double kDoubleOne = 1, kDoubleZero = 0;
  const void* alpha = is_double ? static_cast<const void*>(&kDoubleOne) : &kOne;
  const void* beta = is_double ? static_cast<const void*>(&kDoubleZero) : &kZero;
  // Descriptors are only read, though the C interface does not say so.
  auto problem = plan.problem;
  CUDA_CHECK(cublasLtMatmul(handle(), &problem.operation, alpha, operands.b.raw(), &problem.a,
                            operands.a.raw(), &problem.b, beta, operands.y.raw(), &problem.d,
                            operands.y.raw(), &problem.d, &plan.algorithm,
                            plan.workspace > 0 ? cuda::workspace(plan.workspace) : nullptr,
                            static_cast<std::size_t>(plan.workspace), cuda::compute_stream()));
  cuda::count_launch();
}

// The algorithms that cuBLASLt proposes, the best first; at least one.
std::vector<Plan> proposals(const MatmulKey& key, int most) {
  cublas::Problem problem(key);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(most));
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle(), &problem.operation, &problem.a, &problem.b, &problem.d, &problem.d,
      &problem.preference, most, results.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED) CUDA_CHECK(status);
  std::vector<Plan> plans;
  for (int i = 0; i < count; ++i)
    if (const auto& result = results[static_cast<std::size_t>(i)];
        result.state == CUBLAS_STATUS_SUCCESS)
      plans.push_back({problem, result.algo, static_cast<std::int64_t>(result.workspaceSize)});
  check<CublasError>(!plans.empty(), key, ": cuBLASLt ", cublasLtGetVersion(),
                     " knows no algorithm for it on this GPU within ", key.workspace_limit,
                     " bytes of workspace (", cublasLtGetStatusName(status), ")");
  return plans;
}

Plan choose_plan(const MatmulKey& key, const Operands& operands) {
  const bool is_timed = key.timed_engines > 1 && !cuda::is_capturing();
  const std::vector<Plan> plans =
      proposals(key, is_timed ? static_cast<int>(key.timed_engines) : 1);
  if (plans.size() == 1) return plans.front();
  return plans[cuda::fastest_of(plans.size(), [&](std::size_t i) { execute(plans[i], operands); })];
}

}  // namespace

void matmul(Cuda, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  if (a.numel() == 0 || b.numel() == 0) return fill(Cuda{}, 0, y);
  static auto& plans = *new cuda::PlanCache<MatmulKey, Plan>;
  const Operands operands{a, b, y};
  const MatmulKey key = key_of(a, transpose_a, b, transpose_b, y);
  execute(*plans.find_or_make(key, [&] { return choose_plan(key, operands); }), operands);
}

}  // namespace proxent::kernel
