#include "tensor/normalize.h"

namespace proxent {

Normalized normalize_rows(const Tensor& x) {
  check(x.shape().rank() == 2, "normalize_rows: x must be (rows, cols), got ", x.shape());
  Normalized out{Tensor(x.shape(), x.dtype(), x.device()),
                 Tensor({x.dim(0)}, x.dtype(), x.device())};
  launch("normalize_rows", x.device(),
         [&](auto device) { kernel::normalize_rows(device, x, out.y, out.length); });
  return out;
}

Tensor normalize_rows_backward(const Tensor& dy, const Normalized& forward) {
  check_same("normalize_rows_backward", dy, forward.y);
  Tensor dx(dy.shape(), dy.dtype(), dy.device());
  launch("normalize_rows_backward", dy.device(), [&](auto device) {
    kernel::normalize_rows_backward(device, dy, forward.y, forward.length, dx);
  });
  return dx;
}

}  // namespace proxent
