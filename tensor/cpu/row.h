// Reductions over one contiguous row, vectorised: the summands are taken in a fixed interleaved
// order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace proxent {

template <class T>
T row_sum(const T* x, std::int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

template <class T>
T row_dot(const T* a, const T* b, std::int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// -infinity for an empty row; NaN elements are skipped.
template <class T>
T row_max(const T* x, std::int64_t n) {
  T largest = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

// Rows of `cols` elements that make a thread worth waking.
inline std::int64_t row_grain(std::int64_t cols) { return 1 + (1 << 14) / (1 + cols); }

}  // namespace proxent
