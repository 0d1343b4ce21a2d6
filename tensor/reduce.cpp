#include "tensor/reduce.h"

#include "tensor/pointwise.h"

namespace proxent {

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check(broadcast_shape("sum_to", x.shape(), shape) == x.shape(), "sum_to: ", shape,
        " does not broadcast to x ", x.shape());
  Tensor y(shape, x.dtype(), x.device());
  launch("sum_to", x.device(), [&](auto device) { kernel::sum_to(device, x, y); });
  return y;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  check(broadcast_shape("broadcast_to", x.shape(), shape) == shape, "broadcast_to: x ", x.shape(),
        " does not broadcast to ", shape);
  Tensor y(shape, x.dtype(), x.device());
  launch("broadcast_to", x.device(), [&](auto device) { kernel::broadcast_to(device, x, y); });
  return y;
}

}  // namespace proxent
