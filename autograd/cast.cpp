#include "autograd/ops.h"

namespace proxent {

Variable cast(const Variable& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  // From halves the gradient's conversion is left to who gathers it, who copies it anyway.
  return record("cast", x.rounded_to(dtype), {{x, [from = x.dtype()](const Tensor& dy) {
                                                 return is_half(dy.dtype()) ? dy : dy.to(from);
                                               }}});
}

}  // namespace proxent
