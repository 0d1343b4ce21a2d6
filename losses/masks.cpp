#include "losses/masks.h"

#include "tensor/gather.h"

namespace proxent {

Tensor identity(std::int64_t n, DType dtype, Device device) {
  return one_hot(arange(n, device), n, dtype);
}

Tensor one_hot(const Tensor& labels, std::int64_t classes, DType dtype, double value) {
  const Tensor values = Tensor::full({labels.numel()}, dtype, value, labels.device());
  return pick_backward(values, labels, classes);
}

Tensor inverted(const Tensor& mask) { return shift(neg(mask), 1); }

Tensor has_any(const Tensor& mask) { return is_positive(sum_last(mask)); }

Tensor hidden(const Tensor& mask) { return scale(shift(mask, -1), kMaskDepth); }

Variable masked(const Variable& x, const Tensor& mask) {
  return x * Variable(mask) + Variable(hidden(mask));
}

Variable log_one_plus_sum_exp(const Variable& x, const Tensor& mask) {
  const Variable zero = Tensor::zeros({x.dim(0), 1}, x.dtype(), x.value().device());
  return log_sum_exp(concatenate({zero, masked(x, mask)}, 1));
}

}  // namespace proxent
