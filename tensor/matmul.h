// Matrix products.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

namespace kernel {
// y (m, n) = op(a) op(b) with op(x) = x^T where it is marked as transposed.
KERNEL(matmul, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y);
}  // namespace kernel

struct MatmulOptions {
  bool transpose_a = false, transpose_b = false;
};

// op(a) (m, k) times op(b) (k, n) -> (m, n), op transposing where asked; nothing is copied for it.
Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options = {});

}  // namespace proxent
