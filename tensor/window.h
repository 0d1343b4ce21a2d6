// Windows that slide over an image: shared by convolution and pooling.
#pragma once

#include <algorithm>
#include <cstdint>

namespace proxent {

inline constexpr std::int64_t kMaxPadding = 1 << 20;  // keeps sizes far from overflow

// Positions of a window of `window` pixels that moves by `stride` over size + 2 padding pixels;
// not positive if the window does not fit once.
constexpr std::int64_t window_positions(std::int64_t size, std::int64_t window, std::int64_t stride,
                                        std::int64_t padding) {
  const std::int64_t room = size + 2 * padding - window;
  return room < 0 ? 0 : room / stride + 1;
}

// The same rounded up: a last window that begins inside the image or the padding before it may hang
// over the padding behind it (PyTorch's ceil_mode).
constexpr std::int64_t window_positions_up(std::int64_t size, std::int64_t window,
                                           std::int64_t stride, std::int64_t padding) {
  const std::int64_t down = window_positions(size, window, stride, padding);
  const bool has_rest = down > 0 && (size + 2 * padding - window) % stride != 0;
  return has_rest && down * stride < size + padding ? down + 1 : down;
}

// The taps first .. last of a window that lie inside the image, and the pixel under tap 0 (negative
// where the window hangs over the edge).
struct Taps {
  std::int64_t origin, first, last;
  Taps(std::int64_t position, std::int64_t size, std::int64_t window, std::int64_t stride,
       std::int64_t padding)
      : origin(position * stride - padding),
        first(std::max<std::int64_t>(0, -origin)),
        last(std::min(window, size - origin)) {}
};

}  // namespace proxent
