#include "tensor/reduce.h"

#include "autograd/ops.h"
#include "tensor/gather.h"
#include "tensor/last_axis.h"

namespace proxent {

Variable sum_to(const Variable& x, const Shape& shape) {
  return record("sum_to", sum_to(x.value(), shape), {{x, [from = x.shape()](const Tensor& dy) {
                                                        return broadcast_to(
                                                            dy, from);  // every summand counts once
                                                      }}});
}

Variable broadcast_to(const Variable& x, const Shape& shape) {
  return record("broadcast_to", broadcast_to(x.value(), shape),
                {{x, [](const Tensor& dy) {
                    return dy;  // the engine sums over the repeats
                  }}});
}

Variable sum(const Variable& x) { return sum_to(x, {}); }

Variable mean(const Variable& x) { return sum(x) / static_cast<double>(x.value().numel()); }

namespace {
// dy of a reduced tensor with its last axis back, at size 1.
Tensor with_last(const Tensor& dy, const Shape& x_shape) { return dy.reshape(x_shape.with(-1, 1)); }
}  // namespace

Variable sum_last(const Variable& x) {
  return record("sum_last", sum_last(x.value()), {{x, [from = x.shape()](const Tensor& dy) {
                                                     return broadcast_to(with_last(dy, from), from);
                                                   }}});
}

Variable mean_last(const Variable& x) { return sum_last(x) / static_cast<double>(x.dim(-1)); }

Variable max_last(const Variable& x) {
  auto [values, indices] = max_last(x.value());
  return record(
      "max_last", values,
      {{x, [indices = indices, from = x.shape()](const Tensor& dy) {
          const Shape rows{dy.numel()};
          return pick_backward(dy.reshape(rows), indices.reshape(rows), from[-1]).reshape(from);
        }}});
}

Variable reshape(const Variable& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape),
                {{x, [from = x.shape()](const Tensor& dy) { return dy.reshape(from); }}});
}

}  // namespace proxent
