#include "tensor/pointwise.h"

#include <cmath>

#include "tensor/broadcast.h"
#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {
constexpr std::int64_t kGrain = 1 << 15;  // elements that make a thread worth waking

// out[i] = f(in[i]).
template <class T, class F>
void map(const Tensor& in, Tensor& out, F f) {
  const T* x = in.data<T>();
  T* y = out.data<T>();
  parallel_ranges(in.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
#pragma omp simd
    for (std::int64_t i = first; i < last; ++i) y[i] = f(x[i]);
  });
}

// out[i] = f(a[i], b[i]).
template <class T, class F>
void map(const Tensor& a, const Tensor& b, Tensor& out, F f) {
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* py = out.data<T>();
  parallel_ranges(out.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
#pragma omp simd
    for (std::int64_t i = first; i < last; ++i) py[i] = f(pa[i], pb[i]);
  });
}

// out = f(a, b) at out's shape, which a and b are broadcast to.
template <class T, class F>
void map_broadcast(const Tensor& a, const Tensor& b, Tensor& out, F f) {
  if (a.shape() == out.shape() && b.shape() == out.shape()) return map<T>(a, b, out, f);
  const auto n = padded_sizes(out.shape());
  const Strides sa = broadcast_strides(a.shape(), out.shape());
  const Strides sb = broadcast_strides(b.shape(), out.shape());
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* py = out.data<T>();
  const std::int64_t rows = n[0] * n[1] * n[2];
  parallel_for(rows, 1 + kGrain / (1 + n[3]), [&](std::int64_t row) {
    const std::int64_t i2 = row % n[2], i1 = row / n[2] % n[1], i0 = row / n[2] / n[1];
    const T* ra = pa + i0 * sa[0] + i1 * sa[1] + i2 * sa[2];
    const T* rb = pb + i0 * sb[0] + i1 * sb[1] + i2 * sb[2];
    T* ry = py + row * n[3];
    for (std::int64_t i = 0; i < n[3]; ++i) ry[i] = f(ra[i * sa[3]], rb[i * sb[3]]);
  });
}

// dy * f(a, b) at dy's shape. Multiplies in place, so that a and b may be broadcast.
template <class T, class F>
void map_backward(const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& out, F slope) {
  map_broadcast<T>(a, b, out, slope);
  map<T>(out, dy, out, [](T s, T d) { return s * d; });
}
}  // namespace

// The lambdas of a row see x, y, a, b, p and T by the names of pointwise.def. A kept tensor is
// bound to both x and y: the row's slope names the one it keeps.
#define UNARY(name, keeps, y_, slope)                                           \
  void name(Cpu, const Tensor& in, Tensor& out) {                               \
    visit_float(in.dtype(), [&](auto zero) {                                    \
      using T = decltype(zero);                                                 \
      map<T>(in, out, [](T x) -> T { return y_; });                             \
    });                                                                         \
  }                                                                             \
  void name##_backward(Cpu, const Tensor& dy, const Tensor& kept, Tensor& dx) { \
    visit_float(dy.dtype(), [&](auto zero) {                                    \
      using T = decltype(zero);                                                 \
      map<T>(dy, kept, dx, [](T d, T k) -> T {                                  \
        [[maybe_unused]] const T x = k, y = k;                                  \
        return d * (slope);                                                     \
      });                                                                       \
    });                                                                         \
  }
#define UNARY_P(name, keeps, y_, slope)                                                           \
  void name(Cpu, const Tensor& in, double parameter, Tensor& out) {                               \
    visit_float(in.dtype(), [&](auto zero) {                                                      \
      using T = decltype(zero);                                                                   \
      map<T>(in, out, [p = T(parameter)](T x) -> T { return y_; });                               \
    });                                                                                           \
  }                                                                                               \
  void name##_backward(Cpu, const Tensor& dy, const Tensor& kept, double parameter, Tensor& dx) { \
    visit_float(dy.dtype(), [&](auto zero) {                                                      \
      using T = decltype(zero);                                                                   \
      map<T>(dy, kept, dx, [p = T(parameter)](T d, T k) -> T {                                    \
        [[maybe_unused]] const T x = k, y = k, unused = p;                                        \
        return d * (slope);                                                                       \
      });                                                                                         \
    });                                                                                           \
  }
#define BINARY(name, y_, a_slope, a_keeps, b_slope, b_keeps)                                    \
  void name(Cpu, const Tensor& in_a, const Tensor& in_b, Tensor& out) {                         \
    visit_float(in_a.dtype(), [&](auto zero) {                                                  \
      using T = decltype(zero);                                                                 \
      map_broadcast<T>(in_a, in_b, out, [](T a, T b) -> T { return y_; });                      \
    });                                                                                         \
  }                                                                                             \
  void name##_backward_a(Cpu, const Tensor& dy, const Tensor& in_a, const Tensor& in_b,         \
                         Tensor& da) {                                                          \
    visit_float(dy.dtype(), [&](auto zero) {                                                    \
      using T = decltype(zero);                                                                 \
      map_backward<T>(dy, in_a, in_b, da,                                                       \
                      []([[maybe_unused]] T a, [[maybe_unused]] T b) -> T { return a_slope; }); \
    });                                                                                         \
  }                                                                                             \
  void name##_backward_b(Cpu, const Tensor& dy, const Tensor& in_a, const Tensor& in_b,         \
                         Tensor& db) {                                                          \
    visit_float(dy.dtype(), [&](auto zero) {                                                    \
      using T = decltype(zero);                                                                 \
      map_backward<T>(dy, in_a, in_b, db,                                                       \
                      []([[maybe_unused]] T a, [[maybe_unused]] T b) -> T { return b_slope; }); \
    });                                                                                         \
  }
#include "tensor/pointwise.def"

}  // namespace proxent::kernel
