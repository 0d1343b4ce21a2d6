// From 8-bit pictures to a network's input, on the device: crop, flip, normalise. Uploading bytes
// and not floats takes a quarter of the bus, and the host's threads are left to decode and resize.
#pragma once

#include <array>

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

inline constexpr std::int64_t kColours = 3;  // red, green, blue

struct AugmentOptions {
  std::int64_t height = 0, width = 0;                // of what comes out
  std::array<float, 3> mean{0, 0, 0}, std{1, 1, 1};  // of the colours, in units of 0 .. 1
};

namespace kernel {
// y[n, i, j] = (pixel / 255 - mean) / std, each operation rounded to f32, and the result to y's
// dtype. With (top, left, is flipped) = places[n], pixel is x[n, top + i, left + j], or x[n, top +
// i, left + width - 1 - j] if flipped, or black, 0, beside the picture.
KERNEL(augment, const Tensor& x, const Tensor& places, const AugmentOptions& options, Tensor& y);
}  // namespace kernel

// x (N, H, W, 3) u8, places (N, 3) i32 as above; y (N, height, width, 3) of a dtype that images
// have in networks: f32, bf16 or f16.
// Throws Error on shapes and dtypes that do not fit, and on a std that is not positive.
Tensor augment(const Tensor& x, const Tensor& places, const AugmentOptions& options,
               DType dtype = DType::f32);

}  // namespace proxent
