// One pass over the similarities. The classes are cut into tiles of about 256 proxies: a tile's
// similarities come from one matrix product while its proxies are in the cache, and are reduced at
// once to a maximum and two sums per row. Backward turns each stored tile into its gradient in
// place and multiplies it with proxies and embeddings. Raw proxies enter both products; their
// lengths scale the similarities and the gradient, so no normalised copy of them is ever made.
#include "tensor/proxy_loss.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/row.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/matmul.h"
#include "tensor/normalize.h"

namespace proxent::kernel {
namespace {

constexpr std::int64_t kTileColumns = 256;  // x 512 dimensions x 4 bytes: half of a 1 MiB L2 cache
constexpr std::int64_t kVector = 16;        // classes per tile are a multiple: no scalar remainder
constexpr std::int64_t kLanes =
    16;  // sums over tiles are made in this many parts, whatever the cores
constexpr double kMasked = -1e30;    // similarity or score of a class that shall not count
constexpr double kZeroPower = -1e4;  // exp of it is 0 in float and double

// How the C x K proxies are cut. A lane is a range of tiles that one thread works through.
struct Tiling {
  std::int64_t C, K, classes, tiles, lanes;  // `classes` per tile

  Tiling(std::int64_t C, std::int64_t K)
      : C(C),
        K(K),
        classes((kTileColumns + K * kVector - 1) / (K * kVector) * kVector),
        tiles((C + classes - 1) / classes),
        lanes(std::min(kLanes, tiles)) {}

  std::int64_t first_tile(std::int64_t lane) const { return lane * tiles / lanes; }
  std::int64_t first_class(std::int64_t tile) const { return tile * classes; }
  std::int64_t width(std::int64_t tile) const { return std::min(classes, C - tile * classes); }
};

// Calls f(lane) on all cores and passes the first exception on.
template <class F>
void each_lane(const Tiling& tiling, const F& f) {
  std::vector<std::exception_ptr> errors(tiling.lanes);
#pragma omp parallel for schedule(dynamic) if (tiling.lanes > 1)
  for (std::int64_t lane = 0; lane < tiling.lanes; ++lane) {
    try {
      f(lane);
    } catch (...) {
      errors[lane] = std::current_exception();
    }
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

// exp that maps everything below kZeroPower, a masked entry above all, to exactly 0.
template <class T>
T exp_of(T x) {
  return vector_exp(x < T(kZeroPower) ? T(kZeroPower) : x);
}

// What `select` makes of n classes: similarities s[k * stride + c] -> score[c] and, unless null,
// jacobian[k * stride + c] = d score[c] / d s_k.
template <class T>
struct Selection {
  const ProxyLossSettings& settings;
  std::int64_t K, n, stride;
  const T* s;
  T* score;
  T* jacobian;
  T* work;  // n

  void run() const {
    if (K == 1) return run_single();
    std::copy_n(s, n, score);  // the largest similarity
    for (std::int64_t k = 1; k < K; ++k)
#pragma omp simd
      for (std::int64_t c = 0; c < n; ++c)
        score[c] = s[k * stride + c] > score[c] ? s[k * stride + c] : score[c];
    if (settings.select != ProxySelect::max) return run_weighted();
    if (jacobian) mark_winners();
  }

  void run_single() const {
    std::copy_n(s, n, score);
    if (jacobian) std::fill_n(jacobian, n, T(1));
  }

  void mark_winners() const {
    std::fill_n(work, n, T(1));  // 1 until the winner was seen: the first of equal ones
    for (std::int64_t k = 0; k < K; ++k)
#pragma omp simd
      for (std::int64_t c = 0; c < n; ++c) {
        const T wins = s[k * stride + c] == score[c] ? work[c] : T(0);
        jacobian[k * stride + c] = wins;
        work[c] -= wins;
      }
  }

  // The weights e_k = exp((s_k - max) / gamma) stay in the jacobian where there is one.
  void run_weighted() const {
    const T per_gamma = T(1 / settings.gamma), gamma = T(settings.gamma);
    const bool is_soft = settings.select == ProxySelect::soft;
    std::array<T, kVector> sum, weighted;
    for (std::int64_t first = 0; first < n; first += kVector) {
      const std::int64_t count = std::min(kVector, n - first);
      sum.fill(0);
      weighted.fill(0);
      for (std::int64_t k = 0; k < K; ++k) {
        const T* in = s + k * stride + first;
        T* out = jacobian ? jacobian + k * stride + first : work + first;
#pragma omp simd
        for (std::int64_t c = 0; c < count; ++c) {
          out[c] = exp_of((in[c] - score[first + c]) * per_gamma);
          sum[c] += out[c];
          weighted[c] += out[c] * in[c];
        }
      }
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c)
        score[first + c] =
            is_soft ? weighted[c] / sum[c] : score[first + c] + gamma * vector_log(sum[c]);
      if (jacobian) finish_jacobian(first, count, sum.data(), is_soft ? per_gamma : T(0));
    }
  }

  // q_k = e_k / sum, times 1 + (s_k - S) / gamma for soft.
  void finish_jacobian(std::int64_t first, std::int64_t count, T* sum, T per_gamma) const {
    if (settings.detaches_selection) per_gamma = 0;
    for (std::int64_t k = 0; k < K; ++k) {
      const T* in = s + k * stride + first;
      T* out = jacobian + k * stride + first;
#pragma omp simd
      for (std::int64_t c = 0; c < count; ++c)
        out[c] = out[c] / sum[c] * (T(1) + (in[c] - score[first + c]) * per_gamma);
    }
  }
};

// Sums over the classes other than the row's own: maximum, Z = sum exp(x - max), and for the
// entropy T = sum (x - max) exp(x - max). x is sigma (or sigma_h) times what the maximum is taken
// of.
template <class T>
struct Partial {
  T ce_max = T(kMasked), ce_z = 0;
  T inter_max = T(kMasked), inter_z = 0, inter_t = 0;
};

// The largest of n values; 0 if all are masked, so that differences from it stay masked.
template <class T>
T max_or_zero(const T* x, std::int64_t n) {
  const T largest = row_max(x, n);
  return largest > T(kMasked) ? largest : T(0);
}

// sum_j z_j exp(scale (max_j - top)) and the like for t, over parts whose z is not 0; top is their
// largest max, 0 without any.
struct Softmax {
  double top = 0, z = 0, t = 0;

  // f(j) -> {max, z, t} for j in 0 .. n-1.
  template <class F>
  Softmax(std::int64_t n, double scale, const F& f) {
    bool is_empty = true;
    for (std::int64_t j = 0; j < n; ++j) {
      const auto [part_top, part_z, part_t] = f(j);
      if (part_z == 0) continue;
      top = is_empty ? part_top : std::max(top, part_top);
      is_empty = false;
    }
    for (std::int64_t j = 0; j < n; ++j) {
      const auto [part_top, part_z, part_t] = f(j);
      const double power = scale * (part_top - top), factor = std::exp(power);
      if (part_z == 0 || factor == 0) continue;
      z += factor * part_z;
      t += factor * (part_t + power * part_z);
    }
  }
  double log_z() const { return std::log(z); }
  double entropy() const { return z == 0 ? 0 : std::max(0.0, log_z() - t / z); }
};
using Part = std::array<double, 3>;  // max, z, t

// What backward needs of a row, maxima taken over c != y: the posterior of the cross-entropy is
// p_c = exp(sigma (x_c - ce_max) - ce_log_z), and that of the inter-class entropy likewise.
template <class T>
struct SavedRow {
  T ce_max, ce_log_z, inter_max, inter_log_z, inter_entropy;
};
static_assert(sizeof(SavedRow<float>) == 5 * sizeof(float));

// A row's tile, brought from [class][proxy] to [proxy][class] with vectors of classes, and its
// results. All arrays are `stride` = classes per tile long (K times for s and jacobian).
template <class T>
struct TileRow {
  const Tiling& tiling;
  const ProxyLossSettings& settings;
  T *s, *jacobian, *score, *g, *work;

  static std::int64_t scratch(const Tiling& t) { return t.classes * (2 * t.K + 3); }
  TileRow(const Tiling& tiling, const ProxyLossSettings& settings, T* memory)
      : tiling(tiling), settings(settings) {
    const std::int64_t n = tiling.classes;
    s = memory;
    jacobian = s + n * tiling.K;
    score = jacobian + n * tiling.K;
    g = score + n;
    work = g + n;
  }

  bool shares_sums() const {
    return settings.negatives == ProxyNegatives::selected && settings.sigma == settings.sigma_h;
  }
  // Classes of this tile, up to whole vectors.
  static std::int64_t padded(std::int64_t width) {
    return (width + kVector - 1) / kVector * kVector;
  }

  // s = row * per_length, scores and (for backward) jacobian. The own class (-1: not here) and the
  // padding are masked in the scores, and with all_proxies in s too.
  void load(const T* row, const T* per_length, std::int64_t width, std::int64_t own,
            bool has_jacobian) {
    const std::int64_t n = tiling.classes, K = tiling.K, whole = padded(width);
    for (std::int64_t k = 0; k < K; ++k) {
      T* out = s + k * n;
#pragma omp simd
      for (std::int64_t c = 0; c < width; ++c) out[c] = row[c * K + k] * per_length[c * K + k];
      std::fill(out + width, out + whole, T(0));
    }
    Selection<T>{settings, K, whole, n, s, score, has_jacobian ? jacobian : nullptr, work}.run();
    std::fill(score + width, score + whole, T(kMasked));
    if (own >= 0) score[own] = T(kMasked);
    if (settings.negatives == ProxyNegatives::selected) return;
    for (std::int64_t k = 0; k < K; ++k) {
      std::fill(s + k * n + width, s + k * n + whole, T(kMasked));
      if (own >= 0) s[k * n + own] = T(kMasked);
    }
  }

  // max, Z and T of scale * score.
  void sum_scores(std::int64_t width, T scale, T& top, T& z, T& t) const {
    const std::int64_t whole = padded(width);
    const T largest = max_or_zero(score, whole);
    T sum_z = 0, sum_t = 0;
#pragma omp simd reduction(+ : sum_z, sum_t)
    for (std::int64_t c = 0; c < whole; ++c) {
      const T x = (score[c] - largest) * scale;
      const T d = x < T(kZeroPower) ? T(kZeroPower) : x;
      const T e = vector_exp(d);
      sum_z += e;
      sum_t += d * e;
    }
    top = largest, z = sum_z, t = sum_t;
  }

  // max and Z of scale * s over all proxies.
  void sum_proxies(std::int64_t width, T scale, T& top, T& z) const {
    const std::int64_t whole = padded(width), n = tiling.classes;
    T largest = T(kMasked);
    for (std::int64_t k = 0; k < tiling.K; ++k)
      largest = std::max(largest, row_max(s + k * n, whole));
    if (largest <= T(kMasked)) largest = 0;
    T sum = 0;
    for (std::int64_t k = 0; k < tiling.K; ++k)
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < whole; ++c) sum += exp_of((s[k * n + c] - largest) * scale);
    top = largest, z = sum;
  }

  Partial<T> partial(std::int64_t width) const {
    Partial<T> out;
    sum_scores(width, T(settings.sigma_h), out.inter_max, out.inter_z, out.inter_t);
    if (shares_sums()) {
      out.ce_max = out.inter_max;
      out.ce_z = out.inter_z;
    } else if (settings.negatives == ProxyNegatives::selected) {
      T unused;
      sum_scores(width, T(settings.sigma), out.ce_max, out.ce_z, unused);
    } else {
      sum_proxies(width, T(settings.sigma), out.ce_max, out.ce_z);
    }
    return out;
  }

  // g[c] = d loss / d score[c] for c != y (0 where masked), `scale` being dy / rows.
  void score_gradients(std::int64_t width, const SavedRow<T>& row, T inter_weight, T scale) const {
    const std::int64_t whole = padded(width);
    const T sigma_h = T(settings.sigma_h), sigma = T(settings.sigma);
    const bool has_ce = settings.negatives == ProxyNegatives::selected;
    const T ce_factor = has_ce ? scale * sigma * std::exp(-row.ce_log_z) : T(0);
    const T inter_factor = scale * inter_weight * sigma_h * std::exp(-row.inter_log_z);
    const T level = row.inter_entropy - row.inter_log_z;
    if (shares_sums()) {
#pragma omp simd
      for (std::int64_t c = 0; c < whole; ++c) {
        const T x = (score[c] - row.inter_max) * sigma_h;
        const T d = x < T(kZeroPower) ? T(kZeroPower) : x;
        g[c] = vector_exp(d) * (ce_factor + inter_factor * (d + level));
      }
      return;
    }
#pragma omp simd
    for (std::int64_t c = 0; c < whole; ++c) {
      const T x = (score[c] - row.inter_max) * sigma_h;
      const T d = x < T(kZeroPower) ? T(kZeroPower) : x;
      g[c] = vector_exp(d) * (inter_factor * (d + level));
    }
    if (!has_ce) return;
#pragma omp simd
    for (std::int64_t c = 0; c < whole; ++c)
      g[c] += ce_factor * exp_of((score[c] - row.ce_max) * sigma);
  }

  // jacobian = d loss / d s.
  void similarity_gradients(std::int64_t width, const SavedRow<T>& row, T scale) const {
    const std::int64_t whole = padded(width), n = tiling.classes;
    const T sigma = T(settings.sigma), factor = scale * sigma * std::exp(-row.ce_log_z);
    const bool is_selected = settings.negatives == ProxyNegatives::selected;
    for (std::int64_t k = 0; k < tiling.K; ++k) {
      T* out = jacobian + k * n;
#pragma omp simd
      for (std::int64_t c = 0; c < whole; ++c) out[c] *= g[c];
      if (is_selected) continue;
#pragma omp simd
      for (std::int64_t c = 0; c < whole; ++c)
        out[c] += factor * exp_of((s[k * n + c] - row.ce_max) * sigma);
    }
  }

  // row = jacobian * per_length in the order [class][proxy]; columns += jacobian * s, and the sum
  // of that is returned.
  T store(T* row, const T* per_length, std::int64_t width, T* columns) const {
    const std::int64_t n = tiling.classes, K = tiling.K;
    T sum = 0;
    for (std::int64_t k = 0; k < K; ++k) {
      const T* g_k = jacobian + k * n;
      const T* s_k = s + k * n;
      T* column = columns + k * n;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < width; ++c) {
        row[c * K + k] = g_k[c] * per_length[c * K + k];
        const T product = g_k[c] * s_k[c];
        column[c] += product;
        sum += product;
      }
    }
    return sum;
  }
};

// Everything of one row that is not a sum over classes: K numbers, in double.
class Row {
 public:
  // `rest` are the sums over c != y; s (K) the similarities to the own class, u (K) its usage or
  // null.
  template <class T>
  Row(const ProxyLossSettings& o, std::int64_t C, std::int64_t K, const Softmax& ce_rest,
      const Softmax& inter_rest, const T* s, const T* u)
      : o_(o), K_(K), s_(s, s + K), jacobian_(K), q_(K), log_q_(K), log_u_(K) {
    if (o.normalises_entropy) {
      if (C > 1) inter_scale_ = 1 / std::log(double(C));
      if (K > 1) intra_scale_ = 1 / std::log(double(K));
    }
    for (std::int64_t k = 0; u && k < K; ++k)
      log_u_[k] = std::log(std::max(double(u[k]), kSmallestUsage));
    double work;
    Selection<double>{o, K, 1, 1, s_.data(), &score_, jacobian_.data(), &work}.run();
    add_cross_entropy(ce_rest);
    add_inter(inter_rest);
    add_own_class();
  }

  // ce, inter, intra, usage as they are weighted.
  std::array<double, 4> terms() const {
    return {ce_, inter_scale_ * inter_, intra_scale_ * intra_, intra_scale_ * used_};
  }
  double weight_inter() const { return o_.weight_inter * inter_scale_; }

  template <class T>
  SavedRow<T> saved() const {
    return {T(ce_top_), T(ce_log_z_), T(inter_top_), T(inter_log_z_), T(inter_)};
  }
  template <class T>
  void write(T* assignment, T* own_gradient) const {
    const double intra = o_.weight_intra * intra_scale_, usage = o_.weight_usage * intra_scale_;
    for (std::int64_t k = 0; k < K_; ++k) {
      const double within = -intra * (log_q_[k] + intra_) + usage * (log_u_[k] - used_);
      assignment[k] = T(q_[k]);
      own_gradient[k] = T(score_gradient_ * jacobian_[k] + o_.sigma_a * q_[k] * within);
    }
  }

 private:
  void add_cross_entropy(const Softmax& rest) {
    const double positive = score_ - o_.margin, power = o_.sigma * (rest.top - positive);
    // log(1 + rest / own), the larger of the two taken out.
    const double own = power > 0 ? std::exp(-power) : 1, others = power > 0 ? 1 : std::exp(power);
    ce_ = rest.z == 0 ? 0
          : power > 0 ? power + std::log(others * rest.z + own)
                      : std::log1p(others * rest.z);
    ce_top_ = rest.top;
    ce_log_z_ = ce_ - power;
    score_gradient_ = o_.sigma * std::expm1(-ce_);  // sigma (p_y - 1)
  }

  void add_inter(const Softmax& rest) {
    inter_top_ = rest.top;
    if (o_.inter == InterClasses::complement) {
      inter_ = rest.entropy();
      inter_log_z_ = rest.z == 0 ? 0 : rest.log_z();
      return;
    }
    const Softmax all(2, o_.sigma_h, [&](std::int64_t j) {
      return j == 0 ? Part{rest.top, rest.z, rest.t} : Part{score_, 1, 0};
    });
    inter_ = all.entropy();
    inter_log_z_ = all.log_z() + o_.sigma_h * (all.top - rest.top);
    const double log_p = o_.sigma_h * (score_ - all.top) - all.log_z();
    score_gradient_ += weight_inter() * o_.sigma_h * std::exp(log_p) * (log_p + inter_);
  }

  void add_own_class() {
    const double top = *std::max_element(s_.begin(), s_.end());
    double z = 0;
    for (std::int64_t k = 0; k < K_; ++k) z += std::exp(o_.sigma_a * (s_[k] - top));
    for (std::int64_t k = 0; k < K_; ++k) {
      log_q_[k] = o_.sigma_a * (s_[k] - top) - std::log(z);
      q_[k] = std::exp(log_q_[k]);
      intra_ -= q_[k] * log_q_[k];
      used_ += q_[k] * log_u_[k];
    }
    intra_ = std::max(0.0, intra_);
  }

  const ProxyLossSettings& o_;
  std::int64_t K_;
  std::vector<double> s_, jacobian_, q_, log_q_, log_u_;
  double score_ = 0, score_gradient_ = 0;  // of the own class, and d loss / d score
  double ce_ = 0, inter_ = 0, intra_ = 0, used_ = 0, inter_scale_ = 1, intra_scale_ = 1;
  double ce_top_ = 0, ce_log_z_ = 0, inter_top_ = 0, inter_log_z_ = 0;
};

// One call of the forward or backward kernel at one element type.
template <class T>
struct Pass {
  const ProxyLossSettings& settings;
  const Tensor& proxies;
  const Tensor& labels;
  ProxyLoss& state;
  std::int64_t B = state.unit.dim(0), C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  Tiling tiling{C, K};

  std::int32_t label(std::int64_t row) const { return labels.data<std::int32_t>()[row]; }
  // The own class's number inside a tile, -1 if it is in another one.
  std::int64_t own_in(std::int64_t tile, std::int64_t row) const {
    const std::int64_t c = label(row) - tiling.first_class(tile);
    return c >= 0 && c < tiling.width(tile) ? c : -1;
  }
  std::int64_t rows_that_count() const {
    const std::int32_t* all = labels.data<std::int32_t>();
    return B - std::count(all, all + B, kIgnoredLabel);
  }

  // The tile's proxies (n K, D), similarities (B, n K) and lengths.
  Tensor proxies_of(std::int64_t tile) const {
    return proxies.slice(tiling.first_class(tile), tiling.width(tile))
        .reshape({tiling.width(tile) * K, D});
  }
  Tensor tile_of(const Tensor& home, std::int64_t tile) const {
    return home.view(B * K * tiling.first_class(tile), {B, tiling.width(tile) * K});
  }
  T* lengths_of(std::int64_t tile) const {
    return state.proxy_scale.data<T>() + tiling.first_class(tile) * K;
  }
  Tensor lane_memory(std::int64_t each) const {
    return Tensor({tiling.lanes, each}, proxies.dtype());
  }

  void forward(const Tensor& embeddings, const Tensor& usage) {
    normalize_rows(Cpu{}, embeddings, state.unit, state.length);
    std::vector<Partial<T>> parts(tiling.tiles * B);
    Tensor scratch = lane_memory(TileRow<T>::scratch(tiling));
    Tensor unkept =
        state.similarities.is_defined() ? Tensor() : lane_memory(B * tiling.classes * K);
    each_lane(tiling, [&](std::int64_t lane) {
      TileRow<T> row(tiling, settings, scratch.data<T>() + lane * scratch.dim(1));
      for (std::int64_t tile = tiling.first_tile(lane); tile < tiling.first_tile(lane + 1);
           ++tile) {
        Tensor similarities = unkept.is_defined()
                                  ? unkept.view(lane * unkept.dim(1), {B, tiling.width(tile) * K})
                                  : tile_of(state.similarities, tile);
        forward_tile(tile, row, similarities, parts.data() + tile * B);
      }
    });
    finish_rows(parts, usage);
  }

  void forward_tile(std::int64_t tile, TileRow<T>& row, Tensor& similarities, Partial<T>* parts) {
    const Tensor w = proxies_of(tile);
    T* per_length = lengths_of(tile);
    for (std::int64_t j = 0; j < w.dim(0); ++j) {
      const T* x = w.data<T>() + j * D;
      const T length = std::sqrt(row_dot(x, x, D));
      per_length[j] = length > T(kMinLength) ? 1 / length : T(1 / kMinLength);
    }
    matmul(Cpu{}, state.unit, false, w, true, similarities);
    for (std::int64_t i = 0; i < B; ++i) {
      if (label(i) == kIgnoredLabel) continue;
      const T* s = similarities.data<T>() + i * w.dim(0);
      const std::int64_t own = own_in(tile, i);
      row.load(s, per_length, tiling.width(tile), own, false);
      parts[i] = row.partial(tiling.width(tile));
      for (std::int64_t k = 0; own >= 0 && k < K; ++k)  // finish_rows() makes them gradients
        state.own_gradients.data<T>()[i * K + k] = s[own * K + k] * per_length[own * K + k];
    }
  }

  void finish_rows(const std::vector<Partial<T>>& parts, const Tensor& usage) {
    std::vector<std::array<double, 4>> terms(B);
    parallel_for(B, 16, [&](std::int64_t i) {
      T* own = state.own_gradients.data<T>() + i * K;
      T* assignment = state.assignment.data<T>() + i * K;
      SavedRow<T>* saved = reinterpret_cast<SavedRow<T>*>(state.rows.data<T>()) + i;
      if (label(i) == kIgnoredLabel) {
        std::fill_n(own, K, T(0));
        std::fill_n(assignment, K, T(0));
        *saved = {};
        return;
      }
      const auto part = [&](std::int64_t tile) -> const Partial<T>& { return parts[tile * B + i]; };
      const Softmax ce(tiling.tiles, settings.sigma, [&](std::int64_t t) {
        return Part{part(t).ce_max, part(t).ce_z, 0};
      });
      const Softmax inter(tiling.tiles, settings.sigma_h, [&](std::int64_t t) {
        return Part{part(t).inter_max, part(t).inter_z, part(t).inter_t};
      });
      const T* u = usage.is_defined() ? usage.data<T>() + label(i) * K : nullptr;
      const Row row(settings, C, K, ce, inter, own, u);
      row.write(assignment, own);
      *saved = row.template saved<T>();
      terms[i] = row.terms();
    });
    write_terms(terms);
  }

  void write_terms(const std::vector<std::array<double, 4>>& rows) {
    std::array<double, 4> mean{};
    const double count = std::max<double>(1, rows_that_count());
    for (const auto& row : rows)
      for (int j = 0; j < 4; ++j) mean[j] += row[j] / count;
    T* out = state.terms.data<T>();
    out[0] = T(mean[0] - settings.weight_inter * mean[1] + settings.weight_intra * mean[2] +
               settings.weight_usage * mean[3]);
    for (int j = 0; j < 4; ++j) out[1 + j] = T(mean[j]);
  }

  // What a lane needs for backward.
  struct Lane {
    TileRow<T> row;
    T* columns;          // (K, classes): sum over rows of g s
    Tensor dz, product;  // (B, D): the lane's share of g w, one tile's
  };

  void backward(const Tensor& dy, Tensor& dz, Tensor& dw) {
    const T scale = T(dy.item() / std::max<double>(1, rows_that_count()));
    Tensor scratch = lane_memory(TileRow<T>::scratch(tiling) + tiling.classes * K);
    Tensor shares = dz.is_defined() ? lane_memory(2 * B * D) : Tensor();
    std::vector<T> row_dots(tiling.tiles * B);
    each_lane(tiling, [&](std::int64_t lane) {
      T* memory = scratch.data<T>() + lane * scratch.dim(1);
      Lane mine{{tiling, settings, memory}, memory + TileRow<T>::scratch(tiling), {}, {}};
      if (dz.is_defined()) {
        mine.dz = shares.view(lane * 2 * B * D, {B, D});
        mine.product = shares.view((lane * 2 + 1) * B * D, {B, D});
      }
      for (std::int64_t tile = tiling.first_tile(lane); tile < tiling.first_tile(lane + 1);
           ++tile) {
        Tensor g = tile_of(state.similarities, tile);
        differentiate_tile(tile, scale, mine, g, row_dots.data() + tile * B);
        if (dz.is_defined()) add_to_dz(tile, g, tile == tiling.first_tile(lane), mine);
        if (dw.is_defined()) write_dw(tile, g, mine, dw);
      }
    });
    if (dz.is_defined()) finish_dz(shares, row_dots, dz);
  }

  // Overwrites the tile with g / |w|, and gathers sum g s over rows (columns) and proxies
  // (row_dots).
  void differentiate_tile(std::int64_t tile, T scale, Lane& lane, Tensor& g, T* row_dots) const {
    const std::int64_t n = tiling.classes, width = tiling.width(tile);
    const T* per_length = lengths_of(tile);
    std::fill_n(lane.columns, n * K, T(0));
    for (std::int64_t i = 0; i < B; ++i) {
      T* out = g.data<T>() + i * width * K;
      if (label(i) == kIgnoredLabel) {
        std::fill_n(out, width * K, T(0));
        continue;
      }
      const SavedRow<T>& saved = reinterpret_cast<const SavedRow<T>*>(state.rows.data<T>())[i];
      const std::int64_t own = own_in(tile, i);
      TileRow<T>& row = lane.row;
      row.load(out, per_length, width, own, true);
      row.score_gradients(width, saved, inter_weight(), scale);
      row.similarity_gradients(width, saved, scale);
      for (std::int64_t k = 0; own >= 0 && k < K; ++k) {
        row.jacobian[k * n + own] = scale * state.own_gradients.data<T>()[i * K + k];
        row.s[k * n + own] = out[own * K + k] * per_length[own * K + k];
      }
      row_dots[i] = row.store(out, per_length, width, lane.columns);
    }
  }

  T inter_weight() const {
    const bool is_divided = settings.normalises_entropy && C > 1;
    return T(settings.weight_inter / (is_divided ? std::log(double(C)) : 1));
  }

  void add_to_dz(std::int64_t tile, const Tensor& g, bool is_first, Lane& lane) const {
    if (is_first) return matmul(Cpu{}, g, false, proxies_of(tile), false, lane.dz);
    matmul(Cpu{}, g, false, proxies_of(tile), false, lane.product);
    T* sum = lane.dz.template data<T>();
    const T* part = lane.product.template data<T>();
#pragma omp simd
    for (std::int64_t j = 0; j < B * D; ++j) sum[j] += part[j];
  }

  // dw = (g^T z - w/|w| (column sum of g s)) / |w|; g comes divided by |w| already.
  void write_dw(std::int64_t tile, const Tensor& g, const Lane& lane, Tensor& dw) const {
    const std::int64_t n = tiling.classes, width = tiling.width(tile);
    const Tensor w = proxies_of(tile);
    const T* per_length = lengths_of(tile);
    Tensor out = dw.view(tiling.first_class(tile) * K * D, {width * K, D});
    matmul(Cpu{}, g, true, state.unit, false, out);
    for (std::int64_t j = 0; j < width * K; ++j) {
      if (per_length[j] >= T(1 / kMinLength)) continue;  // |w| was clamped: a constant
      const T stretch = lane.columns[j % K * n + j / K] * per_length[j] * per_length[j];
      const T* x = w.data<T>() + j * D;
      T* y = out.data<T>() + j * D;
#pragma omp simd
      for (std::int64_t d = 0; d < D; ++d) y[d] -= stretch * x[d];
    }
  }

  // dz = (sum of the lanes' shares - z/|z| (row sum of g s)) / |z|.
  void finish_dz(const Tensor& shares, const std::vector<T>& row_dots, Tensor& dz) const {
    parallel_for(B, row_grain(tiling.lanes * D), [&](std::int64_t i) {
      T stretch = 0;
      for (std::int64_t tile = 0; tile < tiling.tiles; ++tile) stretch += row_dots[tile * B + i];
      const T length = state.length.data<T>()[i];
      if (length <= T(kMinLength)) stretch = 0;  // |z| was clamped: a constant
      T* out = dz.data<T>() + i * D;
      std::fill_n(out, D, T(0));
      for (std::int64_t lane = 0; lane < tiling.lanes; ++lane) {
        const T* share = shares.data<T>() + lane * shares.dim(1) + i * D;
        for (std::int64_t d = 0; d < D; ++d) out[d] += share[d];
      }
      const T* unit = state.unit.data<T>() + i * D;
      for (std::int64_t d = 0; d < D; ++d) out[d] = (out[d] - stretch * unit[d]) / length;
    });
  }
};

}  // namespace

void proxy_loss(Cpu, const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                const Tensor& usage, const ProxyLossSettings& settings, ProxyLoss& out) {
  visit_float(embeddings.dtype(), [&](auto zero) {
    Pass<decltype(zero)>{settings, proxies, labels, out}.forward(embeddings, usage);
  });
}

void proxy_loss_backward(Cpu, const Tensor& dy, const Tensor& proxies, const Tensor& labels,
                         const ProxyLossSettings& settings, ProxyLoss& forward, Tensor& dz,
                         Tensor& dw) {
  visit_float(proxies.dtype(), [&](auto zero) {
    Pass<decltype(zero)>{settings, proxies, labels, forward}.backward(dy, dz, dw);
  });
}

void update_proxy_usage(Cpu, const Tensor& assignment, const Tensor& labels, double rate,
                        Tensor& usage) {
  visit_float(usage.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t B = assignment.dim(0), K = usage.dim(1);
    const std::int32_t* label = labels.data<std::int32_t>();
    std::vector<T> sum(usage.numel(), T(0));
    std::vector<std::int64_t> count(usage.dim(0), 0);
    for (std::int64_t i = 0; i < B; ++i) {
      if (label[i] == kIgnoredLabel) continue;
      ++count[label[i]];
      for (std::int64_t k = 0; k < K; ++k) sum[label[i] * K + k] += assignment.data<T>()[i * K + k];
    }
    T* u = usage.data<T>();
    for (std::int64_t j = 0; j < usage.numel(); ++j)
      if (count[j / K] > 0) u[j] += T(rate) * (sum[j] / T(count[j / K]) - u[j]);
  });
}

}  // namespace proxent::kernel
