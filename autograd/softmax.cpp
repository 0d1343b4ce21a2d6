#include "tensor/softmax.h"

#include "autograd/ops.h"

namespace proxent {

Variable softmax(const Variable& x) {
  Tensor y = softmax(x.value());
  return record("softmax", y, {{x, [y](const Tensor& dy) { return softmax_backward(dy, y); }}});
}

Variable log_softmax(const Variable& x) {
  Tensor y = log_softmax(x.value());
  return record("log_softmax", y,
                {{x, [y](const Tensor& dy) { return log_softmax_backward(dy, y); }}});
}

Variable log_sum_exp(const Variable& x) {
  Tensor y = log_sum_exp(x.value());
  return record(
      "log_sum_exp", y,
      {{x, [x = x.value(), y](const Tensor& dy) { return log_sum_exp_backward(dy, x, y); }}});
}

}  // namespace proxent
