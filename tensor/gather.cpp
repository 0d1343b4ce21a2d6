#include "tensor/gather.h"

#include "tensor/gpu.h"

namespace proxent {

void check_index(std::string_view op, const Tensor& index, Device device, const IndexRules& rules) {
  check(index.is_defined() && index.dtype() == DType::i32 && index.shape() == Shape{rules.size} &&
            index.device() == device,
        op, ": expected one i32 ", rules.what, " for each of ", rules.size, " rows on ", device,
        ", got ", index, " on ", index.device());
  if (device == Device::meta || (device == Device::cuda && !is_gpu_synchronous())) return;
  const Tensor here = index.to(Device::cpu);
  const std::int32_t* values = here.data<std::int32_t>();
  for (std::int64_t i = 0; i < rules.size; ++i) {
    const std::int64_t value = values[i];
    check((value >= 0 && value < rules.limit) || value == rules.exception, op, ": ", rules.what,
          " ", value, " of row ", i, " is not in 0 .. ", rules.limit - 1);
  }
}

namespace {
// x (R, ...) as (R, elements of one entry).
Tensor as_matrix(const Tensor& x) {
  const std::int64_t cols = x.shape().with(0, 1).numel();
  return x.reshape({x.dim(0), cols});
}
}  // namespace

Tensor arange(std::int64_t n, Device device, std::int64_t repeats) {
  check(repeats >= 1, "arange: repeats must be at least 1, got ", repeats);
  Tensor y({n}, DType::i32, device);
  launch("arange", device, [&](auto device) { kernel::arange(device, repeats, y); });
  return y;
}

Tensor gather_rows(const Tensor& x, const Tensor& index) {
  check(x.shape().rank() >= 1, "gather_rows: x must be (R, ...), got a scalar");
  check_index("gather_rows", index, x.device(), {.size = index.numel(), .limit = x.dim(0)});
  Tensor y(x.shape().with(0, index.numel()), x.dtype(), x.device());
  Tensor rows = as_matrix(y);
  launch("gather_rows", x.device(),
         [&](auto device) { kernel::gather_rows(device, as_matrix(x), index, rows); });
  return y;
}

Tensor gather_rows_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape) {
  check(x_shape.rank() >= 1 && dy.shape() == x_shape.with(0, index.numel()),
        "gather_rows_backward: dy ", dy.shape(), " does not belong to ", index.numel(), " rows of ",
        x_shape);
  check_index("gather_rows_backward", index, dy.device(),
              {.size = index.numel(), .limit = x_shape[0]});
  Tensor dx(x_shape, dy.dtype(), dy.device());
  Tensor rows = as_matrix(dx);
  launch("gather_rows_backward", dy.device(),
         [&](auto device) { kernel::gather_rows_backward(device, as_matrix(dy), index, rows); });
  return dx;
}

Tensor pick(const Tensor& x, const Tensor& index) {
  check(x.shape().rank() == 2, "pick: x must be (rows, cols), got ", x.shape());
  check_index("pick", index, x.device(), {.size = x.dim(0), .limit = x.dim(1)});
  Tensor y({x.dim(0)}, x.dtype(), x.device());
  launch("pick", x.device(), [&](auto device) { kernel::pick(device, x, index, y); });
  return y;
}

Tensor pick_backward(const Tensor& dy, const Tensor& index, std::int64_t cols) {
  check(dy.shape().rank() == 1, "pick_backward: dy must be (rows), got ", dy.shape());
  check_index("pick_backward", index, dy.device(), {.size = dy.dim(0), .limit = cols});
  Tensor dx({dy.dim(0), cols}, dy.dtype(), dy.device());
  launch("pick_backward", dy.device(),
         [&](auto device) { kernel::pick_backward(device, dy, index, dx); });
  return dx;
}

}  // namespace proxent
