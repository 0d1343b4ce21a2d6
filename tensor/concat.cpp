#include "tensor/concat.h"

namespace proxent {
namespace {

int axis_from_start(std::string_view op, const Shape& shape, int axis) {
  const int from_start = axis < 0 ? axis + shape.rank() : axis;
  check(from_start >= 0 && from_start < shape.rank(), op, ": axis ", axis, " of a tensor ", shape);
  return from_start;
}

// x with all axes before `axis` in one, and `axis` with all behind it in another; shares memory.
Tensor fold_at(const Tensor& x, int axis) {
  std::int64_t before = 1, after = 1;
  for (int i = 0; i < x.shape().rank(); ++i) (i < axis ? before : after) *= x.dim(i);
  return x.reshape({before, after});
}

}  // namespace

Tensor concatenate(const std::vector<Tensor>& parts, int axis) {
  check(!parts.empty(), "concatenate: expected one tensor or more, got none");
  const Tensor& first = parts[0];
  axis = axis_from_start("concatenate", first.shape(), axis);
  std::int64_t size = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Tensor& part = parts[i];
    check(part.shape().rank() == first.shape().rank() &&
              part.shape().with(axis, first.dim(axis)) == first.shape() &&
              part.dtype() == first.dtype() && part.device() == first.device(),
          "concatenate: along axis ", axis, ", part ", i, " is ", part, " on ", part.device(),
          ", part 0 is ", first, " on ", first.device());
    size += part.dim(axis);
  }
  Tensor y(first.shape().with(axis, size), first.dtype(), first.device());
  Tensor to = fold_at(y, axis);
  std::int64_t column = 0;
  for (const Tensor& part : parts) {
    const Tensor from = fold_at(part, axis);
    launch("concatenate", y.device(),
           [&](auto device) { kernel::copy_columns(device, from, 0, to, column, from.dim(1)); });
    column += from.dim(1);
  }
  return y;
}

Tensor narrow(const Tensor& x, int axis, std::int64_t first, std::int64_t count) {
  axis = axis_from_start("narrow", x.shape(), axis);
  check(first >= 0 && count >= 0 && first + count <= x.dim(axis), "narrow: entries ", first, " to ",
        first + count, " along axis ", axis, " of a tensor ", x.shape());
  Tensor y(x.shape().with(axis, count), x.dtype(), x.device());
  const Tensor from = fold_at(x, axis);
  Tensor to = fold_at(y, axis);
  const std::int64_t step = x.dim(axis) == 0 ? 0 : from.dim(1) / x.dim(axis);
  launch("narrow", x.device(),
         [&](auto device) { kernel::copy_columns(device, from, first * step, to, 0, to.dim(1)); });
  return y;
}

}  // namespace proxent
