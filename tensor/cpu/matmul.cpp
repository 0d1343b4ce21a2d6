#include "tensor/matmul.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "tensor/onednn.h"
#include "tensor/parallel.h"
#ifdef PROXENT_ONEDNN
#include "tensor/onednn/matmul.h"
#endif

namespace proxent::kernel {
namespace {

// A matrix read in either order.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t row_stride, column_stride;
  T operator()(std::int64_t r, std::int64_t c) const {
    return data[r * row_stride + c * column_stride];
  }
};
template <class T>
Matrix<T> matrix(const Tensor& x, bool is_transposed) {
  return is_transposed ? Matrix<T>{x.data<T>(), 1, x.dim(1)} : Matrix<T>{x.data<T>(), x.dim(1), 1};
}

// The product is cut into tiles of y, one thread each. A tile copies strips of a and b into packed
// buffers that fit the caches (Goto and van de Geijn 2008), and multiplies kRows x kColumns
// elements of y at a time in registers. The order of summation depends on k alone.
template <class T>
struct Tile {
  using Vector [[gnu::vector_size(64)]] = T;
  static constexpr std::int64_t kLanes = 64 / sizeof(T);
  static constexpr std::int64_t kRows = 6, kColumns = 2 * kLanes;      // 12 accumulators
  static constexpr std::int64_t kTileRows = 16 * kRows, kDepth = 256;  // packed a: in L2
  static constexpr std::int64_t kTileColumns = 8 * kColumns;

  Matrix<T> a, b;
  T* y;
  std::int64_t m, n, k;
  std::vector<T> packed_a = std::vector<T>(kTileRows * kDepth);
  std::vector<T> packed_b = std::vector<T>(kTileColumns * kDepth);

  // Strips of kRows rows, column by column, zeros behind the last row.
  void pack_a(std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t depth) {
    T* out = packed_a.data();
    for (std::int64_t r = row; r < row + rows; r += kRows)
      for (std::int64_t i = first; i < first + depth; ++i)
        for (std::int64_t lane = 0; lane < kRows; ++lane)
          *out++ = r + lane < row + rows ? a(r + lane, i) : T(0);
  }
  void pack_b(std::int64_t column, std::int64_t columns, std::int64_t first, std::int64_t depth) {
    T* out = packed_b.data();
    for (std::int64_t c = column; c < column + columns; c += kColumns)
      for (std::int64_t i = first; i < first + depth; ++i)
        for (std::int64_t lane = 0; lane < kColumns; ++lane)
          *out++ = c + lane < column + columns ? b(i, c + lane) : T(0);
  }

  // sums = strip of a times strip of b.
  static void multiply(const T* a, const T* b, std::int64_t depth, T* sums) {
    Vector sum[kRows][2] = {};
    for (std::int64_t i = 0; i < depth; ++i, a += kRows, b += kColumns) {
      Vector left, right;
      std::memcpy(&left, b, sizeof left);
      std::memcpy(&right, b + kLanes, sizeof right);
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        sum[r][0] += a[r] * left;
        sum[r][1] += a[r] * right;
      }
    }
    std::memcpy(sums, sum, sizeof sum);
  }

  void run(std::int64_t row, std::int64_t column) {
    const std::int64_t rows = std::min(kTileRows, m - row),
                       columns = std::min(kTileColumns, n - column);
    alignas(64) T sums[kRows * kColumns];
    for (std::int64_t first = 0; first < k; first += kDepth) {
      const std::int64_t depth = std::min(kDepth, k - first);
      pack_a(row, rows, first, depth);
      pack_b(column, columns, first, depth);
      for (std::int64_t c = 0; c < columns; c += kColumns)
        for (std::int64_t r = 0; r < rows; r += kRows) {
          multiply(packed_a.data() + r * depth, packed_b.data() + c * depth, depth, sums);
          T* out = y + (row + r) * n + column + c;
          const std::int64_t width = std::min(kColumns, columns - c);
          for (std::int64_t i = 0; i < std::min(kRows, rows - r); ++i, out += n)
            for (std::int64_t j = 0; j < width; ++j)
              out[j] = (first ? out[j] : T(0)) + sums[i * kColumns + j];
        }
    }
  }
};

template <class T>
void multiply_tiles(Matrix<T> a, Matrix<T> b, T* y, std::int64_t m, std::int64_t n,
                    std::int64_t k) {
  const std::int64_t down = (m + Tile<T>::kTileRows - 1) / Tile<T>::kTileRows;
  const std::int64_t across = (n + Tile<T>::kTileColumns - 1) / Tile<T>::kTileColumns;
  parallel_ranges(down * across, 1, [&](std::int64_t first, std::int64_t last) {
    Tile<T> tile{a, b, y, m, n, k};
    for (std::int64_t i = first; i < last; ++i)
      tile.run(i / across * Tile<T>::kTileRows, i % across * Tile<T>::kTileColumns);
  });
}
}  // namespace

void matmul(Cpu, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  const std::int64_t m = y.dim(0), n = y.dim(1), k = a.dim(transpose_a ? 0 : 1);
  if (m * n == 0) return;
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (k == 0) return void(std::fill_n(y.data<T>(), y.numel(), T(0)));
#ifdef PROXENT_ONEDNN
    if (std::is_same_v<T, float> && uses_onednn())
      return onednn::matmul(a, transpose_a, b, transpose_b, y);
#endif
    multiply_tiles<T>(matrix<T>(a, transpose_a), matrix<T>(b, transpose_b), y.data<T>(), m, n, k);
  });
}

}  // namespace proxent::kernel
