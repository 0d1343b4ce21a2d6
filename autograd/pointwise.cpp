// Derivatives of the elementwise ops: written once, for all rows of tensor/pointwise.def.
#include "tensor/pointwise.h"

#include "autograd/ops.h"

namespace proxent {
namespace {
// What a row's derivative keeps; an undefined tensor for the rest.
Tensor kept_of(Keep keeps, const Tensor& x, const Tensor& y) {
  return keeps == Keep::X ? x : keeps == Keep::Y ? y : Tensor();
}
struct Pair {
  Tensor a, b;
};
Pair kept_of_pair(Keep keeps, const Variable& a, const Variable& b) {
  return {keeps == Keep::A || keeps == Keep::AB ? a.value() : Tensor(),
          keeps == Keep::B || keeps == Keep::AB ? b.value() : Tensor()};
}
}  // namespace

#define UNARY(name, keeps, y_, slope)                                                            \
  Variable name(const Variable& x) {                                                             \
    Tensor y = name(x.value());                                                                  \
    return record(#name, y, {{x, [kept = kept_of(Keep::keeps, x.value(), y)](const Tensor& dy) { \
                                return name##_backward(dy, kept.is_defined() ? kept : dy);       \
                              }}});                                                              \
  }
#define UNARY_P(name, keeps, y_, slope)                                                   \
  Variable name(const Variable& x, double p) {                                            \
    Tensor y = name(x.value(), p);                                                        \
    return record(#name, y,                                                               \
                  {{x, [p, kept = kept_of(Keep::keeps, x.value(), y)](const Tensor& dy) { \
                      return name##_backward(dy, kept.is_defined() ? kept : dy, p);       \
                    }}});                                                                 \
  }
#define BINARY(name, y_, a_slope, a_keeps, b_slope, b_keeps)                                     \
  Variable name(const Variable& a, const Variable& b) {                                          \
    return record(#name, name(a.value(), b.value()),                                             \
                  {{a, [kept = kept_of_pair(Keep::a_keeps, a, b)](                               \
                           const Tensor& dy) { return name##_backward_a(dy, kept.a, kept.b); }}, \
                   {b, [kept = kept_of_pair(Keep::b_keeps, a, b)](const Tensor& dy) {            \
                      return name##_backward_b(dy, kept.a, kept.b);                              \
                    }}});                                                                        \
  }
#include "tensor/pointwise.def"

}  // namespace proxent
