// Bytes to floats by a table of the 256 values of each colour, which each block makes for itself.
#include "tensor/augment.h"

#include <algorithm>

#include "tensor/cuda/channel_rows.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::elements;

constexpr unsigned kThreads = 256;
constexpr int kRows = 16;  // of a picture, per block: many elements for one table
constexpr int kCount = 8;  // elements per thread and turn
constexpr std::int64_t kFar = std::int64_t{1} << 30;
constexpr int kColourCount = static_cast<int>(kColours);

struct Sizes {
  int height, width, picture_height, picture_width;
  int chunks;             // blocks per picture
  bool has_aligned_rows;  // every row of y begins where packs may be written
};
struct Normalisation {
  float mean[kColours], std[kColours];
};

// The row of the picture that a row of y shows, and which of its columns.
struct Source {
  const std::uint8_t* row;  // null: black
  int left, direction;      // column j of y shows column left + direction * j

  __device__ Source(const std::uint8_t* x, const std::int32_t* places, std::int64_t picture,
                    int row_of_y, const Sizes& z) {
    const std::int32_t* place = places + picture * 3;
    const bool is_flipped = place[2] != 0;
    const std::int64_t top = std::int64_t{place[0]} + row_of_y;
    // No further than it takes to be beside every picture.
    const std::int64_t first = std::int64_t{place[1]} + (is_flipped ? z.width - 1 : 0);
    left = static_cast<int>(min(max(first, -kFar), kFar));
    direction = is_flipped ? -1 : 1;
    const bool is_inside = top >= 0 && top < z.picture_height;
    row = is_inside ? x + (picture * z.picture_height + top) * z.picture_width * kColourCount
                    : nullptr;
  }
  // The byte of element `i` of the row, which counts columns and their colours.
  __device__ int byte(int i, const Sizes& z) const {
    const int column = left + direction * (i / kColourCount);
    const bool is_inside =
        row && static_cast<unsigned>(column) < static_cast<unsigned>(z.picture_width);
    return is_inside ? row[column * kColourCount + i % kColourCount] : 0;
  }
};

// y = table[byte], for kRows rows of one picture per block. Reads each byte once from memory, a
// byte at a time, which is little beside the 16 bytes at a time that it writes.
template <class T>
__global__ void augment_kernel(const std::uint8_t* x, const std::int32_t* places, Sizes z,
                               Normalisation n, T* y) {
  __shared__ float table[kColourCount][256];
  for (unsigned v = threadIdx.x; v < 256; v += blockDim.x)
    for (int c = 0; c < kColourCount; ++c)
      table[c][v] = (static_cast<float>(v) / 255.0f - n.mean[c]) / n.std[c];
  __syncthreads();

  const auto picture = static_cast<int>(blockIdx.x) / z.chunks;
  const int top = (static_cast<int>(blockIdx.x) - picture * z.chunks) * kRows;
  const int elements = z.width * kColourCount, packs = (elements + kCount - 1) / kCount;
  const int items = min(kRows, z.height - top) * packs;
  for (int item = static_cast<int>(threadIdx.x); item < items; item += kThreads) {
    const int row = top + item / packs, first = item % packs * kCount;
    const Source source(x, places, picture, row, z);
    cuda::Wide<T, kCount> out;
    for (int k = 0; k < kCount; ++k)
      out.at(k) = cuda::round_to<T>(table[(first + k) % kColourCount][source.byte(first + k, z)]);
    T* to = y + (std::int64_t{picture} * z.height + row) * elements + first;
    if (z.has_aligned_rows && first + kCount <= elements)
      cuda::store_wide(to, out);
    else
      for (int k = 0; k < kCount && first + k < elements; ++k) to[k] = out.at(k);
  }
}

template <class F>
void visit_image(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(__nv_bfloat16{});
  if (dtype == DType::f16) return f(__half{});
  f(float{});
}
}  // namespace

void augment(Cuda, const Tensor& x, const Tensor& places, const AugmentOptions& options,
             Tensor& y) {
  const std::int64_t row_bytes = options.width * kColours * size_of(y.dtype());
  const auto chunks = static_cast<int>((options.height + kRows - 1) / kRows);
  const Sizes z{static_cast<int>(options.height),
                static_cast<int>(options.width),
                static_cast<int>(x.dim(1)),
                static_cast<int>(x.dim(2)),
                chunks,
                row_bytes % 16 == 0 && cuda::are_aligned({y.raw()})};
  Normalisation n{};
  std::copy_n(options.mean.begin(), kColours, n.mean);
  std::copy_n(options.std.begin(), kColours, n.std);
  visit_image(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(augment_kernel<T>, cuda::blocks_for(x.dim(0) * chunks, 1), kThreads, 0,
                        elements<std::uint8_t>(x), elements<std::int32_t>(places), z, n,
                        elements<T>(y));
  });
}

}  // namespace proxent::kernel
