// Stands in for CUDA's header of this name: the type and its conversions, bit for bit.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/cuda_emulator/vector_types.h"

struct __half {
  std::uint16_t bits;

  __half() = default;
  __half(float value) : bits(round(value)) {}
  explicit __half(double value) : __half(static_cast<float>(value)) {}
  explicit __half(int value) : __half(static_cast<float>(value)) {}
  operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t exponent = bits >> 10 & 31u, fraction = bits & 1023u;
    if (exponent == 0) {  // subnormal: fraction * 2^-24
      const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
      return sign ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
  }

 private:
  // To nearest, ties to even; above 65504 infinity; NaN becomes 0x7fff as on the device.
  static std::uint16_t round(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>(word >> 16 & 0x8000u);
    const std::uint32_t magnitude = word & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fffu;
    if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // 65536 and more
    if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves value * 2^24 in the low bits
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign |
                                        (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
    }
    const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
    return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
  }
};
using half = __half;
struct alignas(4) __half2 {
  __half x, y;
};
using half2 = __half2;

inline __half __float2half(float value) { return value; }
inline __half __float2half_rn(float value) { return value; }
inline float __half2float(__half value) { return value; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline float2 __half22float2(__half2 value) { return {value.x, value.y}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return std::bit_cast<__half>(bits); }
