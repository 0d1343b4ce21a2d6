#include "autograd/ops.h"

namespace proxent {

Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  return record("cast", x.value().to(dtype),
                {{x, [from = x.dtype()](const Tensor& dy) { return dy.to(from); }}});
}

}  // namespace proxent
