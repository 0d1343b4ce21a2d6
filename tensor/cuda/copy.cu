// Fill, convert and copy on the device.
#include "tensor/copy.h"

#include <cstring>

#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
constexpr unsigned kThreads = 256;

// y[i] = value, for elements of one size whatever their type. One pack of 16 bytes per thread.
template <class Word>
__global__ void fill_kernel(Word* y, std::int64_t n, bool is_aligned, Word value) {
  constexpr int kCount = cuda::kPackSize<Word>;
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (is_aligned && first + kCount <= n) {
    cuda::Pack<Word, kCount> pack;
    for (int i = 0; i < kCount; ++i) pack.at[i] = value;
    cuda::store_pack<kCount>(y + first, pack);
  } else {
    for (std::int64_t i = first; i < n && i < first + kCount; ++i) y[i] = value;
  }
}

// Halves convert through float alone; every other pair converts directly.
template <class To, class From>
__host__ __device__ To convert_one(From value) {
  return cuda::round_to<To>(static_cast<cuda::Compute<To>>(cuda::widen(value)));
}

// y[i] = x[i] in another type. As many elements per thread as fill 16 bytes of the wider one.
template <class From, class To>
__global__ void convert_kernel(const From* x, To* y, std::int64_t n, bool is_aligned) {
  constexpr int kCount = 16 / (sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));
  const std::int64_t first = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kCount;
  if (is_aligned && first + kCount <= n) {
    const auto in = cuda::load_pack<kCount>(x + first);
    cuda::Pack<To, kCount> out;
    for (int i = 0; i < kCount; ++i) out.at[i] = convert_one<To>(in.at[i]);
    cuda::store_pack<kCount>(y + first, out);
  } else {
    for (std::int64_t i = first; i < n && i < first + kCount; ++i) y[i] = convert_one<To>(x[i]);
  }
}

template <std::size_t kSize>
using Word = std::conditional_t<
    kSize == 1, std::uint8_t,
    std::conditional_t<kSize == 2, std::uint16_t,
                       std::conditional_t<kSize == 4, std::uint32_t, std::uint64_t>>>;
}  // namespace

void fill(Cuda, double value, Tensor& x) {
  cuda::visit_gpu_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using Bits = Word<sizeof(T)>;
    const T one = convert_one<T>(value);
    Bits bits;
    std::memcpy(&bits, &one, sizeof bits);
    cuda::launch_kernel(
        fill_kernel<Bits>, cuda::blocks_for(x.numel(), kThreads * cuda::kPackSize<Bits>), kThreads,
        0, reinterpret_cast<Bits*>(x.raw()), x.numel(), cuda::are_aligned({x.raw()}), bits);
  });
}

void convert(Cuda, const Tensor& x, Tensor& y) {
  cuda::visit_gpu_any(x.dtype(), [&](auto from) {
    cuda::visit_gpu_any(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      constexpr std::int64_t kCount = 16 / std::max(sizeof(From), sizeof(To));
      cuda::launch_kernel(convert_kernel<From, To>, cuda::blocks_for(x.numel(), kThreads * kCount),
                          kThreads, 0, cuda::elements<From>(x), cuda::elements<To>(y), x.numel(),
                          cuda::are_aligned({x.raw(), y.raw()}));
    });
  });
}

void copy(Cuda, const Tensor& x, Tensor& y) {
  if (x.bytes() == 0) return;
  CUDA_CHECK(cudaMemcpyAsync(y.raw(), x.raw(), static_cast<std::size_t>(x.bytes()),
                             cudaMemcpyDeviceToDevice, cuda::compute_stream()));
}

}  // namespace proxent::kernel
