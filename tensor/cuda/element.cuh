// Element types on the device: what memory holds, what arithmetic is done in, and 16 bytes at once.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "tensor/tensor.h"

namespace proxent::cuda {

// The types of two bytes are computed in float and rounded once, when they are stored.
template <class T>
inline constexpr bool kIsGpuHalf = std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>;
template <class T>
using Compute = std::conditional_t<kIsGpuHalf<T>, float, T>;

template <class T>
__host__ __device__ inline Compute<T> widen(T value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __bfloat162float(value);
  else if constexpr (std::is_same_v<T, __half>)
    return __half2float(value);
  else
    return value;
}
template <class T>
__host__ __device__ inline T round_to(Compute<T> value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __float2bfloat16_rn(value);
  else if constexpr (std::is_same_v<T, __half>)
    return __float2half_rn(value);
  else
    return value;
}

// The type in device memory of an element that is T on the host.
template <class T>
using GpuElement = std::conditional_t<std::is_same_v<T, bf16>, __nv_bfloat16,
                                      std::conditional_t<std::is_same_v<T, f16>, __half, T>>;

// f(T{}) with T the type in device memory, for every dtype.
template <class F>
decltype(auto) visit_gpu_any(DType dtype, F&& f) {
  return visit_any(dtype,
                   [&](auto zero) -> decltype(auto) { return f(GpuElement<decltype(zero)>{}); });
}
// The same for float tensors: double, float, __nv_bfloat16 or __half.
template <class F>
decltype(auto) visit_gpu_float(DType dtype, F&& f) {
  if (dtype == DType::bf16) return std::forward<F>(f)(__nv_bfloat16{});
  if (dtype == DType::f16) return std::forward<F>(f)(__half{});
  return visit_float(dtype, std::forward<F>(f));
}

// The elements as device code sees them; T is what visit_gpu_* gave.
template <class T>
const T* elements(const Tensor& x) {
  return reinterpret_cast<const T*>(x.raw());
}
template <class T>
T* elements(Tensor& x) {
  return reinterpret_cast<T*>(x.raw());
}

// kCount elements that move in one instruction, 16 bytes at most.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  static_assert(sizeof(T) * kCount <= 16);
  T at[kCount];
};
template <class T>
inline constexpr int kPackSize = 16 / static_cast<int>(sizeof(T));

template <int kCount, class T>
__device__ inline Pack<T, kCount> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, kCount>*>(from);
}
template <int kCount, class T>
__device__ inline void store_pack(T* to, const Pack<T, kCount>& pack) {
  *reinterpret_cast<Pack<T, kCount>*>(to) = pack;
}
// True if packs may be read and written at all these addresses: a slice may begin anywhere.
inline bool are_aligned(std::initializer_list<const void*> addresses) {
  for (const void* address : addresses)
    if (reinterpret_cast<std::uintptr_t>(address) % 16 != 0) return false;
  return true;
}

}  // namespace proxent::cuda
