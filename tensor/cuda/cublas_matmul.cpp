#include "tensor/cuda/cublas_matmul.h"

#include <algorithm>

#include "tensor/cuda/runtime.h"

namespace proxent {

void cuda::check_call(cublasStatus_t status, std::string_view call, std::source_location where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CublasError(detail::concat(call, ": ", cublasLtGetStatusName(status), ", ",
                                   cublasLtGetStatusString(status)),
                    detail::origin(where));
}

namespace cublas {
namespace {

// What NVIDIA recommends for Hopper; split sums hardly ever ask for more.
constexpr std::int64_t kMostWorkspace = std::int64_t{32} << 20;

DType dtype_of(const MatmulKey& key) { return static_cast<DType>(key.dtype); }

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f64:
      return CUDA_R_64F;
    case DType::bf16:
      return CUDA_R_16BF;
    case DType::f16:
      return CUDA_R_16F;
    default:
      fail("matmul: expected a floating dtype, got ", dtype);
  }
}

cublasComputeType_t compute_type(const MatmulKey& key) {
  return dtype_of(key) == DType::f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F;
}

template <class T>
void set(cublasLtMatmulDescOpaque_t& operation, cublasLtMatmulDescAttributes_t attribute,
         const T& value) {
  CUDA_CHECK(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value));
}
template <class T>
void set(cublasLtMatmulPreferenceOpaque_t& preference,
         cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  CUDA_CHECK(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value));
}

void describe(cublasLtMatrixLayoutOpaque_t& layout, const ColumnMajor& matrix, DType dtype) {
  CUDA_CHECK(cublasLtMatrixLayoutInit(&layout, data_type(dtype),
                                      static_cast<std::uint64_t>(matrix.rows),
                                      static_cast<std::uint64_t>(matrix.columns), matrix.step));
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const MatmulKey& key) {
  return out << "matmul " << Shape{key.m, key.k} << " x " << Shape{key.k, key.n} << " in "
             << dtype_of(key);
}

ColumnMajorProblem column_major(const MatmulKey& key) {
  // A row-major (rows, columns) is a column-major (columns, rows).
  const auto seen = [](std::int64_t rows, std::int64_t columns) {
    return ColumnMajor{columns, rows, columns};
  };
  return {.a = key.transpose_b ? seen(key.n, key.k) : seen(key.k, key.n),
          .b = key.transpose_a ? seen(key.k, key.m) : seen(key.m, key.k),
          .d = seen(key.m, key.n),
          .transpose_a = key.transpose_b != 0,
          .transpose_b = key.transpose_a != 0};
}

Problem::Problem(const MatmulKey& key) {
  const DType dtype = dtype_of(key);
  const ColumnMajorProblem problem = column_major(key);
  describe(a, problem.a, dtype);
  describe(b, problem.b, dtype);
  describe(d, problem.d, dtype);

  CUDA_CHECK(cublasLtMatmulDescInit(&operation, compute_type(key),
                                    dtype == DType::f64 ? CUDA_R_64F : CUDA_R_32F));
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, problem.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, problem.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);

  CUDA_CHECK(cublasLtMatmulPreferenceInit(&preference));
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      static_cast<std::uint64_t>(std::min(key.workspace_limit, kMostWorkspace)));
  // Sums that are split over blocks are put together in f32, not in the 16 bits of the result.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto align = [&](cublasLtMatmulPreferenceAttributes_t attribute, std::int64_t bytes) {
    set(preference, attribute, static_cast<std::uint32_t>(bytes));
  };
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.alignment_b);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.alignment_a);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.alignment_y);
  align(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.alignment_y);
}

}  // namespace cublas
}  // namespace proxent
