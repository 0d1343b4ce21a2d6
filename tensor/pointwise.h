// Elementwise functions of tensors; the rows of pointwise.def are the definitions.
//   Tensor log(x); Tensor scale(x, p); Tensor add(a, b) with NumPy's broadcasting; and their
//   backward halves.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// What a backward function of pointwise.def needs from forward.
enum class Keep { NONE, X, Y, A, B, AB };

// The shape that a and b broadcast to; throws if they do not fit.
Shape broadcast_shape(std::string_view op, const Shape& a, const Shape& b);

namespace kernel {
// y = f(x); dx = dy * slope(kept), kept being x or y as the row says (dy where it keeps nothing).
#define UNARY(name, keeps, y, slope)           \
  KERNEL(name, const Tensor& in, Tensor& out); \
  KERNEL(name##_backward, const Tensor& dy, const Tensor& kept, Tensor& dx);
#define UNARY_P(name, keeps, y, slope)                   \
  KERNEL(name, const Tensor& in, double p, Tensor& out); \
  KERNEL(name##_backward, const Tensor& dy, const Tensor& kept, double p, Tensor& dx);
// y = f(a, b) at the broadcast shape; da and db come at the broadcast shape too.
#define BINARY(name, y, a_slope, a_keeps, b_slope, b_keeps)                                  \
  KERNEL(name, const Tensor& a, const Tensor& b, Tensor& out);                               \
  KERNEL(name##_backward_a, const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& da); \
  KERNEL(name##_backward_b, const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& db);
#include "tensor/pointwise.def"
}  // namespace kernel

// sum += term, in sum's memory; both have the same shape, dtype and device.
void add_into(Tensor& sum, const Tensor& term);
// Every element of x to low .. high, in x's memory.
void clamp_in_place(Tensor& x, double low, double high);

#define UNARY(name, keeps, y, slope) \
  Tensor name(const Tensor& x);      \
  Tensor name##_backward(const Tensor& dy, const Tensor& kept);
#define UNARY_P(name, keeps, y, slope)    \
  Tensor name(const Tensor& x, double p); \
  Tensor name##_backward(const Tensor& dy, const Tensor& kept, double p);
#define BINARY(name, y, a_slope, a_keeps, b_slope, b_keeps)                     \
  Tensor name(const Tensor& a, const Tensor& b);                                \
  Tensor name##_backward_a(const Tensor& dy, const Tensor& a, const Tensor& b); \
  Tensor name##_backward_b(const Tensor& dy, const Tensor& a, const Tensor& b);
#include "tensor/pointwise.def"

}  // namespace proxent
