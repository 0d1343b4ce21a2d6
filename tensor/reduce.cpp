#include "tensor/reduce.h"

#include "tensor/last_axis.h"
#include "tensor/pointwise.h"

namespace proxent {

namespace {
// True if repeating `from` along axes of size 1 and missing ones makes `to`.
bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int i = 1; i <= from.rank(); ++i)
    if (from[-i] != 1 && from[-i] != to[-i]) return false;
  return true;
}
}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  check(broadcasts_to(shape, x.shape()), "sum_to: ", shape, " does not broadcast to x ", x.shape());
  Tensor y(shape, x.dtype(), x.device());
  launch("sum_to", x.device(), [&](auto device) { kernel::sum_to(device, x, y); });
  return y;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  check(broadcasts_to(x.shape(), shape), "broadcast_to: x ", x.shape(), " does not broadcast to ",
        shape);
  Tensor y(shape, x.dtype(), x.device());
  launch("broadcast_to", x.device(), [&](auto device) { kernel::broadcast_to(device, x, y); });
  return y;
}

Tensor sum_last(const Tensor& x) {
  const Tensor rows = as_rows("sum_last", x);
  return sum_to(rows, {rows.dim(0), 1}).reshape(without_last("sum_last", x.shape()));
}

Tensor mean_last(const Tensor& x) {
  check(x.shape().rank() >= 1 && x.dim(-1) >= 1, "mean_last: the last axis must not be empty, got ",
        x.shape());
  return scale(sum_last(x), 1.0 / static_cast<double>(x.dim(-1)));
}

MaxLast max_last(const Tensor& x) {
  const Shape shape = without_last("max_last", x.shape());
  check(x.dim(-1) >= 1, "max_last: the last axis must not be empty, got ", x.shape());
  MaxLast out{Tensor(shape, x.dtype(), x.device()), Tensor(shape, DType::i32, x.device())};
  launch("max_last", x.device(), [&](auto device) {
    kernel::max_last(device, as_rows("max_last", x), out.values, out.indices);
  });
  return out;
}

}  // namespace proxent
