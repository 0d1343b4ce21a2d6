#include "tensor/pointwise.h"

#include <algorithm>

namespace proxent {

Shape broadcast_shape(std::string_view op, const Shape& a, const Shape& b) {
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  const int rank = std::max(a.rank(), b.rank());
  for (int i = 1; i <= rank; ++i) {
    const std::int64_t from_a = i <= a.rank() ? a[-i] : 1, from_b = i <= b.rank() ? b[-i] : 1;
    check(from_a == from_b || from_a == 1 || from_b == 1, op, ": shapes do not broadcast, a ", a,
          " and b ", b);
    sizes[rank - i] = from_a == 1 ? from_b : from_a;
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), rank));
}

void add_into(Tensor& sum, const Tensor& term) {
  check_same("add_into", sum, term);
  launch("add", sum.device(), [&](auto device) { kernel::add(device, sum, term, sum); });
  sum.mark_edited();
}

void clamp_in_place(Tensor& x, double low, double high) {
  launch("clamp", x.device(), [&](auto device) {
    kernel::at_least(device, x, low, x);
    kernel::at_most(device, x, high, x);
  });
  x.mark_edited();
}

namespace {
void check_binary(std::string_view op, const Tensor& a, const Tensor& b) {
  check(a.dtype() == b.dtype() && a.device() == b.device(), op, ": a is ", a, " on ", a.device(),
        ", b is ", b, " on ", b.device());
}

// dx of a unary op: its kept tensor has the shape of dy.
template <class Call>
Tensor unary_backward(std::string_view op, const Tensor& dy, const Tensor& kept, Call call) {
  check_same(op, dy, kept);
  Tensor dx(dy.shape(), dy.dtype(), dy.device());
  launch(op, dy.device(), [&](auto device) { call(device, dx); });
  return dx;
}

// One side's gradient of a binary op, at the shape of dy; a side that is not kept stands in as dy.
template <class Call>
Tensor binary_backward(std::string_view op, const Tensor& dy, const Tensor& a, const Tensor& b,
                       Call call) {
  Tensor gradient(dy.shape(), dy.dtype(), dy.device());
  launch(op, dy.device(), [&](auto device) {
    call(device, a.is_defined() ? a : dy, b.is_defined() ? b : dy, gradient);
  });
  return gradient;
}
}  // namespace

#define UNARY(name, keeps, y_, slope)                                                 \
  Tensor name(const Tensor& x) {                                                      \
    Tensor y(x.shape(), x.dtype(), x.device());                                       \
    launch(#name, x.device(), [&](auto device) { kernel::name(device, x, y); });      \
    return y;                                                                         \
  }                                                                                   \
  Tensor name##_backward(const Tensor& dy, const Tensor& kept) {                      \
    return unary_backward(#name "_backward", dy, kept, [&](auto device, Tensor& dx) { \
      kernel::name##_backward(device, dy, kept, dx);                                  \
    });                                                                               \
  }
#define UNARY_P(name, keeps, y_, slope)                                               \
  Tensor name(const Tensor& x, double p) {                                            \
    Tensor y(x.shape(), x.dtype(), x.device());                                       \
    launch(#name, x.device(), [&](auto device) { kernel::name(device, x, p, y); });   \
    return y;                                                                         \
  }                                                                                   \
  Tensor name##_backward(const Tensor& dy, const Tensor& kept, double p) {            \
    return unary_backward(#name "_backward", dy, kept, [&](auto device, Tensor& dx) { \
      kernel::name##_backward(device, dy, kept, p, dx);                               \
    });                                                                               \
  }
#define BINARY(name, y_, a_slope, a_keeps, b_slope, b_keeps)                        \
  Tensor name(const Tensor& a, const Tensor& b) {                                   \
    check_binary(#name, a, b);                                                      \
    Tensor y(broadcast_shape(#name, a.shape(), b.shape()), a.dtype(), a.device());  \
    launch(#name, a.device(), [&](auto device) { kernel::name(device, a, b, y); }); \
    return y;                                                                       \
  }                                                                                 \
  Tensor name##_backward_a(const Tensor& dy, const Tensor& a, const Tensor& b) {    \
    return binary_backward(#name "_backward", dy, a, b,                             \
                           [&](auto device, auto& a1, auto& b1, Tensor& da) {       \
                             kernel::name##_backward_a(device, dy, a1, b1, da);     \
                           });                                                      \
  }                                                                                 \
  Tensor name##_backward_b(const Tensor& dy, const Tensor& a, const Tensor& b) {    \
    return binary_backward(#name "_backward", dy, a, b,                             \
                           [&](auto device, auto& a1, auto& b1, Tensor& db) {       \
                             kernel::name##_backward_b(device, dy, a1, b1, db);     \
                           });                                                      \
  }
#include "tensor/pointwise.def"

}  // namespace proxent
