// Similarities whose bits depend on the pair of rows alone: every sum runs from the first feature
// to the last in one register, by fused multiply-adds, whatever the sizes are. Tensor cores and
// split sums would be faster and do not promise that.
#include "tensor/similarity.h"

#include "tensor/cuda/add_feature.cuh"
#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/runtime.h"

namespace proxent::kernel {
namespace {
using cuda::elements;
using cuda::Pack;

constexpr int kThreads = 256;
constexpr int kSide = 16;  // of the square of threads
constexpr int kStep = 8;   // features in shared memory at a time

// A block computes kRows x kRows similarities, a thread kOwn x kOwn of them: in packs of kPack that
// lie kSide packs apart, so that neighbouring threads read neighbouring packs. A step of 128 x 128
// floats costs 8 KiB of reads for 131,072 multiply-adds; f64 has half the side, or its sums would
// not fit the registers.
template <class T>
struct Tile {
  static constexpr int kPack = cuda::kPackSize<T>, kPacks = 2;
  static constexpr int kOwn = kPack * kPacks;
  static constexpr int kRows = kSide * kOwn;
  static constexpr int kLoadersPerRow = kStep / kPack;
  static_assert(kRows * kLoadersPerRow == kThreads);

  using Step = T[kStep][kRows + kPack];  // feature by feature; padded against bank conflicts

  // Where element `own` of thread `side` lies in the tile.
  __device__ static int place(int side, int own) {
    return own / kPack * (kSide * kPack) + side * kPack + own % kPack;
  }
};

template <class T>
struct Matrix {
  T* data;
  std::int64_t rows;
  int columns;
  bool is_aligned;  // every row begins at a multiple of 16 bytes
};

// Brings a thread's share of each step of the tile's rows from memory to shared memory, by way of
// registers: while one step is multiplied, the next one is on its way.
template <class T>
class Loader {
 public:
  using Pack = cuda::Pack<T, Tile<T>::kPack>;

  __device__ Loader(const Matrix<const T>& matrix, std::int64_t first_row)
      : row_(static_cast<int>(threadIdx.x) / Tile<T>::kLoadersPerRow),
        feature_(static_cast<int>(threadIdx.x) % Tile<T>::kLoadersPerRow * Tile<T>::kPack),
        from_(matrix.data + (first_row + row_) * matrix.columns + feature_),
        left_(first_row + row_ < matrix.rows ? matrix.columns - feature_ : 0),
        is_aligned_(matrix.is_aligned) {}

  // The next step's; zeros outside of the matrix, which change no sum.
  __device__ Pack fetch() {
    Pack pack{};
    if (is_aligned_ && left_ >= Tile<T>::kPack) {
      pack = cuda::load_pack<Tile<T>::kPack>(from_);
    } else {
#pragma unroll
      for (int i = 0; i < Tile<T>::kPack; ++i)
        if (i < left_) pack.at[i] = from_[i];
    }
    from_ += kStep;
    left_ -= kStep;
    return pack;
  }
  __device__ void put(const Pack& pack, typename Tile<T>::Step& to) const {
#pragma unroll
    for (int i = 0; i < Tile<T>::kPack; ++i) to[feature_ + i][row_] = pack.at[i];
  }

 private:
  int row_, feature_;
  const T* from_;
  int left_;  // features from here to the row's end
  bool is_aligned_;
};

// A thread's sums grow by one step.
template <Similarity kSimilarity, class T>
__device__ void multiply(const typename Tile<T>::Step& queries,
                         const typename Tile<T>::Step& gallery,
                         T (&sums)[Tile<T>::kOwn][Tile<T>::kOwn]) {
  using Tile = Tile<T>;
  const int x = static_cast<int>(threadIdx.x) % kSide, y = static_cast<int>(threadIdx.x) / kSide;
  // More turns at once than this do not fit the registers.
  [[maybe_unused]] constexpr int kTurns = kSimilarity == Similarity::dot ? kStep : 2;
#pragma unroll kTurns
  for (int i = 0; i < kStep; ++i) {
    Pack<T, Tile::kPack> q[Tile::kPacks], g[Tile::kPacks];
#pragma unroll
    for (int p = 0; p < Tile::kPacks; ++p) {
      q[p] = cuda::load_pack<Tile::kPack>(&queries[i][Tile::place(y, p * Tile::kPack)]);
      g[p] = cuda::load_pack<Tile::kPack>(&gallery[i][Tile::place(x, p * Tile::kPack)]);
    }
#pragma unroll
    for (int r = 0; r < Tile::kOwn; ++r)
#pragma unroll
      for (int c = 0; c < Tile::kOwn; ++c)
        sums[r][c] =
            cuda::add_feature<kSimilarity>(q[r / Tile::kPack].at[r % Tile::kPack],
                                           g[c / Tile::kPack].at[c % Tile::kPack], sums[r][c]);
  }
}

// A thread's sums to their place in y (rows, columns), if that is inside.
template <class T>
__device__ void store(const T (&sums)[Tile<T>::kOwn][Tile<T>::kOwn], std::int64_t first_row,
                      std::int64_t first_column, const Matrix<T>& y) {
  using Tile = Tile<T>;
  const int tx = static_cast<int>(threadIdx.x) % kSide, ty = static_cast<int>(threadIdx.x) / kSide;
#pragma unroll
  for (int r = 0; r < Tile::kOwn; ++r) {
    const std::int64_t row = first_row + Tile::place(ty, r);
    if (row >= y.rows) continue;
#pragma unroll
    for (int p = 0; p < Tile::kPacks; ++p) {
      const std::int64_t column = first_column + Tile::place(tx, p * Tile::kPack);
      Pack<T, Tile::kPack> pack;
#pragma unroll
      for (int i = 0; i < Tile::kPack; ++i) pack.at[i] = sums[r][p * Tile::kPack + i];
      T* to = y.data + row * y.columns + column;
      if (y.is_aligned && column < y.columns) {
        cuda::store_pack<Tile::kPack>(to, pack);
      } else {
#pragma unroll
        for (int i = 0; i < Tile::kPack; ++i)
          if (column + i < y.columns) to[i] = pack.at[i];
      }
    }
  }
}

// y (queries, gallery). Blocks that run together share a tile of the gallery, which is the larger
// of the two and then read from memory once.
template <Similarity kSimilarity, class T>
__global__ void __launch_bounds__(kThreads, 2)
    similarities_kernel(Matrix<const T> queries, Matrix<const T> gallery, std::int64_t query_tiles,
                        Matrix<T> y) {
  using Tile = Tile<T>;
  alignas(16) __shared__ typename Tile::Step q[2], g[2];
  const std::int64_t first_query = blockIdx.x % query_tiles * Tile::kRows;
  const std::int64_t first_gallery = blockIdx.x / query_tiles * Tile::kRows;
  Loader<T> load_query(queries, first_query), load_gallery(gallery, first_gallery);
  T sums[Tile::kOwn][Tile::kOwn] = {};

  load_query.put(load_query.fetch(), q[0]);
  load_gallery.put(load_gallery.fetch(), g[0]);
  __syncthreads();
  for (int first = 0, now = 0; first < queries.columns; first += kStep, now ^= 1) {
    const auto next_query = load_query.fetch();
    const auto next_gallery = load_gallery.fetch();
    multiply<kSimilarity, T>(q[now], g[now], sums);
    load_query.put(next_query, q[now ^ 1]);
    load_gallery.put(next_gallery, g[now ^ 1]);
    __syncthreads();
  }
  store(sums, first_query, first_gallery, y);
}

// y = x / |x|. A warp per row: its lanes have the sums that the contract asks for, and reads of
// whole lines.
__global__ void unit_rows_kernel(const float* x, const std::int32_t* index, float* y,
                                 std::int64_t rows, int dim) {
  static_assert(kUnitLanes == 32);
  const std::int64_t row = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / 32;
  if (row >= rows) return;
  const float* from = x + std::int64_t{index[row]} * dim;
  double squares = 0;
  for (int i = threadIdx.x % 32; i < dim; i += 32) squares += double{from[i]} * from[i];
  const double length = std::sqrt(cuda::warp_sum(squares));
  const double divisor = length > 0 ? length : 1;
  for (int i = threadIdx.x % 32; i < dim; i += 32)
    y[row * dim + i] = static_cast<float>(from[i] / divisor);
}

template <class T>
Matrix<T> matrix_of(T* data, const Tensor& x) {
  return {.data = data,
          .rows = x.dim(0),
          .columns = static_cast<int>(x.dim(1)),
          .is_aligned = cuda::are_aligned({x.raw()}) && x.dim(1) % cuda::kPackSize<T> == 0};
}

template <Similarity kSimilarity, class T>
void run(const Tensor& queries, const Tensor& gallery, Tensor& y) {
  constexpr std::int64_t kRows = Tile<T>::kRows;
  const std::int64_t query_tiles = (y.dim(0) + kRows - 1) / kRows;
  const std::int64_t gallery_tiles = (y.dim(1) + kRows - 1) / kRows;
  cuda::launch_kernel(
      similarities_kernel<kSimilarity, T>, cuda::blocks_for(query_tiles * gallery_tiles, 1),
      kThreads, 0, matrix_of(elements<T>(queries), queries),
      matrix_of(elements<T>(gallery), gallery), query_tiles, matrix_of(elements<T>(y), y));
}
}  // namespace

void similarities(Cuda, const Tensor& queries, const Tensor& gallery, Similarity similarity,
                  Tensor& y) {
  visit_float(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    if (similarity == Similarity::dot) return run<Similarity::dot, T>(queries, gallery, y);
    run<Similarity::euclidean, T>(queries, gallery, y);
  });
}

void unit_rows(Cuda, const Tensor& x, const Tensor& index, Tensor& y) {
  cuda::launch_kernel(unit_rows_kernel, cuda::blocks_for(y.dim(0), kThreads / 32), kThreads, 0,
                      elements<float>(x), elements<std::int32_t>(index), elements<float>(y),
                      y.dim(0), static_cast<int>(y.dim(1)));
}

}  // namespace proxent::kernel
