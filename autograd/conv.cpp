#include "tensor/conv.h"

#include "autograd/ops.h"

namespace proxent {

// dw first: it frees x before dx, of the same size, is made.
Variable conv2d(const Variable& x, const Variable& w, const Conv2dOptions& options) {
  return record("conv2d", conv2d(x.value(), w.value(), options),
                {{w, [x = x.kept(), shape = w.shape(),
                      options](const Tensor& dy) { return conv2d_dw(dy, x(), shape, options); }},
                 {x,
                  [w = w.value(), shape = x.shape(), options](const Tensor& dy) {
                    return conv2d_dx(dy, w, shape, options);
                  },
                  [w = w.value(), options](const Tensor& dy, Tensor& sum) {
                    conv2d_dx_into(dy, w, options, sum);
                  }}});
}

}  // namespace proxent
