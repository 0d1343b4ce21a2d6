#include "tensor/matmul.h"

namespace proxent {

Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options) {
  const auto [transpose_a, transpose_b] = options;
  check(a.shape().rank() == 2 && b.shape().rank() == 2,
        "matmul: both sides must be matrices, got a ", a.shape(), " and b ", b.shape());
  check(a.dtype() == b.dtype() && a.device() == b.device(), "matmul: a is ", a, " on ", a.device(),
        ", b is ", b, " on ", b.device());
  check(a.dim(transpose_a ? 0 : 1) == b.dim(transpose_b ? 1 : 0), "matmul: inner sizes differ, a ",
        a.shape(), transpose_a ? " transposed" : "", " and b ", b.shape(),
        transpose_b ? " transposed" : "");
  Tensor y({a.dim(transpose_a ? 1 : 0), b.dim(transpose_b ? 0 : 1)}, a.dtype(), a.device());
  launch("matmul", a.device(), [&](auto device) {
    kernel::matmul(device, a, options.transpose_a, b, options.transpose_b, y);
  });
  return y;
}

}  // namespace proxent
