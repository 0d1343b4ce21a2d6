// Matrix products against a packed panel of few columns: the inner loop of kernels that do
// something with a product while it is still in registers or cache. Half of a product's operands
// lie packed for many calls, and what happens to the result is the caller's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tensor/cpu/vector.h"

namespace proxent {

// A panel is a matrix of any depth with this many columns, rows one behind the other.
template <class T>
inline constexpr std::int64_t kPanelColumns = 2 * kVectorLanes<T>;

// Rows that are multiplied at a time, two vectors of sums each: enough to hide the latency of an
// addition. Twelve rows were no faster with AVX-512.
inline constexpr int kGroupRows = std::min(8, kSumRegisters / 2);

template <class T>
constexpr std::int64_t panels(std::int64_t columns) {
  return (columns + kPanelColumns<T> - 1) / kPanelColumns<T>;
}

// x (rows, columns) as panels one behind the other, zeros beside the last column. Reads x in its
// order.
template <class T>
void pack_panels(const T* x, std::int64_t rows, std::int64_t columns, T* out) {
  constexpr std::int64_t kWidth = kPanelColumns<T>;
  const std::int64_t whole = columns / kWidth, rest = columns % kWidth;
  for (std::int64_t r = 0; r < rows; ++r, x += columns) {
    T* row = out + r * kWidth;
    for (std::int64_t p = 0; p < whole; ++p)
      std::memcpy(row + p * rows * kWidth, x + p * kWidth, kWidth * sizeof(T));
    if (rest == 0) continue;
    T* last = row + whole * rows * kWidth;
    std::copy_n(x + whole * kWidth, rest, last);
    std::fill(last + rest, last + kWidth, T(0));
  }
}

// A matrix whose element (r, i) is data[r * row_step + i * depth_step].
template <class T>
struct Strided {
  const T* data;
  std::int64_t row_step, depth_step;
};

namespace detail {
// sums (R, panel columns) = R rows of a times the panel, in 2 R registers. A function of its own:
// inlined into a caller with work to do, the compiler would keep the sums in memory instead.
template <int R, class T>
[[gnu::noinline]] void panel_rows(const T* a, std::int64_t row_step, std::int64_t depth_step,
                                  const T* panel, std::int64_t depth, T* sums) {
  Vector<T> sum[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sum[r][0] = sum[r][1] = Vector<T>{};
  for (std::int64_t i = 0; i < depth; ++i, a += depth_step, panel += kPanelColumns<T>) {
    Vector<T> left, right;
    std::memcpy(&left, panel, sizeof left);
    std::memcpy(&right, panel + kVectorLanes<T>, sizeof right);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      sum[r][0] += a[r * row_step] * left;
      sum[r][1] += a[r * row_step] * right;
    }
  }
  std::memcpy(sums, sum, sizeof sum);
}
}  // namespace detail

// Calls use(r, row) for r in 0 .. rows with row r of a times the panel (kPanelColumns numbers).
// Each sum is taken in the order of the depth.
template <class T, class Use>
void panel_product(const Strided<T>& a, std::int64_t rows, const T* panel, std::int64_t depth,
                   const Use& use) {
  alignas(64) T sums[kGroupRows * kPanelColumns<T>];
  const auto run = [&](auto multiply, std::int64_t first, int count) {
    multiply(a.data + first * a.row_step, a.row_step, a.depth_step, panel, depth, sums);
    for (int r = 0; r < count; ++r) use(first + r, sums + r * kPanelColumns<T>);
  };
  std::int64_t row = 0;
  for (; row + kGroupRows <= rows; row += kGroupRows)
    run(detail::panel_rows<kGroupRows, T>, row, kGroupRows);
  const std::int64_t rest = rows - row;
  if (rest & 4) run(detail::panel_rows<4, T>, row, 4);
  if (rest & 2) run(detail::panel_rows<2, T>, row + (rest & 4), 2);
  if (rest & 1) run(detail::panel_rows<1, T>, rows - 1, 1);
}

}  // namespace proxent
