// Direct convolution: for one output column, the columns and channels (S, C) of a weight row are
// one contiguous run in the weights and in the image, so every inner loop is a dot product or a
// scaled addition of such runs. Four output channels at a time share what they read.
#include "tensor/conv.h"

#include "tensor/copy.h"
#include "tensor/onednn.h"
#include "tensor/parallel.h"
#include "tensor/pointwise.h"
#include "tensor/window.h"
#ifdef PROXENT_ONEDNN
#include "tensor/onednn/conv.h"
#endif

namespace proxent::kernel {
namespace {
constexpr std::int64_t kBlock = 4;  // output channels computed together

struct Sizes {
  std::int64_t n, h, w, c, k, r, s, p, q, stride, padding;
  Sizes(const Shape& x, const Shape& weights, const Shape& y, const Conv2dOptions& options)
      : n(x[0]),
        h(x[1]),
        w(x[2]),
        c(x[3]),
        k(weights[0]),
        r(weights[1]),
        s(weights[2]),
        p(y[1]),
        q(y[2]),
        stride(options.stride),
        padding(options.padding) {}

  std::int64_t filter() const { return r * s * c; }  // weights of one output channel
  Taps rows(std::int64_t row) const { return {row, h, r, stride, padding}; }
  Taps columns(std::int64_t column) const { return {column, w, s, stride, padding}; }
};

[[maybe_unused]] bool takes_onednn(const Tensor& x) {
  return x.dtype() == DType::f32 && uses_onednn();
}

// sums[i] += a . b[i] over `length` elements; rows of b are `step` apart.
template <class T>
void dot(const T* a, const T* b, std::int64_t step, std::int64_t length, T (&sums)[kBlock]) {
  T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (std::int64_t i = 0; i < length; ++i) {
    s0 += a[i] * b[i];
    s1 += a[i] * b[i + step];
    s2 += a[i] * b[i + 2 * step];
    s3 += a[i] * b[i + 3 * step];
  }
  sums[0] += s0, sums[1] += s1, sums[2] += s2, sums[3] += s3;
}
template <class T>
T dot(const T* a, const T* b, std::int64_t length) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < length; ++i) sum += a[i] * b[i];
  return sum;
}

// y += f[0] x[0] + f[1] x[1] + ...; rows of x are `step` apart.
template <class T>
void add_scaled(const T* f, const T* x, std::int64_t step, std::int64_t length, T* y) {
  const T f0 = f[0], f1 = f[1], f2 = f[2], f3 = f[3];
#pragma omp simd
  for (std::int64_t i = 0; i < length; ++i)
    y[i] += (f0 * x[i] + f1 * x[i + step]) + (f2 * x[i + 2 * step] + f3 * x[i + 3 * step]);
}
template <class T>
void add_scaled(T f, const T* x, std::int64_t length, T* y) {
#pragma omp simd
  for (std::int64_t i = 0; i < length; ++i) y[i] += f * x[i];
}

// The outputs of up to four channels from k on, for one image.
template <class T>
void forward_image(const Sizes& z, const T* x, const T* w, std::int64_t k, T* y) {
  const std::int64_t count = std::min(kBlock, z.k - k);
  for (std::int64_t p = 0; p < z.p; ++p) {
    const Taps rows = z.rows(p);
    for (std::int64_t q = 0; q < z.q; ++q) {
      const Taps columns = z.columns(q);
      const std::int64_t length = (columns.last - columns.first) * z.c;
      T sums[kBlock] = {};
      for (std::int64_t r = rows.first; r < rows.last; ++r) {
        const T* from = x + ((rows.origin + r) * z.w + columns.origin + columns.first) * z.c;
        const T* weights = w + k * z.filter() + (r * z.s + columns.first) * z.c;
        if (count == kBlock)
          dot(from, weights, z.filter(), length, sums);
        else
          for (std::int64_t i = 0; i < count; ++i)
            sums[i] += dot(from, weights + i * z.filter(), length);
      }
      std::copy_n(sums, count, y + (p * z.q + q) * z.k + k);
    }
  }
}

// Adds to one row of dx what it gets from the outputs whose windows touch it.
template <class T>
void backward_row(const Sizes& z, const T* dy, const T* w, std::int64_t row, T* dx) {
  for (std::int64_t r = 0; r < z.r; ++r) {
    const std::int64_t scaled = row + z.padding - r;
    if (scaled < 0 || scaled % z.stride != 0 || scaled / z.stride >= z.p) continue;
    const T* dy_row = dy + scaled / z.stride * z.q * z.k;
    for (std::int64_t k = 0; k < z.k; k += kBlock) {
      const std::int64_t count = std::min(kBlock, z.k - k);
      for (std::int64_t q = 0; q < z.q; ++q) {
        const Taps columns = z.columns(q);
        const std::int64_t length = (columns.last - columns.first) * z.c;
        const T* weights = w + k * z.filter() + (r * z.s + columns.first) * z.c;
        T* to = dx + (columns.origin + columns.first) * z.c;
        if (count == kBlock)
          add_scaled(dy_row + q * z.k + k, weights, z.filter(), length, to);
        else
          for (std::int64_t i = 0; i < count; ++i)
            add_scaled(dy_row[q * z.k + k + i], weights + i * z.filter(), length, to);
      }
    }
  }
}

void add_dx(const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(dx.shape(), w.shape(), dy.shape(), options);
    parallel_for(z.n * z.h, 1, [&](std::int64_t item) {
      backward_row(z, dy.data<T>() + item / z.h * z.p * z.q * z.k, w.data<T>(), item % z.h,
                   dx.data<T>() + item * z.w * z.c);
    });
  });
}

// dw of one output channel.
template <class T>
void backward_filter(const Sizes& z, const T* dy, const T* x, std::int64_t k, T* dw) {
  std::fill_n(dw, z.filter(), T(0));
  for (std::int64_t n = 0; n < z.n; ++n)
    for (std::int64_t p = 0; p < z.p; ++p) {
      const Taps rows = z.rows(p);
      for (std::int64_t q = 0; q < z.q; ++q) {
        const Taps columns = z.columns(q);
        const T factor = dy[((n * z.p + p) * z.q + q) * z.k + k];
        for (std::int64_t r = rows.first; r < rows.last; ++r) {
          const std::int64_t row = n * z.h + rows.origin + r;
          add_scaled(factor, x + (row * z.w + columns.origin + columns.first) * z.c,
                     (columns.last - columns.first) * z.c, dw + (r * z.s + columns.first) * z.c);
        }
      }
    }
}
}  // namespace

void conv2d(Cpu, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
#ifdef PROXENT_ONEDNN
  if (takes_onednn(x) && onednn::conv2d(x, w, options, y)) return;
#endif
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(x.shape(), w.shape(), y.shape(), options);
    const std::int64_t blocks = (z.k + kBlock - 1) / kBlock;
    parallel_for(z.n * blocks, 1, [&](std::int64_t item) {
      const std::int64_t n = item / blocks, k = item % blocks * kBlock;
      forward_image(z, x.data<T>() + n * z.h * z.w * z.c, w.data<T>(), k,
                    y.data<T>() + n * z.p * z.q * z.k);
    });
  });
}

void conv2d_dx(Cpu, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
#ifdef PROXENT_ONEDNN
  if (takes_onednn(dy) && onednn::conv2d_dx(dy, w, options, dx)) return;
#endif
  fill(Cpu{}, 0, dx);
  add_dx(dy, w, options, dx);
}

void conv2d_dx_into(Cpu, const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                    Tensor& sum) {
#ifdef PROXENT_ONEDNN
  if (takes_onednn(dy)) {  // which has no sums here
    Tensor dx(sum.shape(), sum.dtype());
    if (onednn::conv2d_dx(dy, w, options, dx)) return add(Cpu{}, sum, dx, sum);
  }
#endif
  add_dx(dy, w, options, sum);
}

void conv2d_dw(Cpu, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
#ifdef PROXENT_ONEDNN
  if (takes_onednn(dy) && onednn::conv2d_dw(dy, x, options, dw)) return;
#endif
  visit_float(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Sizes z(x.shape(), dw.shape(), dy.shape(), options);
    parallel_for(z.k, 1, [&](std::int64_t k) {
      backward_filter(z, dy.data<T>(), x.data<T>(), k, dw.data<T>() + k * z.filter());
    });
  });
}

}  // namespace proxent::kernel
