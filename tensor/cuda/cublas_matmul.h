// A row-major matrix product as a problem of cuBLASLt, which thinks in columns.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <ostream>
#include <source_location>
#include <string_view>

#include "tensor/dtype.h"
#include "tensor/gpu_math.h"
#include "tensor/shape.h"

namespace proxent {

// A cuBLASLt call failed; carries the call and its status.
struct CublasError : Error {
  using Error::Error;
};

namespace cuda {
// For CUDA_CHECK: throws CublasError unless the call succeeded.
void check_call(cublasStatus_t status, std::string_view call,
                std::source_location where = std::source_location::current());
}  // namespace cuda

namespace cublas {

// Everything that the choice of an algorithm depends on, beside the GPU. Members of 8 bytes only:
// keys are compared by their bytes. y (m, n) = op(a) op(b) with inner size k.
struct MatmulKey {
  std::int64_t m, n, k;
  std::int64_t transpose_a, transpose_b, dtype;
  std::int64_t alignment_a, alignment_b, alignment_y;  // divide the addresses
  std::int64_t timed_engines, workspace_limit;
};
// "matmul (128, 512) x (512, 1000) in bf16", sizes after transposition.
std::ostream& operator<<(std::ostream& out, const MatmulKey& key);

// A matrix as cuBLASLt sees it: element (row, column) lies at row + column * step.
struct ColumnMajor {
  std::int64_t rows, columns, step;
};
// cuBLASLt's D (n, m) = op(A) op(B). The rows of a row-major matrix are the columns of its
// transpose, so the same memory reads as y^T = op(b)^T op(a)^T with A = b and B = a: the operands
// change places, and nothing is moved.
struct ColumnMajorProblem {
  ColumnMajor a, b, d;
  bool transpose_a, transpose_b;
};
ColumnMajorProblem column_major(const MatmulKey& key);

// The problem in cuBLASLt's structures, which own nothing. Products of f32 are summed in f32 (TF32
// where the key allows it), of bf16 and f16 in f32, of f64 in f64.
struct Problem {
  explicit Problem(const MatmulKey& key);
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t a, b, d;
  cublasLtMatmulPreferenceOpaque_t preference;
};

}  // namespace cublas
}  // namespace proxent
