#include "tensor/onednn/matmul.h"

#include <oneapi/dnnl/dnnl.h>

namespace proxent::onednn {

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  const std::int64_t m = y.dim(0), n = y.dim(1), k = a.dim(transpose_a ? 0 : 1);
  const auto stride = [](std::int64_t row) { return std::max<std::int64_t>(1, row); };
  const dnnl_status_t status = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', m, n, k,
                                          1.0f, a.data<float>(), stride(a.dim(1)), b.data<float>(),
                                          stride(b.dim(1)), 0.0f, y.data<float>(), stride(n));
  check(status == dnnl_success, "matmul: dnnl_sgemm failed with status ", status, " for a ", a,
        " and b ", b);
}

}  // namespace proxent::onednn
