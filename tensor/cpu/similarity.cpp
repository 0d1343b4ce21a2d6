#include "tensor/similarity.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/cpu/vector.h"
#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {

// Less work than this is not worth waking a thread for: products, and elements copied.
constexpr std::int64_t kMinProducts = 1 << 22, kMinCopies = 1 << 17;
constexpr std::int64_t kMinStrips = 8;  // of queries that share a gallery strip while it is cached

// Packed as matmul's tiles are, but over the whole depth at once: what does not fit the nearest
// cache comes from the next one fast enough, and each sum stays in one register. Strips of kRows
// queries by kColumns gallery rows; 8 x 48 floats with AVX-512 run as fast as oneDNN's product, and
// 6 x 16 with AVX2 are ahead of 4 x 24.
template <class T>
struct Tile {
  static constexpr std::int64_t kVectors = kVectorBytes == 64 ? 3 : 2,
                                kRows = kSumRegisters / kVectors;
  static constexpr std::int64_t kColumns = kVectors * kVectorLanes<T>;

  // sums[r][c] over the features of one strip of queries and one of the gallery.
  template <Similarity kSimilarity>
  static void multiply(const T* queries, const T* gallery, std::int64_t depth, T* sums) {
    Vector<T> sum[kRows][kVectors] = {};
    for (std::int64_t i = 0; i < depth; ++i, queries += kRows, gallery += kColumns) {
      Vector<T> g[kVectors];
#pragma GCC unroll 3
      for (int v = 0; v < kVectors; ++v)  // one by one: all at once would go through memory
        std::memcpy(&g[v], gallery + v * kVectorLanes<T>, sizeof g[v]);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 3
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (kSimilarity == Similarity::dot) {
            sum[r][v] += queries[r] * g[v];
          } else {
            const Vector<T> difference = queries[r] - g[v];
            sum[r][v] -= difference * difference;
          }
        }
    }
    std::memcpy(sums, sum, sizeof sum);
  }
};

std::int64_t ceil_div(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// Strips of `width` rows of x, each feature by feature; zeros beside the last row.
template <class T>
Tensor pack(const Tensor& x, std::int64_t width) {
  const std::int64_t rows = x.dim(0), depth = x.dim(1);
  Tensor packed({ceil_div(rows, width), width * depth}, x.dtype());
  const T* in = x.data<T>();
  T* out = packed.data<T>();
  const std::int64_t grain = 1 + kMinCopies / (width * depth + 1);
  parallel_for(packed.dim(0), grain, [&](std::int64_t strip) {
    for (std::int64_t r = 0; r < width; ++r)
      for (std::int64_t i = 0; i < depth; ++i) {
        const std::int64_t row = strip * width + r;
        out[(strip * depth + i) * width + r] = row < rows ? in[row * depth + i] : T(0);
      }
  });
  return packed;
}

template <class T, Similarity kSimilarity>
void fill(const Tensor& queries, const Tensor& gallery, Tensor& y) {
  constexpr std::int64_t kRows = Tile<T>::kRows, kColumns = Tile<T>::kColumns;
  const std::int64_t rows = y.dim(0), columns = y.dim(1), depth = queries.dim(1);
  const Tensor packed_queries = pack<T>(queries, kRows),
               packed_gallery = pack<T>(gallery, kColumns);
  const T *const q = packed_queries.data<T>(), *const g = packed_gallery.data<T>();
  T* const out = y.data<T>();

  const std::int64_t strips = 1 + kMinProducts / (kRows * columns * depth + 1);
  parallel_ranges(
      rows, kRows * std::max(kMinStrips, strips), [&](std::int64_t first, std::int64_t last) {
        alignas(64) T sums[kRows * kColumns];
        for (std::int64_t c = 0; c < columns; c += kColumns)
          for (std::int64_t r = first; r < last; r += kRows) {
            Tile<T>::template multiply<kSimilarity>(q + r * depth, g + c * depth, depth, sums);
            for (std::int64_t i = 0; i < std::min(kRows, last - r); ++i)
              std::copy_n(sums + i * kColumns, std::min(kColumns, columns - c),
                          out + (r + i) * columns + c);
          }
      });
}

double length_of(const float* x, std::int64_t n) {
  double lanes[kUnitLanes] = {};
  for (std::int64_t i = 0; i < n; i += kUnitLanes)
    for (std::int64_t lane = 0; lane < std::min<std::int64_t>(kUnitLanes, n - i); ++lane)
      lanes[lane] += double{x[i + lane]} * x[i + lane];  // exact products: fused or not, one result
  for (int half = kUnitLanes / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  return std::sqrt(lanes[0]);
}
}  // namespace

void similarities(Cpu, const Tensor& queries, const Tensor& gallery, Similarity similarity,
                  Tensor& y) {
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (similarity == Similarity::dot) return fill<T, Similarity::dot>(queries, gallery, y);
    fill<T, Similarity::euclidean>(queries, gallery, y);
  });
}

void unit_rows(Cpu, const Tensor& x, const Tensor& index, Tensor& y) {
  const std::int64_t dim = x.dim(1);
  parallel_for(y.dim(0), 1 + kMinCopies / (dim + 1), [&](std::int64_t n) {
    const float* from = x.data<float>() + index.data<std::int32_t>()[n] * dim;
    float* to = y.data<float>() + n * dim;
    const double length = length_of(from, dim), divisor = length > 0 ? length : 1;
    for (std::int64_t i = 0; i < dim; ++i) to[i] = static_cast<float>(from[i] / divisor);
  });
}

}  // namespace proxent::kernel
