#include "tensor/matmul.h"

#include "autograd/ops.h"

namespace proxent {

// With A = op(a) and B = op(b): dA = dy B^T, dB = A^T dy; where op transposes, so is the gradient.
Variable matmul(const Variable& a, const Variable& b, MatmulOptions options) {
  const auto [ta, tb] = options;
  return record("matmul", matmul(a.value(), b.value(), options),
                {{a,
                  [ta = ta, tb = tb, b = b.value()](const Tensor& dy) {
                    return ta ? matmul(b, dy, {tb, true}) : matmul(dy, b, {false, !tb});
                  }},
                 {b, [ta = ta, tb = tb, a = a.value()](const Tensor& dy) {
                    return tb ? matmul(dy, a, {true, ta}) : matmul(a, dy, {!ta, false});
                  }}});
}

}  // namespace proxent
