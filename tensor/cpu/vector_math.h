// exp and log that the compiler turns into vector code: no branches, no calls. For float they are
// good to about one unit in the last place; for double they are the standard library's, since
// double is the reference. NaN in, NaN out.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace proxent {

inline double vector_exp(double x) { return std::exp(x); }
inline double vector_log(double x) { return std::log(x); }

// e^x = 2^n e^r with n = round(x / ln 2), so |r| <= ln(2) / 2, where the Taylor polynomial of
// degree 7 is off by 5e-9 of e^r. Below -87 the result is 0, above 88 it is that of 88.
inline float vector_exp(float x) {
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  constexpr float kRound = 12582912.0f, kPerLn2 = 1.44269504f;
  // ln 2 in two parts; n times the first is exact.
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  const float bounded = x > 88.0f ? 88.0f : x;
  const float shifted = bounded * kPerLn2 + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * kLn2High) - n * kLn2Low;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power =
      std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + 0x3f800000u);
  return x < -87.0f ? 0.0f : p * power;
}

// ln x for normal x > 0: x = 2^n m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh(t) for
// t = (m - 1) / (m + 1), |t| <= 0.172, where the series up to t^9 is off by 1e-9.
inline float vector_log(float x) {
  constexpr float kLn2 = 0.693147181f;
  constexpr std::uint32_t kSqrtHalf = 0x3f3504f3u;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::int32_t n = static_cast<std::int32_t>(bits - kSqrtHalf) >> 23;
  const float m = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(n) << 23));
  const float t = (m - 1.0f) / (m + 1.0f), square = t * t;
  float p = 1.0f / 9;
  p = p * square + 1.0f / 7;
  p = p * square + 1.0f / 5;
  p = p * square + 1.0f / 3;
  p = p * square + 1.0f;
  return static_cast<float>(n) * kLn2 + 2.0f * t * p + (x - x);  // the last: NaN stays NaN
}

}  // namespace proxent
