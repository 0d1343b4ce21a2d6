// Every row of pointwise.def: one kernel for tensors of one shape, one for broadcast ones.
#include "tensor/pointwise.h"

#include "tensor/cuda/broadcast.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::Compute;
using cuda::elements;
using cuda::kPackSize;
using cuda::Pack;

constexpr unsigned kThreads = 256;

template <class T, class F, class... Packs>
__device__ Pack<T, kPackSize<T>> map_pack(const F& f, const Packs&... in) {
  Pack<T, kPackSize<T>> out;
  for (int i = 0; i < kPackSize<T>; ++i) out.at[i] = cuda::round_to<T>(f(cuda::widen(in.at[i])...));
  return out;
}

// out[i] = f(in[i]...). One pack of 16 bytes per thread and tensor, in one load or store each: the
// time is that of the bytes, and a GPU full of such threads has 4 MB on the way. The last pack, and
// tensors that begin off a 16-byte boundary, go element by element. out may be one of the inputs.
template <class T, class F, class... In>
__global__ void map_kernel(std::int64_t n, bool is_aligned, F f, T* out, const In*... in) {
  constexpr int kCount = kPackSize<T>;
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (is_aligned && first + kCount <= n) {
    cuda::store_pack<kCount>(out + first, map_pack<T>(f, cuda::load_pack<kCount>(in + first)...));
  } else {
    for (std::int64_t i = first; i < n && i < first + kCount; ++i)
      out[i] = cuda::round_to<T>(f(cuda::widen(in[i])...));
  }
}

// A tensor read as if it had out's shape.
template <class T>
struct Operand {
  const T* data;
  Strides strides;
};

// The same with inputs that are broadcast to out's sizes. One element per thread: finding the
// operands costs more than the bytes, and broadcasts are small beside a network's other tensors.
template <class T, class F, class... In>
__global__ void map_broadcast_kernel(std::int64_t n, Strides sizes, F f, T* out,
                                     Operand<In>... in) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  out[i] = cuda::round_to<T>(f(cuda::widen(in.data[cuda::offset_of(i, sizes, in.strides)])...));
}

// T for each tensor: a pack of types as long as a pack of tensors.
template <class T, class>
using ElementOf = T;

// Of inputs that have out's shape.
template <class T, class F, class... In>
void map(F f, Tensor& out, const In&... in) {
  const std::int64_t n = out.numel();
  const bool is_aligned = cuda::are_aligned({out.raw(), in.raw()...});
  cuda::launch_kernel(map_kernel<T, F, ElementOf<T, In>...>,
                      cuda::blocks_for(n, kThreads * kPackSize<T>), kThreads, 0, n, is_aligned, f,
                      elements<T>(out), elements<T>(in)...);
}

// Of inputs that are broadcast to out's shape, if they have another.
template <class T, class F, class... In>
void map_broadcast(F f, Tensor& out, const In&... in) {
  if (((in.shape() == out.shape()) && ...)) return map<T>(f, out, in...);
  const std::int64_t n = out.numel();
  const auto operand = [&](const Tensor& x) {
    return Operand<T>{elements<T>(x), broadcast_strides(x.shape(), out.shape())};
  };
  cuda::launch_kernel(map_broadcast_kernel<T, F, ElementOf<T, In>...>,
                      cuda::blocks_for(n, kThreads), kThreads, 0, n, padded_sizes(out.shape()), f,
                      elements<T>(out), operand(in)...);
}
}  // namespace

// A row's expressions as functions of Compute<T>: they see x, y, a, b, p and T by the names of
// pointwise.def. A kept tensor is bound to both x and y: the row's slope names the one it keeps.
#define UNARY(name, keeps, y_, slope)                                            \
  namespace {                                                                    \
  template <class T>                                                             \
  struct name##_value {                                                          \
    __device__ T operator()(T x) const { return y_; }                            \
  };                                                                             \
  template <class T>                                                             \
  struct name##_gradient {                                                       \
    __device__ T operator()(T dy, T kept) const {                                \
      [[maybe_unused]] const T x = kept, y = kept;                               \
      return dy * (slope);                                                       \
    }                                                                            \
  };                                                                             \
  }                                                                              \
  void name(Cuda, const Tensor& in, Tensor& out) {                               \
    cuda::visit_gpu_float(in.dtype(), [&](auto zero) {                           \
      using T = decltype(zero);                                                  \
      map<T>(name##_value<Compute<T>>{}, out, in);                               \
    });                                                                          \
  }                                                                              \
  void name##_backward(Cuda, const Tensor& dy, const Tensor& kept, Tensor& dx) { \
    cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {                           \
      using T = decltype(zero);                                                  \
      map<T>(name##_gradient<Compute<T>>{}, dx, dy, kept);                       \
    });                                                                          \
  }
#define UNARY_P(name, keeps, y_, slope)                                                    \
  namespace {                                                                              \
  template <class T>                                                                       \
  struct name##_value {                                                                    \
    T p;                                                                                   \
    __device__ T operator()(T x) const { return y_; }                                      \
  };                                                                                       \
  template <class T>                                                                       \
  struct name##_gradient {                                                                 \
    T p;                                                                                   \
    __device__ T operator()(T dy, T kept) const {                                          \
      [[maybe_unused]] const T x = kept, y = kept;                                         \
      return dy * (slope);                                                                 \
    }                                                                                      \
  };                                                                                       \
  }                                                                                        \
  void name(Cuda, const Tensor& in, double p, Tensor& out) {                               \
    cuda::visit_gpu_float(in.dtype(), [&](auto zero) {                                     \
      using T = decltype(zero);                                                            \
      map<T>(name##_value<Compute<T>>{static_cast<Compute<T>>(p)}, out, in);               \
    });                                                                                    \
  }                                                                                        \
  void name##_backward(Cuda, const Tensor& dy, const Tensor& kept, double p, Tensor& dx) { \
    cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {                                     \
      using T = decltype(zero);                                                            \
      map<T>(name##_gradient<Compute<T>>{static_cast<Compute<T>>(p)}, dx, dy, kept);       \
    });                                                                                    \
  }
#define BINARY(name, y_, a_slope, a_keeps, b_slope, b_keeps)                                     \
  namespace {                                                                                    \
  template <class T>                                                                             \
  struct name##_value {                                                                          \
    __device__ T operator()(T a, T b) const { return y_; }                                       \
  };                                                                                             \
  template <class T>                                                                             \
  struct name##_gradient_a {                                                                     \
    __device__ T operator()(T dy, [[maybe_unused]] T a, [[maybe_unused]] T b) const {            \
      return dy * (a_slope);                                                                     \
    }                                                                                            \
  };                                                                                             \
  template <class T>                                                                             \
  struct name##_gradient_b {                                                                     \
    __device__ T operator()(T dy, [[maybe_unused]] T a, [[maybe_unused]] T b) const {            \
      return dy * (b_slope);                                                                     \
    }                                                                                            \
  };                                                                                             \
  }                                                                                              \
  void name(Cuda, const Tensor& a, const Tensor& b, Tensor& out) {                               \
    cuda::visit_gpu_float(a.dtype(), [&](auto zero) {                                            \
      using T = decltype(zero);                                                                  \
      map_broadcast<T>(name##_value<Compute<T>>{}, out, a, b);                                   \
    });                                                                                          \
  }                                                                                              \
  void name##_backward_a(Cuda, const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& da) { \
    cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {                                           \
      using T = decltype(zero);                                                                  \
      map_broadcast<T>(name##_gradient_a<Compute<T>>{}, da, dy, a, b);                           \
    });                                                                                          \
  }                                                                                              \
  void name##_backward_b(Cuda, const Tensor& dy, const Tensor& a, const Tensor& b, Tensor& db) { \
    cuda::visit_gpu_float(dy.dtype(), [&](auto zero) {                                           \
      using T = decltype(zero);                                                                  \
      map_broadcast<T>(name##_gradient_b<Compute<T>>{}, db, dy, a, b);                           \
    });                                                                                          \
  }
#include "tensor/pointwise.def"

}  // namespace proxent::kernel
