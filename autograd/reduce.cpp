#include "tensor/reduce.h"

#include "autograd/ops.h"

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

Variable reshape(const Variable& x, const Shape& shape) {
  return record("reshape", x.value().reshape(shape),
                {{x, [from = x.shape()](const Tensor& dy) { return dy.reshape(from); }}});
}

}  // namespace proxent
