// Element types, and visit_float: the only switch over them that kernels use.
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

// f64 exists for gradient checks, i64 for files and sizes.
enum class DType : std::uint8_t { f32, f64, bf16, i32, u8, i64 };

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
constexpr bool is_float(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
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
