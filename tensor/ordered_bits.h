// Scores as integers that order as they do: plain C++ for the kernels of every device.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace proxent {

template <class T>
using OrderedBits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// Larger for a larger score; equal for -0 and 0. No finite score gives 0.
template <class T>
constexpr OrderedBits<T> ordered_bits(T score) {
  constexpr OrderedBits<T> kSign = OrderedBits<T>{1} << (8 * sizeof(T) - 1);
  const auto bits = std::bit_cast<OrderedBits<T>>(score + T(0));  // + 0 makes -0 equal to 0
  return bits & kSign ? ~bits : bits | kSign;
}

template <class T>
constexpr T score_of(OrderedBits<T> ordered) {
  constexpr OrderedBits<T> kSign = OrderedBits<T>{1} << (8 * sizeof(T) - 1);
  return std::bit_cast<T>(ordered & kSign ? ordered ^ kSign : ~ordered);
}

}  // namespace proxent
