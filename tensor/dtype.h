// Element types, and the switches over them that kernels use: visit_float and visit_any.
#pragma once

#include <bit>
#include <cstdint>
#include <ostream>
#include <type_traits>
#include <utility>

#include "tensor/check.h"

namespace proxent {

// The upper 16 bits of a float32; rounds to nearest even, NaN stays NaN.
struct bf16 {
  std::uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (word & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(is_nan ? (word >> 16) | 0x40u
                                             : (word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

// IEEE half precision: 5 bits of exponent, 10 of fraction. Rounds to nearest even; values of 65520
// and more become infinite, NaN stays NaN.
struct f16 {
  std::uint16_t bits = 0;
  f16() = default;
  explicit f16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = word >> 16 & 0x8000u, magnitude = word & 0x7fffffffu;
    bits = static_cast<std::uint16_t>(sign | half_of(magnitude));
  }
  explicit operator float() const {
    const std::uint32_t sign = std::uint32_t{bits} >> 15 << 31, exponent = bits >> 10 & 31u;
    const std::uint32_t fraction = bits & 1023u;
    if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
      const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
      return sign ? -magnitude : magnitude;
    }
    const std::uint32_t wide = exponent == 31 ? 255 : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
  }

 private:
  static std::uint32_t half_of(std::uint32_t magnitude) {
    constexpr std::uint32_t kInfinity = 0x7f800000u, kOverflow = 0x47800000u;  // 65536
    constexpr std::uint32_t kSmallestNormal = 0x38800000u;                     // 2^-14
    if (magnitude > kInfinity) return 0x7e00u | (magnitude >> 13 & 0x3ffu);
    if (magnitude >= kOverflow) return 0x7c00u;
    if (magnitude < kSmallestNormal)  // beside 0.5 a float's last bit is 2^-24, as a subnormal's
      return std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
    return (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
};

// f64 exists for gradient checks, i64 for files and sizes.
enum class DType : std::uint8_t { f32, f64, bf16, f16, i32, u8, i64 };

template <class T>
inline constexpr DType kDType = [] {
  static_assert(std::is_same_v<T, float>, "no DType for this C++ type");
  return DType::f32;
}();
template <>
inline constexpr DType kDType<double> = DType::f64;
template <>
inline constexpr DType kDType<bf16> = DType::bf16;
template <>
inline constexpr DType kDType<f16> = DType::f16;
template <>
inline constexpr DType kDType<std::int32_t> = DType::i32;
template <>
inline constexpr DType kDType<std::uint8_t> = DType::u8;
template <>
inline constexpr DType kDType<std::int64_t> = DType::i64;

constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return 1;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f64:
    case DType::i64:
      return 8;
  }
  return 0;
}
// The types that are computed in everywhere.
constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
// The types of two bytes, which are stored and multiplied but never summed in.
constexpr bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }
// The type that tensors of this type are summed in, and that their statistics and parameters have.
constexpr DType sum_dtype(DType dtype) { return is_half(dtype) ? DType::f32 : dtype; }
template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;
std::ostream& operator<<(std::ostream& out, DType dtype);

// Calls f(T{}) with T the element type of a float tensor that kernels compute in.
template <class F>
decltype(auto) visit_float(DType dtype, F&& f) {
  if (dtype == DType::f64) return std::forward<F>(f)(double{});
  check(dtype == DType::f32, "expected dtype f32 or f64, got ", dtype);
  return std::forward<F>(f)(float{});
}

// Calls f(T{}) with T the element type, whatever it is: for copies and conversions.
template <class F>
decltype(auto) visit_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    case DType::f16:
      return f(f16{});
    case DType::i32:
      return f(std::int32_t{});
    case DType::u8:
      return f(std::uint8_t{});
    case DType::i64:
      return f(std::int64_t{});
    case DType::f32:
      break;
  }
  return f(float{});
}

}  // namespace proxent
