#include "tensor/softmax.h"

#include "tensor/last_axis.h"

namespace proxent {

Tensor softmax(const Tensor& x) {
  const Tensor rows = as_rows("softmax", x);
  Tensor y(rows.shape(), x.dtype(), x.device());
  launch("softmax", x.device(), [&](auto device) { kernel::softmax(device, rows, y); });
  return y.reshape(x.shape());
}

Tensor softmax_backward(const Tensor& dy, const Tensor& y) {
  check_same("softmax_backward", dy, y);
  const Tensor dy_rows = as_rows("softmax_backward", dy), y_rows = as_rows("softmax_backward", y);
  Tensor dx(y_rows.shape(), y.dtype(), y.device());
  launch("softmax_backward", y.device(),
         [&](auto device) { kernel::softmax_backward(device, dy_rows, y_rows, dx); });
  return dx.reshape(y.shape());
}

Tensor log_softmax(const Tensor& x) {
  const Tensor rows = as_rows("log_softmax", x);
  Tensor y(rows.shape(), x.dtype(), x.device());
  launch("log_softmax", x.device(), [&](auto device) { kernel::log_softmax(device, rows, y); });
  return y.reshape(x.shape());
}

Tensor log_softmax_backward(const Tensor& dy, const Tensor& y) {
  check_same("log_softmax_backward", dy, y);
  const Tensor dy_rows = as_rows("log_softmax_backward", dy);
  const Tensor y_rows = as_rows("log_softmax_backward", y);
  Tensor dx(y_rows.shape(), y.dtype(), y.device());
  launch("log_softmax_backward", y.device(),
         [&](auto device) { kernel::log_softmax_backward(device, dy_rows, y_rows, dx); });
  return dx.reshape(y.shape());
}

Tensor log_sum_exp(const Tensor& x) {
  const Tensor rows = as_rows("log_sum_exp", x);
  Tensor y(without_last("log_sum_exp", x.shape()), x.dtype(), x.device());
  launch("log_sum_exp", x.device(), [&](auto device) { kernel::log_sum_exp(device, rows, y); });
  return y;
}

Tensor log_sum_exp_backward(const Tensor& dy, const Tensor& x, const Tensor& y) {
  check_same("log_sum_exp_backward", dy, y);
  const Tensor rows = as_rows("log_sum_exp_backward", x);
  Tensor dx(rows.shape(), x.dtype(), x.device());
  launch("log_sum_exp_backward", x.device(),
         [&](auto device) { kernel::log_sum_exp_backward(device, dy, rows, y, dx); });
  return dx.reshape(x.shape());
}

}  // namespace proxent
