// Row-major products as cuBLASLt's column-major problems: what it would compute, done by hand.
#include <doctest/doctest.h>

#include <vector>

#include "tensor/cuda/cublas_matmul.h"
#include "tensor/cuda/runtime.h"
#include "tensor/matmul.h"
#include "tensor/random.h"

TEST_SUITE("cublas") {
  using namespace proxent;
  using cublas::ColumnMajor;
  using cublas::MatmulKey;

  MatmulKey key_of(std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a,
                   bool transpose_b, DType dtype = DType::f64) {
    return {.m = m,
            .n = n,
            .k = k,
            .transpose_a = transpose_a,
            .transpose_b = transpose_b,
            .dtype = static_cast<std::int64_t>(dtype),
            .alignment_a = 256,
            .alignment_b = 16,
            .alignment_y = 8};
  }

  // D = op(A) op(B), read and written as the BLAS defines it.
  void multiply(const cublas::ColumnMajorProblem& p, const double* a, const double* b, double* d) {
    const auto at = [](const ColumnMajor& matrix, bool is_transposed, std::int64_t row,
                       std::int64_t column) {
      if (is_transposed) std::swap(row, column);
      REQUIRE((row < matrix.rows && column < matrix.columns && matrix.step >= matrix.rows));
      return row + column * matrix.step;
    };
    const std::int64_t inner = p.transpose_a ? p.a.rows : p.a.columns;
    for (std::int64_t i = 0; i < p.d.rows; ++i)
      for (std::int64_t j = 0; j < p.d.columns; ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l < inner; ++l)
          sum += a[at(p.a, p.transpose_a, i, l)] * b[at(p.b, p.transpose_b, l, j)];
        d[at(p.d, false, i, j)] = sum;
      }
  }

  TEST_CASE("the operands change places and nothing is moved") {
    const std::int64_t m = 3, n = 5, k = 7;
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true}) {
        CAPTURE(transpose_a);
        CAPTURE(transpose_b);
        Tensor a(transpose_a ? Shape{k, m} : Shape{m, k}, DType::f64);
        Tensor b(transpose_b ? Shape{n, k} : Shape{k, n}, DType::f64);
        fill_uniform(a, Philox(1, 1), -1, 1);
        fill_uniform(b, Philox(1, 2), -1, 1);
        const Tensor expected = matmul(a, b, {transpose_a, transpose_b});
        Tensor y = Tensor::full({m, n}, DType::f64, -9);
        multiply(cublas::column_major(key_of(m, n, k, transpose_a, transpose_b)), b.data<double>(),
                 a.data<double>(), y.data<double>());
        for (std::int64_t i = 0; i < m * n; ++i)
          CHECK(y.data<double>()[i] == doctest::Approx(expected.data<double>()[i]).epsilon(1e-14));
      }
  }

  // What cuBLASLt holds after the structures were made.
  template <class T, class Structure, class Attribute, class Read>
  T attribute(Structure & structure, Attribute which, Read read) {
    T value{};
    std::size_t written = 0;
    CHECK(read(&structure, which, &value, sizeof value, &written) == CUBLAS_STATUS_SUCCESS);
    CHECK(written == sizeof value);
    return value;
  }

  TEST_CASE("cuBLASLt takes the problem over as it was meant") {
    cublas::Problem problem(key_of(3, 5, 7, true, false, DType::bf16));
    const auto layout = [](cublasLtMatrixLayoutOpaque_t& matrix, auto which) {
      return attribute<std::uint64_t>(matrix, which, cublasLtMatrixLayoutGetAttribute);
    };
    CHECK(layout(problem.a, CUBLASLT_MATRIX_LAYOUT_ROWS) == 5);  // b^T: (n, k)
    CHECK(layout(problem.a, CUBLASLT_MATRIX_LAYOUT_COLS) == 7);
    CHECK(layout(problem.a, CUBLASLT_MATRIX_LAYOUT_LD) == 5);
    CHECK(layout(problem.b, CUBLASLT_MATRIX_LAYOUT_ROWS) == 3);  // a, stored as (k, m)
    CHECK(layout(problem.b, CUBLASLT_MATRIX_LAYOUT_COLS) == 7);
    CHECK(layout(problem.d, CUBLASLT_MATRIX_LAYOUT_ROWS) == 5);  // y^T: (n, m)
    const auto operation = [&](auto which) {
      return attribute<std::int32_t>(problem.operation, which, cublasLtMatmulDescGetAttribute);
    };
    CHECK(operation(CUBLASLT_MATMUL_DESC_TRANSA) == CUBLAS_OP_N);
    CHECK(operation(CUBLASLT_MATMUL_DESC_TRANSB) == CUBLAS_OP_T);
    CHECK(operation(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE) == CUBLAS_COMPUTE_32F);
    CHECK(operation(CUBLASLT_MATMUL_DESC_SCALE_TYPE) == CUDA_R_32F);
    const auto preference = [&](auto which) {
      return attribute<std::uint32_t>(problem.preference, which,
                                      cublasLtMatmulPreferenceGetAttribute);
    };
    CHECK(preference(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES) == 16);  // of b
    CHECK(preference(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES) == 256);
    CHECK(preference(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) == 8);
  }

  TEST_CASE("the precision of sums follows the dtype") {
    const auto compute = [](DType dtype) {
      cublas::Problem problem(key_of(4, 4, 4, false, false, dtype));
      return attribute<std::int32_t>(problem.operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE,
                                     cublasLtMatmulDescGetAttribute);
    };
    CHECK(compute(DType::f32) == CUBLAS_COMPUTE_32F);  // not TF32: see tensor/gpu_math.h
    CHECK(compute(DType::bf16) == CUBLAS_COMPUTE_32F);
    CHECK(compute(DType::f16) == CUBLAS_COMPUTE_32F);
    CHECK(compute(DType::f64) == CUBLAS_COMPUTE_64F);
    CHECK_THROWS_AS(compute(DType::i32), Error);
    CHECK_THROWS_WITH_AS(CUDA_CHECK(CUBLAS_STATUS_NOT_SUPPORTED),
                         doctest::Contains("CUBLAS_STATUS_NOT_SUPPORTED"), CublasError);
  }
}
