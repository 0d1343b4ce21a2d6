#include "tensor/pooling.h"

#include "autograd/ops.h"

namespace proxent {

Variable max_pool2d(const Variable& x, const Pool2dOptions& options) {
  MaxPooled forward = max_pool2d(x.value(), options);
  return record("max_pool2d", forward.y,
                {{x, [index = forward.index, shape = x.shape(), options](const Tensor& dy) {
                    return max_pool2d_backward(dy, index, shape, options);
                  }}});
}

Variable avg_pool2d(const Variable& x, const Pool2dOptions& options) {
  return record("avg_pool2d", avg_pool2d(x.value(), options),
                {{x, [shape = x.shape(), options](const Tensor& dy) {
                    return avg_pool2d_backward(dy, shape, options);
                  }}});
}

Variable global_avg_pool(const Variable& x) {
  return record(
      "global_avg_pool", global_avg_pool(x.value()),
      {{x, [shape = x.shape()](const Tensor& dy) { return global_avg_pool_backward(dy, shape); }}});
}

Variable global_max_pool(const Variable& x) {
  MaxPooled forward = global_max_pool(x.value());
  return record("global_max_pool", forward.y,
                {{x, [index = forward.index, shape = x.shape()](const Tensor& dy) {
                    return global_max_pool_backward(dy, index, shape);
                  }}});
}

Variable gem_pool(const Variable& x, const Variable& p) {
  Tensor y = gem_pool(x.value(), p.value());
  return record("gem_pool", y,
                {{x, [x = x.value(), p = p.value(),
                      y](const Tensor& dy) { return gem_pool_dx(dy, x, p, y); }},
                 {p, [x = x.value(), p = p.value(), y](const Tensor& dy) {
                    return gem_pool_dp(dy, x, p, y);
                  }}});
}

}  // namespace proxent
