// The multi-proxy entropy loss in one pass over the similarities. Libraries multiply embeddings
// with raw proxies into the kept matrix (proxy, row of the batch); one kernel reduces it, forward,
// to a few sums per row, and another one turns it, backward, into its gradient in place; two more
// products give the gradients of embeddings and proxies. Probabilities are never stored, nor are
// normalised proxies: the proxies' lengths scale what is read from the matrix.
//
// Proxies are worked on in tiles, so that a tile that was read from memory is still in the L2 cache
// when the next kernel wants it, and so that evaluation needs no more of the matrix than a tile. A
// tile's classes are cut into chunks, one per block. Cuts follow from the sizes alone and partial
// sums are added in order: two runs, and two GPUs of one kind, agree in every bit.
#include "tensor/proxy_loss.h"

#include <algorithm>
#include <cmath>

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/element.cuh"
#include "tensor/cuda/proxy_score.cuh"
#include "tensor/cuda/runtime.h"
#include "tensor/matmul.h"
#include "tensor/normalize.h"
#include "tensor/proxy_row.h"

namespace proxent::kernel {
namespace {
using cuda::block_sum;
using cuda::ClassScore;
using cuda::ClassSimilarities;
using cuda::elements;
using cuda::warp_sum;

// Blocks that walk over classes: a lane per row of the batch, so that warps read the matrix in
// whole lines, and a warp per class.
constexpr int kLanes = 32, kWarps = 8, kThreads = kLanes * kWarps;

// What the kernels know of one call. n is B up to whole warps; rows behind B count as ignored.
template <class T>
struct Problem {
  int B, n, C, K, D;
  const std::int32_t* labels;  // (B)
  const T* per_length;         // (CK): 1 / |w|
  T sigma, sigma_h;
  cuda::Temperature<T> temperature;
  bool is_selected;  // negatives
  bool shares_sums;  // cross-entropy and inter-class entropy have one softmax

  __device__ int label(int i) const { return i < B ? labels[i] : kIgnoredLabel; }
  __device__ ClassSimilarities<T> similarities(const T* products, int i, int c) const {
    return {products + i, per_length + std::int64_t{c} * K, n};
  }
  // Rows that count, 1 at least: known to all threads of the block, all of which must call.
  __device__ double counted_rows() const {
    int count = 0;
    for (int i = threadIdx.x; i < B; i += blockDim.x) count += labels[i] != kIgnoredLabel;
    return max(1, block_sum(count));
  }
};

// A range of classes, cut into chunks of which this is the first.
struct Tile {
  int first, last, per_chunk, first_chunk;
};

// unit = z / |z|, length = |z|; unit is 0 in rows that do not count, of which there are some behind
// B. One block per row, which it reads twice, the second time from the cache.
template <class T>
__global__ void unit_rows_kernel(Problem<T> p, const T* z, T* unit, T* length) {
  const int i = blockIdx.x;
  z += std::int64_t{i} * p.D;
  unit += std::int64_t{i} * p.D;
  const bool counts = p.label(i) != kIgnoredLabel;
  T squares = 0;
  for (int d = threadIdx.x; i < p.B && d < p.D; d += blockDim.x) squares += z[d] * z[d];
  const T len = max(sqrt(block_sum(squares)), T(kMinLength));
  for (int d = threadIdx.x; d < p.D; d += blockDim.x) unit[d] = counts ? z[d] / len : T(0);
  if (threadIdx.x == 0 && i < p.B) length[i] = len;
}

// per_length = 1 / |w|. One warp per proxy.
template <class T>
__global__ void per_length_kernel(const T* w, T* per_length, int proxies, int D) {
  const int j = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kLanes;
  if (j >= proxies) return;
  w += std::int64_t{j} * D;
  T squares = 0;
  for (int d = threadIdx.x % kLanes; d < D; d += kLanes) squares += w[d] * w[d];
  const T length = sqrt(warp_sum(squares));
  if (threadIdx.x % kLanes == 0)
    per_length[j] = length > T(kMinLength) ? 1 / length : T(1 / kMinLength);
}

// A row's sums over some classes c != y.
template <class T>
struct RowSums {
  SoftmaxSums<T> ce, inter;
  static constexpr int kNumbers = 5;
  __device__ void merge(const RowSums& other, T sigma, T sigma_h) {
    ce.merge(other.ce, sigma);
    inter.merge(other.inter, sigma_h);
  }
};
// Where they lie: number by number, row by row, chunk by chunk.
template <class T>
struct Parts {
  T* numbers;
  int n, chunks;

  __device__ T& at(int number, int i, int chunk) const {
    return numbers[(std::int64_t{number} * n + i) * chunks + chunk];
  }
  __device__ void put(int i, int chunk, const RowSums<T>& sums) const {
    at(0, i, chunk) = sums.ce.top, at(1, i, chunk) = sums.ce.z;
    at(2, i, chunk) = sums.inter.top, at(3, i, chunk) = sums.inter.z;
    at(4, i, chunk) = sums.inter.t;
  }
  __device__ RowSums<double> get(int i, int chunk) const {
    return {{at(0, i, chunk), at(1, i, chunk), 0},
            {at(2, i, chunk), at(3, i, chunk), at(4, i, chunk)}};
  }
};

// Adds up the sums of the block's warps, in their order; the first warp has the result.
template <class T>
__device__ void add_warps(const Problem<T>& p, RowSums<T>& sums) {
  __shared__ T numbers[kWarps][RowSums<T>::kNumbers][kLanes];
  const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
  T* own[] = {&sums.ce.top, &sums.ce.z, &sums.inter.top, &sums.inter.z, &sums.inter.t};
  for (int j = 0; j < RowSums<T>::kNumbers; ++j) numbers[warp][j][lane] = *own[j];
  __syncthreads();
  for (int other = 1; warp == 0 && other < kWarps; ++other) {
    const auto& x = numbers[other];
    sums.merge({{x[0][lane], x[1][lane], 0}, {x[2][lane], x[3][lane], x[4][lane]}}, p.sigma,
               p.sigma_h);
  }
}

// Reads the tile's part of the matrix once. The similarities to own classes are put aside.
template <class T, ProxySelect kSelect>
__global__ void reduce_kernel(Problem<T> p, Tile tile, const T* products, Parts<T> parts, T* own) {
  const int i = static_cast<int>(blockIdx.x * kLanes + threadIdx.x % kLanes);
  const int label = p.label(i);
  const int first = tile.first + static_cast<int>(blockIdx.y) * tile.per_chunk;
  const int last = min(tile.last, first + tile.per_chunk);
  RowSums<T> sums;
  for (int c = first + static_cast<int>(threadIdx.x / kLanes); c < last; c += kWarps) {
    const T* rows = products + std::int64_t{c - tile.first} * p.K * p.n;
    const auto s = p.similarities(rows, i, c);
    if (c == label) {
      for (int k = 0; k < p.K; ++k) own[std::int64_t{i} * p.K + k] = s(k);
      continue;
    }
    const T score = ClassScore<T, kSelect>(s, p.K, p.temperature).score;
    sums.inter.add(score, p.sigma_h);
    if (p.shares_sums) continue;
    if (p.is_selected)
      sums.ce.add(score, p.sigma);
    else
      for (int k = 0; k < p.K; ++k) sums.ce.add(s(k), p.sigma);
  }
  if (p.shares_sums) sums.ce = sums.inter;
  add_warps(p, sums);
  if (threadIdx.x < kLanes) parts.put(i, tile.first_chunk + static_cast<int>(blockIdx.y), sums);
}

// A row's sums over all c != y, the same bits in all lanes of the warp.
template <class T>
__device__ RowSums<double> rest_of(const ProxyLossSettings& o, const Parts<T>& parts, int i) {
  RowSums<double> sums;
  for (int chunk = threadIdx.x; chunk < parts.chunks; chunk += kLanes)
    sums.merge(parts.get(i, chunk), o.sigma, o.sigma_h);
  const auto add_up = [](SoftmaxSums<double>& x, double scale) {
    for (int bits = kLanes / 2; bits > 0; bits /= 2)
      x.merge({cuda::shuffle_xor(x.top, bits), cuda::shuffle_xor(x.z, bits),
               cuda::shuffle_xor(x.t, bits)},
              scale);
    x = {__shfl_sync(cuda::kAllLanes, x.top, 0), __shfl_sync(cuda::kAllLanes, x.z, 0),
         __shfl_sync(cuda::kAllLanes, x.t, 0)};
  };
  add_up(sums.ce, o.sigma);
  add_up(sums.inter, o.sigma_h);
  return sums;
}

// The team of tensor/proxy_row.h: a warp.
struct Warp {
  template <class F>
  __device__ void each(std::int64_t K, const F& f) const {
    for (std::int64_t k = threadIdx.x; k < K; k += kLanes) f(k);
  }
  template <class Op>
  __device__ double all(double x, const Op& op) const {
    return cuda::warp_reduce(x, op);
  }
  __device__ bool is_first() const { return threadIdx.x == 0; }
};

// One warp per row of the batch; `row` is the first.
template <class T>
__global__ void finish_rows_kernel(Problem<T> p, ProxyLossSettings o, Parts<T> parts,
                                   const T* usage, ProxyRow<T, Warp> row) {
  const int i = blockIdx.x, label = p.label(i);
  row.own += std::int64_t{i} * p.K;
  row.assignment += std::int64_t{i} * p.K;
  row.saved += i;
  row.terms += 4 * i;
  if (label == kIgnoredLabel) return row.ignore();
  const RowSums<double> rest = rest_of(o, parts, i);
  row.finish(o, p.C, rest.ce, rest.inter, usage ? usage + std::int64_t{label} * p.K : nullptr);
}

// The averages over the rows that count. One block.
template <class T>
__global__ void average_kernel(Problem<T> p, ProxyLossSettings o, const double* rows, T* terms) {
  const double count = p.counted_rows();
  double mean[4];
  for (int j = 0; j < 4; ++j) {
    double sum = 0;
    for (int i = threadIdx.x; i < p.B; i += blockDim.x) sum += rows[4 * i + j];
    mean[j] = block_sum(sum) / count;
  }
  if (threadIdx.x > 0) return;
  terms[0] = T(weighted_sum(o, mean));
  for (int j = 0; j < 4; ++j) terms[1 + j] = T(mean[j]);
}

// What backward multiplies in one row of the batch; 0 where it does not count.
template <class T>
struct Factors {
  T scale = 0;  // dy / rows, which is in all the others too
  T ce_top = 0, ce = 0, inter_top = 0, inter = 0, inter_level = 0;

  __device__ Factors(const Problem<T>& p, const SavedProxyRow<T>& row, T scale, T weight_inter)
      : scale(scale),
        ce_top(row.ce_max),
        ce(scale * p.sigma * exp(-row.ce_log_z)),
        inter_top(row.inter_max),
        inter(scale * weight_inter * p.sigma_h * exp(-row.inter_log_z)),
        inter_level(row.inter_entropy - row.inter_log_z) {}

  // d loss / d score for c != y.
  __device__ T of_score(const Problem<T>& p, T score) const {
    const T x = power_of((score - inter_top) * p.sigma_h), e = exp(x);
    const T of_inter = e * inter * (x + inter_level);
    if (p.shares_sums) return of_inter + e * ce;
    if (!p.is_selected) return of_inter;
    return of_inter + exp(power_of((score - ce_top) * p.sigma)) * ce;
  }
  // d loss / d similarity for c != y, where every proxy stands in the denominator.
  __device__ T of_similarity(const Problem<T>& p, T s) const {
    return exp(power_of((s - ce_top) * p.sigma)) * ce;
  }
};

// Overwrites the tile's products with g / |w|, g the gradient of the loss by the similarities.
template <class T, ProxySelect kSelect>
__global__ void differentiate_kernel(Problem<T> p, Tile tile, const T* dy,
                                     const SavedProxyRow<T>* rows, T weight_inter, const T* own,
                                     T* products) {
  const T scale = T(*dy / p.counted_rows());
  const int i = static_cast<int>(blockIdx.x * kLanes + threadIdx.x % kLanes);
  const int label = p.label(i);
  const bool counts = label != kIgnoredLabel;
  const Factors<T> factors(p, counts ? rows[i] : SavedProxyRow<T>{}, scale, weight_inter);
  const int first = tile.first + static_cast<int>(blockIdx.y) * tile.per_chunk;
  const int last = min(tile.last, first + tile.per_chunk);
  for (int c = first + static_cast<int>(threadIdx.x / kLanes); c < last; c += kWarps) {
    T* column = products + std::int64_t{c - tile.first} * p.K * p.n;
    const auto s = p.similarities(column, i, c);
    const auto write = [&](int k, T g) { column[std::int64_t{k} * p.n + i] = g * s.per_length[k]; };
    if (!counts || c == label) {
      for (int k = 0; k < p.K; ++k)
        write(k, counts ? own[std::int64_t{i} * p.K + k] * scale : T(0));
      continue;
    }
    const ClassScore<T, kSelect> score(s, p.K, p.temperature);
    const T of_score = factors.of_score(p, score.score);
    bool is_open = true;
    for (int k = 0; k < p.K; ++k) {
      const T x = s(k);
      const T g = score.slope(x, p.temperature, is_open) * of_score;
      write(k, p.is_selected ? g : g + factors.of_similarity(p, x));
    }
  }
}

// dw = dw' - w (w . dw') / |w|^2, where dw' = g^T z / |w| stands in dw: what stretches w is taken
// out, unless |w| was clamped. One warp per proxy, which it reads twice, first from the L2 cache
// and then from the L1.
template <class T>
__global__ void project_kernel(const T* w, const T* per_length, T* dw, int proxies, int D) {
  const int j = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kLanes;
  if (j >= proxies || per_length[j] >= T(1 / kMinLength)) return;
  w += std::int64_t{j} * D;
  dw += std::int64_t{j} * D;
  T stretch = 0;
  for (int d = threadIdx.x % kLanes; d < D; d += kLanes) stretch += w[d] * dw[d];
  stretch = warp_sum(stretch) * per_length[j] * per_length[j];
  for (int d = threadIdx.x % kLanes; d < D; d += kLanes) dw[d] -= stretch * w[d];
}

// dz = (sum of the tiles' shares - z/|z| (z/|z| . the same)) / |z|; a clamped |z| is a constant.
// One block per row.
template <class T>
__global__ void finish_dz_kernel(Problem<T> p, const T* shares, int tiles, const T* unit,
                                 const T* length, T* dz) {
  const int i = blockIdx.x;
  shares += std::int64_t{i} * p.D;
  unit += std::int64_t{i} * p.D;
  dz += std::int64_t{i} * p.D;
  const bool counts = p.label(i) != kIgnoredLabel;
  T stretch = 0;
  for (int d = threadIdx.x; d < p.D; d += blockDim.x) {
    T sum = 0;
    for (int tile = 0; tile < tiles; ++tile) sum += shares[std::int64_t{tile} * p.n * p.D + d];
    stretch += unit[d] * sum;
    dz[d] = sum;
  }
  stretch = block_sum(stretch);
  const T len = length[i];
  if (!(len > T(kMinLength))) stretch = 0;
  for (int d = threadIdx.x; d < p.D; d += blockDim.x)
    dz[d] = counts ? (dz[d] - unit[d] * stretch) / len : T(0);
}

// u += rate (mean of q over the rows of its class - u). One block per row of the batch; the class's
// first row works for all of them.
template <class T>
__global__ void update_usage_kernel(const T* assignment, const std::int32_t* labels, T rate,
                                    T* usage, int B, int C, int K) {
  const int i = blockIdx.x, label = labels[i];
  bool is_later = label < 0 || label >= C;  // ignored, or a mistake that must not write elsewhere
  for (int j = threadIdx.x; j < i; j += blockDim.x) is_later |= labels[j] == label;
  if (__syncthreads_or(is_later)) return;
  for (int k = threadIdx.x; k < K; k += blockDim.x) {
    T sum = 0;
    int count = 0;
    for (int j = i; j < B; ++j) {
      if (labels[j] != label) continue;
      sum += assignment[std::int64_t{j} * K + k];
      ++count;
    }
    T& u = usage[std::int64_t{label} * K + k];
    const T mean = sum / T(count);
    if (isfinite(mean)) u += rate * (mean - u);
  }
}

// How the classes are cut.
struct Tiling {
  // Of a tile's proxies, and of its part of the matrix, at most: with the gradient they fit the L2
  // cache of an A100 (40 MB) together, and a product of that size fills the GPU.
  static constexpr std::int64_t kTileBytes = 16 << 20;
  static constexpr std::int64_t kBlocks =
      2048;  // that walk over classes, in all: two waves of them

  std::int64_t classes, groups, per_chunk, tiles, per_tile, chunks;

  Tiling(const Tensor& proxies, std::int64_t n)
      : classes(proxies.dim(0)),
        groups(n / kLanes),
        per_chunk(std::max<std::int64_t>(kWarps, parts_of(classes * groups, kBlocks))),
        tiles(parts_of(proxies.bytes() / proxies.dim(2) * std::max(proxies.dim(2), n), kTileBytes)),
        per_tile(parts_of(parts_of(classes, tiles), per_chunk) * per_chunk),
        chunks(parts_of(classes, per_chunk)) {
    tiles = parts_of(classes, per_tile);
  }

  static std::int64_t parts_of(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }
  Tile tile(std::int64_t i) const {
    return {.first = static_cast<int>(i * per_tile),
            .last = static_cast<int>(std::min(classes, (i + 1) * per_tile)),
            .per_chunk = static_cast<int>(per_chunk),
            .first_chunk = static_cast<int>(i * per_tile / per_chunk)};
  }
  // Of the kernels that walk over a tile's classes.
  dim3 grid(const Tile& tile) const {
    return {static_cast<unsigned>(groups),
            static_cast<unsigned>(parts_of(tile.last - tile.first, per_chunk))};
  }
};

template <class T>
auto* reduce_kernel_for(ProxySelect select) {
  return select == ProxySelect::lse   ? reduce_kernel<T, ProxySelect::lse>
         : select == ProxySelect::max ? reduce_kernel<T, ProxySelect::max>
                                      : reduce_kernel<T, ProxySelect::soft>;
}
template <class T>
auto* differentiate_kernel_for(ProxySelect select) {
  return select == ProxySelect::lse   ? differentiate_kernel<T, ProxySelect::lse>
         : select == ProxySelect::max ? differentiate_kernel<T, ProxySelect::max>
                                      : differentiate_kernel<T, ProxySelect::soft>;
}

// One call of the forward or backward kernel at one element type.
template <class T>
class Pass {
 public:
  Pass(const ProxyLossSettings& settings, const Tensor& proxies, const Tensor& labels,
       ProxyLoss& state)
      : settings_(settings),
        state_(state),
        B_(labels.dim(0)),
        n_(padded_rows(B_)),
        K_(proxies.dim(1)),
        D_(proxies.dim(2)),
        proxies_(proxies.reshape({proxies.dim(0) * K_, D_})),
        tiling_(proxies, n_) {
    const bool is_selected = settings.negatives == ProxyNegatives::selected;
    problem_ = {
        .B = static_cast<int>(B_),
        .n = static_cast<int>(n_),
        .C = static_cast<int>(proxies.dim(0)),
        .K = static_cast<int>(K_),
        .D = static_cast<int>(D_),
        .labels = elements<std::int32_t>(labels),
        .per_length = elements<T>(state.proxy_scale),
        .sigma = T(settings.sigma),
        .sigma_h = T(settings.sigma_h),
        .temperature = {T(settings.gamma), T(1 / settings.gamma), settings.detaches_selection},
        .is_selected = is_selected,
        .shares_sums = is_selected && settings.sigma == settings.sigma_h};
  }

  void forward(const Tensor& embeddings, const Tensor& usage) {
    cuda::launch_kernel(unit_rows_kernel<T>, blocks(n_), cuda::threads_for_row(D_), 0, problem_,
                        elements<T>(embeddings), elements<T>(state_.unit),
                        elements<T>(state_.length));
    Tensor numbers({RowSums<T>::kNumbers, n_, tiling_.chunks}, kDType<T>, Device::cuda);
    const Parts<T> parts{elements<T>(numbers), problem_.n, static_cast<int>(tiling_.chunks)};
    Tensor memory;
    if (!state_.similarities.is_defined())
      memory = Tensor({tiling_.per_tile * K_, n_}, kDType<T>, Device::cuda);
    for_tiles([&](const Tile& tile) {
      const Tensor w = of_tile(proxies_, tile);
      Tensor scale = of_tile(state_.proxy_scale, tile);
      cuda::launch_kernel(per_length_kernel<T>, warps(w.dim(0)), kThreads, 0, elements<T>(w),
                          elements<T>(scale), static_cast<int>(w.dim(0)), problem_.D);
      Tensor products =
          memory.is_defined() ? memory.slice(0, w.dim(0)) : of_tile(state_.similarities, tile);
      matmul(Cuda{}, w, false, state_.unit, true, products);
      cuda::launch_kernel(reduce_kernel_for<T>(settings_.select), tiling_.grid(tile), kThreads, 0,
                          problem_, tile, elements<T>(products), parts,
                          elements<T>(state_.own_gradients));
    });
    finish_rows(parts, usage);
  }

  void backward(const Tensor& dy, Tensor& dz, Tensor& dw) {
    Tensor shares;
    if (dz.is_defined()) shares = Tensor({tiling_.tiles, n_, D_}, kDType<T>, Device::cuda);
    const T inter = T(settings_.weight_inter * entropy_scale(settings_, problem_.C));
    for_tiles([&](const Tile& tile) {
      Tensor g = of_tile(state_.similarities, tile);
      const Tensor w = of_tile(proxies_, tile);
      cuda::launch_kernel(differentiate_kernel_for<T>(settings_.select), tiling_.grid(tile),
                          kThreads, 0, problem_, tile, elements<T>(dy), saved_rows(), inter,
                          elements<T>(state_.own_gradients), elements<T>(g));
      if (dz.is_defined()) {
        Tensor share = shares.slice(tile.first / tiling_.per_tile, 1).reshape({n_, D_});
        matmul(Cuda{}, g, true, w, false, share);
      }
      if (dw.is_defined()) write_dw(tile, g, w, dw);
    });
    if (dz.is_defined())
      cuda::launch_kernel(finish_dz_kernel<T>, blocks(B_), cuda::threads_for_row(D_), 0, problem_,
                          elements<T>(shares), static_cast<int>(tiling_.tiles),
                          elements<T>(state_.unit), elements<T>(state_.length), elements<T>(dz));
  }

 private:
  static unsigned blocks(std::int64_t rows) { return cuda::blocks_for(rows, 1); }
  static unsigned warps(std::int64_t rows) { return cuda::blocks_for(rows, kWarps); }
  template <class F>
  void for_tiles(const F& f) const {
    for (std::int64_t i = 0; i < tiling_.tiles; ++i) f(tiling_.tile(i));
  }
  // The tile's part of a tensor that has a row per proxy.
  Tensor of_tile(const Tensor& all, const Tile& tile) const {
    return all.slice(tile.first * K_, (tile.last - tile.first) * K_);
  }
  SavedProxyRow<T>* saved_rows() { return reinterpret_cast<SavedProxyRow<T>*>(state_.rows.raw()); }

  void finish_rows(const Parts<T>& parts, const Tensor& usage) {
    Tensor terms({B_, 4}, DType::f64, Device::cuda);
    const ProxyRow<T, Warp> first{.own = elements<T>(state_.own_gradients),
                                  .assignment = elements<T>(state_.assignment),
                                  .saved = saved_rows(),
                                  .terms = elements<double>(terms),
                                  .K = K_,
                                  .team = {}};
    cuda::launch_kernel(finish_rows_kernel<T>, blocks(B_), kLanes, 0, problem_, settings_, parts,
                        elements<T>(usage), first);
    cuda::launch_kernel(average_kernel<T>, 1, kThreads, 0, problem_, settings_,
                        elements<double>(terms), elements<T>(state_.terms));
  }

  void write_dw(const Tile& tile, const Tensor& g, const Tensor& w, Tensor& dw) {
    Tensor part = of_tile(dw.reshape(proxies_.shape()), tile);
    const Tensor scale = of_tile(state_.proxy_scale, tile);
    matmul(Cuda{}, g, false, state_.unit, false, part);
    cuda::launch_kernel(project_kernel<T>, warps(w.dim(0)), kThreads, 0, elements<T>(w),
                        elements<T>(scale), elements<T>(part), static_cast<int>(w.dim(0)),
                        problem_.D);
  }

  const ProxyLossSettings& settings_;
  ProxyLoss& state_;
  std::int64_t B_, n_, K_, D_;
  Tensor proxies_;  // (CK, D)
  Tiling tiling_;
  Problem<T> problem_;
};
}  // namespace

void proxy_loss(Cuda, const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                const Tensor& usage, const ProxyLossSettings& settings, ProxyLoss& out) {
  visit_float(embeddings.dtype(), [&](auto zero) {
    Pass<decltype(zero)>(settings, proxies, labels, out).forward(embeddings, usage);
  });
}

void proxy_loss_backward(Cuda, const Tensor& dy, const Tensor& proxies, const Tensor& labels,
                         const ProxyLossSettings& settings, ProxyLoss& forward, Tensor& dz,
                         Tensor& dw) {
  visit_float(proxies.dtype(), [&](auto zero) {
    Pass<decltype(zero)>(settings, proxies, labels, forward).backward(dy, dz, dw);
  });
}

void update_proxy_usage(Cuda, const Tensor& assignment, const Tensor& labels, double rate,
                        Tensor& usage) {
  visit_float(usage.dtype(), [&](auto zero) {
    using T = decltype(zero);
    cuda::launch_kernel(update_usage_kernel<T>, cuda::blocks_for(labels.dim(0), 1),
                        cuda::threads_for_row(usage.dim(1)), 0, elements<T>(assignment),
                        elements<std::int32_t>(labels), T(rate), elements<T>(usage),
                        static_cast<int>(labels.dim(0)), static_cast<int>(usage.dim(0)),
                        static_cast<int>(usage.dim(1)));
  });
}

}  // namespace proxent::kernel
