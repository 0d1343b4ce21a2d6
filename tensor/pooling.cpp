#include "tensor/pooling.h"

#include "tensor/window.h"

namespace proxent {
namespace {

// (N, C) of an image (N, H, W, C) that has pixels.
Shape pooled_shape(std::string_view op, const Shape& x) {
  check(x.rank() == 4, op, ": x must be (N, H, W, C), got ", x);
  check(x[1] > 0 && x[2] > 0, op, ": x has no pixels, ", x);
  return {x[0], x[3]};
}

Shape pooled_shape(std::string_view op, const Shape& x, const Pool2dOptions& options) {
  pooled_shape(op, x);
  check(options.size >= 1 && options.size <= kMaxPoolSize, op, ": size must be 1 to ", kMaxPoolSize,
        ", got ", options.size);
  check(options.stride >= 1, op, ": stride must be at least 1, got ", options.stride);
  check(options.padding >= 0 && options.padding <= options.size / 2, op,
        ": padding must be 0 to half of size ", options.size, ", got ", options.padding);
  const auto positions = options.rounds_up ? window_positions_up : window_positions;
  const auto p = positions(x[1], options.size, options.stride, options.padding);
  const auto q = positions(x[2], options.size, options.stride, options.padding);
  check(p > 0 && q > 0, op, ": size ", options.size, " is larger than x ", x, " padded by ",
        options.padding);
  return {x[0], p, q, x[3]};
}

void check_gradient(std::string_view op, const Tensor& dy, const Shape& expected) {
  check(dy.shape() == expected, op, ": dy should be ", expected, ", got ", dy.shape());
}
void check_index(std::string_view op, const Tensor& index, const Tensor& dy, DType dtype) {
  check(index.shape() == dy.shape() && index.dtype() == dtype, op, ": index should be ", dy.shape(),
        " ", dtype, ", got ", index);
}

Shape check_gem(std::string_view op, const Tensor& x, const Tensor& p) {
  check(p.numel() == 1, op, ": p must be one number, got ", p);
  check(p.dtype() == sum_dtype(x.dtype()) && p.device() == x.device(), op, ": p should be ",
        sum_dtype(x.dtype()), " on ", x.device(), " for x ", x, ", got ", p, " on ", p.device());
  return pooled_shape(op, x.shape());
}
void check_gem_backward(std::string_view op, const Tensor& dy, const Tensor& x, const Tensor& p,
                        const Tensor& y) {
  check_gradient(op, dy, check_gem(op, x, p));
  check_same(op, dy, y);
}

}  // namespace

MaxPooled max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const Shape shape = pooled_shape("max_pool2d", x.shape(), options);
  MaxPooled out{Tensor(shape, x.dtype(), x.device()), Tensor(shape, DType::u8, x.device())};
  launch("max_pool2d", x.device(),
         [&](auto device) { kernel::max_pool2d(device, x, options, out.y, out.index); });
  return out;
}

Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape,
                           const Pool2dOptions& options) {
  constexpr auto op = "max_pool2d_backward";
  check_gradient(op, dy, pooled_shape(op, x_shape, options));
  check_index(op, index, dy, DType::u8);
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch(op, dy.device(),
         [&](auto device) { kernel::max_pool2d_backward(device, dy, index, options, dx); });
  return dx;
}

Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check(!options.rounds_up, "avg_pool2d: rounds_up is of max_pool2d only");
  Tensor y(pooled_shape("avg_pool2d", x.shape(), options), x.dtype(), x.device());
  launch("avg_pool2d", x.device(), [&](auto device) { kernel::avg_pool2d(device, x, options, y); });
  return y;
}

Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, const Pool2dOptions& options) {
  constexpr auto op = "avg_pool2d_backward";
  check_gradient(op, dy, pooled_shape(op, x_shape, options));
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch(op, dy.device(),
         [&](auto device) { kernel::avg_pool2d_backward(device, dy, options, dx); });
  return dx;
}

Tensor global_avg_pool(const Tensor& x) {
  Tensor y(pooled_shape("global_avg_pool", x.shape()), x.dtype(), x.device());
  launch("global_avg_pool", x.device(),
         [&](auto device) { kernel::global_avg_pool(device, x, y); });
  return y;
}

Tensor global_avg_pool_backward(const Tensor& dy, const Shape& x_shape) {
  constexpr auto op = "global_avg_pool_backward";
  check_gradient(op, dy, pooled_shape(op, x_shape));
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch(op, dy.device(), [&](auto device) { kernel::global_avg_pool_backward(device, dy, dx); });
  return dx;
}

MaxPooled global_max_pool(const Tensor& x) {
  const Shape shape = pooled_shape("global_max_pool", x.shape());
  MaxPooled out{Tensor(shape, x.dtype(), x.device()), Tensor(shape, DType::i32, x.device())};
  launch("global_max_pool", x.device(),
         [&](auto device) { kernel::global_max_pool(device, x, out.y, out.index); });
  return out;
}

Tensor global_max_pool_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape) {
  constexpr auto op = "global_max_pool_backward";
  check_gradient(op, dy, pooled_shape(op, x_shape));
  check_index(op, index, dy, DType::i32);
  Tensor dx(x_shape, dy.dtype(), dy.device());
  launch(op, dy.device(),
         [&](auto device) { kernel::global_max_pool_backward(device, dy, index, dx); });
  return dx;
}

Tensor gem_pool(const Tensor& x, const Tensor& p) {
  Tensor y(check_gem("gem_pool", x, p), x.dtype(), x.device());
  launch("gem_pool", x.device(), [&](auto device) { kernel::gem_pool(device, x, p, y); });
  return y;
}

Tensor gem_pool_dx(const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y) {
  check_gem_backward("gem_pool_dx", dy, x, p, y);
  Tensor dx(x.shape(), x.dtype(), x.device());
  launch("gem_pool_dx", x.device(),
         [&](auto device) { kernel::gem_pool_dx(device, dy, x, p, y, dx); });
  return dx;
}

Tensor gem_pool_dp(const Tensor& dy, const Tensor& x, const Tensor& p, const Tensor& y) {
  check_gem_backward("gem_pool_dp", dy, x, p, y);
  Tensor dp(p.shape(), p.dtype(), p.device());
  launch("gem_pool_dp", x.device(),
         [&](auto device) { kernel::gem_pool_dp(device, dy, x, p, y, dp); });
  return dp;
}

}  // namespace proxent
