#include "tensor/conv.h"

#include "tensor/window.h"

namespace proxent {
namespace {

// Shape of y, after every check that the three directions share.
Shape output_shape(std::string_view op, const Shape& x, const Shape& w,
                   const Conv2dOptions& options) {
  check(x.rank() == 4, op, ": x must be (N, H, W, C), got ", x);
  check(w.rank() == 4, op, ": w must be (K, R, S, C), got ", w);
  check(x[3] == w[3], op, ": channels differ, x ", x, " and w ", w);
  check(options.stride >= 1, op, ": stride must be at least 1, got ", options.stride);
  check(options.padding >= 0 && options.padding <= kMaxPadding, op, ": padding must be 0 to ",
        kMaxPadding, ", got ", options.padding);
  const auto p = window_positions(x[1], w[1], options.stride, options.padding);
  const auto q = window_positions(x[2], w[2], options.stride, options.padding);
  check(p > 0 && q > 0, op, ": w ", w, " is larger than x ", x, " padded by ", options.padding);
  check(w[1] > 0 && w[2] > 0, op, ": w must have at least one row and column, got ", w);
  return {x[0], p, q, w[0]};
}

void check_alike(std::string_view op, std::string_view names, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype() && a.device() == b.device(), op, ": ", names,
        " differ in dtype or device, ", a, " on ", a.device(), " and ", b, " on ", b.device());
}

void check_dy(std::string_view op, const Tensor& dy, const Shape& expected) {
  check(dy.shape() == expected, op, ": dy should be ", expected, ", got ", dy.shape());
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2dOptions& options) {
  const Shape shape = output_shape("conv2d", x.shape(), w.shape(), options);
  check_alike("conv2d", "x and w", x, w);
  Tensor y(shape, x.dtype(), x.device());
  launch("conv2d", x.device(), [&](auto device) { kernel::conv2d(device, x, w, options, y); });
  return y;
}

Tensor conv2d_dx(const Tensor& dy, const Tensor& w, const Shape& x_shape,
                 const Conv2dOptions& options) {
  check_dy("conv2d_dx", dy, output_shape("conv2d_dx", x_shape, w.shape(), options));
  check_alike("conv2d_dx", "dy and w", dy, w);
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch("conv2d_dx", dy.device(),
         [&](auto device) { kernel::conv2d_dx(device, dy, w, options, dx); });
  return dx;
}

void conv2d_dx_into(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& sum) {
  constexpr std::string_view op = "conv2d_dx_into";
  check_dy(op, dy, output_shape(op, sum.shape(), w.shape(), options));
  check_alike(op, "dy and w", dy, w);
  check_alike(op, "dy and sum", dy, sum);
  launch(op, dy.device(),
         [&](auto device) { kernel::conv2d_dx_into(device, dy, w, options, sum); });
  sum.mark_edited();
}

Tensor conv2d_dw(const Tensor& dy, const Tensor& x, const Shape& w_shape,
                 const Conv2dOptions& options) {
  check_dy("conv2d_dw", dy, output_shape("conv2d_dw", x.shape(), w_shape, options));
  check_alike("conv2d_dw", "dy and x", dy, x);
  Tensor dw(w_shape, dy.dtype(), dy.device());
  launch("conv2d_dw", dy.device(),
         [&](auto device) { kernel::conv2d_dw(device, dy, x, options, dw); });
  return dw;
}

}  // namespace proxent
