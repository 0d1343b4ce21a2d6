// One pass over the similarities. The classes are cut into tiles of about 256 proxies, small enough
// for the cache. A tile's similarities are kept as (proxy, row of the batch): then one vector holds
// the same proxy's similarities to several embeddings, and everything between two matrix products
// is arithmetic on such vectors without a shuffle. Forward reduces a tile to a maximum and two sums
// per row; backward turns it into its gradient in place and multiplies that with proxies and
// embeddings. Raw proxies enter the products and their lengths scale the results, so no normalised
// copy of the proxies is ever made.
#include "tensor/proxy_loss.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "tensor/cpu/panel_product.h"
#include "tensor/cpu/proxy_selection.h"
#include "tensor/cpu/row.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/normalize.h"
#include "tensor/parallel.h"
#include "tensor/proxy_row.h"

namespace proxent::kernel {
namespace {

constexpr std::int64_t kTileProxies = 256;  // x 512 dimensions x 4 bytes: half of a 1 MiB L2 cache

// How the C x K proxies are cut. A lane is a range of tiles that one thread works through; sums
// over all proxies are made lane by lane, so they do not depend on the number of threads.
struct Tiling {
  std::int64_t C, K, classes, tiles, lanes;  // `classes` per tile

  Tiling(std::int64_t C, std::int64_t K, std::int64_t D)
      : C(C),
        K(K),
        classes(std::max<std::int64_t>(1, kTileProxies / K)),
        tiles((C + classes - 1) / classes),
        // A power of two, so that 2, 4 or 8 threads share them evenly. Each costs one (B, D) sum:
        // together at most a quarter of the similarities, where that leaves 8.
        lanes(std::min<std::int64_t>(
            tiles, std::bit_floor(std::clamp<std::uint64_t>(C * K / (4 * D), 8, 64)))) {}

  std::int64_t first_tile(std::int64_t lane) const { return lane * tiles / lanes; }
  std::int64_t first_class(std::int64_t tile) const { return tile * classes; }
  std::int64_t width(std::int64_t tile) const { return std::min(classes, C - tile * classes); }
};

// Calls f(lane, worker) on all cores. Calls that run at the same time have different workers,
// numbered from 0 to below workers(). f must not throw.
std::int64_t workers() { return omp_get_max_threads(); }
template <class F>
void each_lane(const Tiling& tiling, const F& f) {
#pragma omp parallel for schedule(dynamic) if (tiling.lanes > 1)
  for (std::int64_t lane = 0; lane < tiling.lanes; ++lane) f(lane, omp_get_thread_num());
}

// The team of tensor/proxy_row.h: one thread does it all.
struct OneThread {
  template <class F>
  void each(std::int64_t K, const F& f) const {
    for (std::int64_t k = 0; k < K; ++k) f(k);
  }
  template <class Op>
  double all(double x, const Op&) const {
    return x;
  }
  bool is_first() const { return true; }
};

// One call of the forward or backward kernel at one element type. n is B up to whole panels; all
// arrays over rows of the batch are n long, and what stands behind row B never reaches a result.
template <class T>
class Pass {
 public:
  Pass(const ProxyLossSettings& settings, const Tensor& proxies, const Tensor& labels,
       ProxyLoss& state)
      : settings_(settings),
        proxies_(proxies),
        state_(state),
        B_(labels.dim(0)),
        D_(proxies.dim(2)),
        K_(proxies.dim(1)),
        n_(padded_rows(B_)),
        tiling_(proxies.dim(0), K_, D_),
        selection_{settings, K_, n_},
        w_(proxies.data<T>()),
        per_length_(state.proxy_scale.data<T>()),
        s_(state.similarities.is_defined() ? state.similarities.data<T>() : nullptr),
        label_(labels.to_vector<std::int32_t>()) {
    label_.resize(n_, kIgnoredLabel);
    count_ = n_ - std::count(label_.begin(), label_.end(), kIgnoredLabel);
    shares_sums_ = is_selected() && settings.sigma == settings.sigma_h;
  }

  void forward(const Tensor& embeddings, const Tensor& usage) {
    normalize_rows(Cpu{}, embeddings, state_.unit, state_.length);
    const Tensor packed = packed_columns();
    const bool is_kept = state_.similarities.is_defined();
    const std::int64_t tile_size = is_kept ? 0 : tiling_.classes * K_ * n_;
    Tensor memory({workers(), tile_size + (tiling_.classes + 2) * n_}, proxies_.dtype());
    std::vector<T> parts(tiling_.tiles * kSums * n_);
    each_lane(tiling_, [&](std::int64_t lane, std::int64_t worker) {
      T* mine = memory.data<T>() + worker * memory.dim(1);
      for_tiles(lane, [&](std::int64_t tile) {
        T* s = is_kept ? similarities(tile) : mine;
        compare(tile, packed.data<T>(), s);
        reduce(tile, s, mine + tile_size, parts.data() + tile * kSums * n_);
      });
    });
    finish_rows(parts, usage);
  }

  void backward(const Tensor& dy, Tensor& dz, Tensor& dw) {
    const Tensor rows = row_factors(T(dy.item() / std::max<std::int64_t>(1, count_)));
    const Tensor packed = dw.is_defined() ? packed_rows() : Tensor();
    const Scratch scratch(*this);
    Tensor memory({workers(), scratch.size}, proxies_.dtype());
    Tensor stretches = Tensor::zeros({tiling_.lanes, n_}, proxies_.dtype());
    Tensor shares;
    if (dz.is_defined()) shares = Tensor::zeros({tiling_.lanes, B_ * D_}, proxies_.dtype());
    each_lane(tiling_, [&](std::int64_t lane, std::int64_t worker) {
      T* mine = memory.data<T>() + worker * scratch.size;
      T* row_stretch = stretches.data<T>() + lane * n_;
      for_tiles(lane, [&](std::int64_t tile) {
        differentiate(tile, rows.data<T>(), mine, row_stretch, mine + scratch.stretch);
        if (dz.is_defined())
          add_to_dz(tile, mine + scratch.panels, mine + scratch.group,
                    shares.data<T>() + lane * B_ * D_);
        if (dw.is_defined()) write_dw(tile, packed.data<T>(), mine + scratch.stretch, dw);
      });
    });
    if (dz.is_defined()) finish_dz(shares, stretches, dz);
  }

 private:
  // Per row of the batch and tile, over the classes other than the row's own: what the maximum of
  // the cross-entropy's and the entropy's arguments is, sum exp(x - max), and for the entropy
  // sum (x - max) exp(x - max), x being sigma or sigma_h times the argument.
  enum Sum : std::int64_t { kCeMax, kCeZ, kInterMax, kInterZ, kInterT, kSums };
  // Per row of the batch, what backward multiplies; the scale dy / rows is in all of them.
  enum Factor : std::int64_t { kCeTop, kCe, kInterTop, kInter, kInterLevel, kOwn };

  bool is_selected() const { return settings_.negatives == ProxyNegatives::selected; }
  // Where a worker's arrays for backward lie: rows for one class, the tile's column sums, a group
  // of rows of its gradient and its proxies as panels.
  struct Scratch {
    std::int64_t stretch, group, panels, size;
    explicit Scratch(const Pass& pass) {
      const std::int64_t tile = pass.tiling_.classes * pass.K_;
      stretch = (pass.K_ + 4) * pass.n_;
      group = stretch + tile;
      panels = group + tile * kGroupRows;
      size = panels + tile * proxent::panels<T>(pass.D_) * kPanelColumns<T>;
    }
  };
  template <class F>
  void for_tiles(std::int64_t lane, const F& f) const {
    for (std::int64_t tile = tiling_.first_tile(lane); tile < tiling_.first_tile(lane + 1); ++tile)
      f(tile);
  }
  std::int64_t first_proxy(std::int64_t tile) const { return tiling_.first_class(tile) * K_; }
  std::int64_t proxies_in(std::int64_t tile) const { return tiling_.width(tile) * K_; }
  const T* proxies(std::int64_t tile) const { return w_ + first_proxy(tile) * D_; }
  T* per_length(std::int64_t tile) const { return per_length_ + first_proxy(tile); }
  T* similarities(std::int64_t tile) const { return s_ + first_proxy(tile) * n_; }

  // unit^T as panels of rows of the batch, [panel][d][row]; zeros for rows that do not count.
  Tensor packed_columns() const {
    Tensor packed({panels<T>(n_), D_, kPanelColumns<T>}, proxies_.dtype());
    const T* unit = state_.unit.data<T>();
    for (std::int64_t i = 0; i < n_; ++i) {
      T* out =
          packed.data<T>() + i / kPanelColumns<T> * D_ * kPanelColumns<T> + i % kPanelColumns<T>;
      const bool counts = label_[i] != kIgnoredLabel;
      for (std::int64_t d = 0; d < D_; ++d)
        out[d * kPanelColumns<T>] = counts ? unit[i * D_ + d] : T(0);
    }
    return packed;
  }

  // unit as panels of dimensions, [panel][row][d]; zeros for rows that do not count.
  Tensor packed_rows() const {
    Tensor packed({panels<T>(D_), B_, kPanelColumns<T>}, proxies_.dtype());
    pack_panels(state_.unit.data<T>(), B_, D_, packed.data<T>());
    for (std::int64_t p = 0; p < panels<T>(D_); ++p)
      for (std::int64_t i = 0; i < B_; ++i)
        if (label_[i] == kIgnoredLabel)
          std::fill_n(packed.data<T>() + (p * B_ + i) * kPanelColumns<T>, kPanelColumns<T>, T(0));
    return packed;
  }

  // s (proxy, row) = w . z / |w| for the tile's proxies; a group of them stays in the L1 cache
  // from their length to their last product.
  void compare(std::int64_t tile, const T* packed, T* s) const {
    const std::int64_t count = proxies_in(tile);
    T* scale = per_length(tile);
    for (std::int64_t first = 0; first < count; first += kGroupRows) {
      const std::int64_t rows = std::min<std::int64_t>(kGroupRows, count - first);
      const T* w = proxies(tile) + first * D_;
      for (std::int64_t j = 0; j < rows; ++j) {
        const T length = std::sqrt(squares(w + j * D_));
        scale[first + j] = length > T(kMinLength) ? 1 / length : T(1 / kMinLength);
      }
      for (std::int64_t p = 0; p < panels<T>(n_); ++p) {
        // The next group comes from memory while this one is multiplied, a share with each panel.
        prefetch(w + rows * D_, std::min<std::int64_t>(kGroupRows, count - first - rows), p,
                 panels<T>(n_));
        T* out = s + first * n_ + p * kPanelColumns<T>;
        panel_product(Strided<T>{w, D_, 1}, rows, packed + p * D_ * kPanelColumns<T>, D_,
                      [&](std::int64_t j, const T* row) {
                        const T factor = scale[first + j];
#pragma omp simd
                        for (std::int64_t i = 0; i < kPanelColumns<T>; ++i)
                          out[j * n_ + i] = row[i] * factor;
                      });
      }
    }
  }

  // |w|^2, in four chains of vectors: one chain would wait for its own sum.
  T squares(const T* w) const {
    constexpr std::int64_t kStep = 4 * kVectorLanes<T>;
    Vector<T> sum[4] = {};
    std::int64_t d = 0;
    for (; d + kStep <= D_; d += kStep)
      for (int j = 0; j < 4; ++j) {
        Vector<T> x;
        std::memcpy(&x, w + d + j * kVectorLanes<T>, sizeof x);
        sum[j] += x * x;
      }
    const Vector<T> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    T total = 0;
    for (std::int64_t j = 0; j < kVectorLanes<T>; ++j) total += all[j];
    for (; d < D_; ++d) total += w[d] * w[d];
    return total;
  }

  // Asks for the part-th of `parts` shares of rows of proxies.
  void prefetch(const T* w, std::int64_t rows, std::int64_t part, std::int64_t parts) const {
    const auto* bytes = reinterpret_cast<const char*>(w);
    const std::int64_t lines = rows * D_ * std::int64_t{sizeof(T)} / 64;
    for (std::int64_t i = part * lines / parts; i < (part + 1) * lines / parts; ++i)
      __builtin_prefetch(bytes + i * 64, 0, 2);
  }

  // The tile's sums; the similarities to own classes are put aside.
  void reduce(std::int64_t tile, const T* s, T* scratch, T* sums) {
    const std::int64_t first = tiling_.first_class(tile), width = tiling_.width(tile);
    T *scores = scratch + 2 * n_, *top = sums + kInterMax * n_;
    std::fill_n(top, n_, T(kNoScore));
    for (std::int64_t c = 0; c < width; ++c) {
      T* score = scores + c * n_;
      selection_.run(s + c * K_ * n_, score, nullptr, scratch);
      mask_own(first + c, score);
      raise(score, top);
    }
    settle(top);
    add_exponentials(scores, width, T(settings_.sigma_h), top, sums + kInterZ * n_,
                     sums + kInterT * n_);
    if (shares_sums_) {
      std::copy_n(top, n_, sums + kCeMax * n_);
      std::copy_n(sums + kInterZ * n_, n_, sums + kCeZ * n_);
    } else if (is_selected()) {
      std::copy_n(top, n_, sums + kCeMax * n_);
      add_exponentials(scores, width, T(settings_.sigma), top, sums + kCeZ * n_, scratch);
    } else {
      reduce_all_proxies(tile, s, scratch, sums);
    }
    for (std::int64_t i = 0; i < B_; ++i) {
      const std::int64_t own = label_[i] - first;
      for (std::int64_t k = 0; own >= 0 && own < width && k < K_; ++k)
        state_.own_gradients.data<T>()[i * K_ + k] = s[(own * K_ + k) * n_ + i];
    }
  }

  // The denominator over every foreign proxy.
  void reduce_all_proxies(std::int64_t tile, const T* s, T* scratch, T* sums) const {
    const std::int64_t first = tiling_.first_class(tile), count = proxies_in(tile);
    T *top = sums + kCeMax * n_, *z = sums + kCeZ * n_, *masked = scratch;
    std::fill_n(top, n_, T(kNoScore));
    std::fill_n(z, n_, T(0));
    for (std::int64_t j = 0; j < count; ++j) {
      std::copy_n(s + j * n_, n_, masked);
      mask_own(first + j / K_, masked);
      raise(masked, top);
    }
    settle(top);
    const T sigma = T(settings_.sigma);
    for (std::int64_t j = 0; j < count; ++j) {
      std::copy_n(s + j * n_, n_, masked);
      mask_own(first + j / K_, masked);
#pragma omp simd
      for (std::int64_t i = 0; i < n_; ++i)
        z[i] += vector_exp(power_of((masked[i] - top[i]) * sigma));
    }
  }

  void mask_own(std::int64_t c, T* x) const {
    const std::int32_t* label = label_.data();
    const auto own = static_cast<std::int32_t>(c);
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i) x[i] = label[i] == own ? T(kNoScore) : x[i];
  }
  void raise(const T* x, T* top) const {
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i) top[i] = x[i] > top[i] ? x[i] : top[i];
  }
  // Where everything was masked, 0: the differences from it are still masked.
  void settle(T* top) const {
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i) top[i] = top[i] > T(kNoScore) ? top[i] : T(0);
  }
  // z = sum over classes of e^x and t = sum of x e^x for x = scale (score - top).
  void add_exponentials(const T* scores, std::int64_t width, T scale, const T* top, T* z,
                        T* t) const {
    std::fill_n(z, n_, T(0));
    std::fill_n(t, n_, T(0));
    for (std::int64_t c = 0; c < width; ++c) {
      const T* score = scores + c * n_;
#pragma omp simd
      for (std::int64_t i = 0; i < n_; ++i) {
        const T x = power_of((score[i] - top[i]) * scale), e = vector_exp(x);
        z[i] += e;
        t[i] += x * e;
      }
    }
  }

  SavedProxyRow<T>* saved_rows() const {
    return reinterpret_cast<SavedProxyRow<T>*>(state_.rows.data<T>());
  }

  void finish_rows(const std::vector<T>& parts, const Tensor& usage) {
    std::vector<std::array<double, 4>> terms(B_);
    parallel_for(B_, 16, [&](std::int64_t i) {
      const ProxyRow<T, OneThread> row{.own = state_.own_gradients.data<T>() + i * K_,
                                       .assignment = state_.assignment.data<T>() + i * K_,
                                       .saved = saved_rows() + i,
                                       .terms = terms[i].data(),
                                       .K = K_,
                                       .team = {}};
      if (label_[i] == kIgnoredLabel) return row.ignore();
      SoftmaxSums<double> ce, inter;
      for (std::int64_t tile = 0; tile < tiling_.tiles; ++tile) {
        const auto part = [&](Sum sum) { return double(parts[(tile * kSums + sum) * n_ + i]); };
        ce.merge({part(kCeMax), part(kCeZ), 0}, settings_.sigma);
        inter.merge({part(kInterMax), part(kInterZ), part(kInterT)}, settings_.sigma_h);
      }
      const T* u = usage.is_defined() ? usage.data<T>() + std::int64_t{label_[i]} * K_ : nullptr;
      row.finish(settings_, tiling_.C, ce, inter, u);
    });
    write_terms(terms);
  }

  void write_terms(const std::vector<std::array<double, 4>>& rows) {
    std::array<double, 4> mean{};
    for (const auto& row : rows)
      for (int j = 0; j < 4; ++j) mean[j] += row[j] / std::max<double>(1, count_);
    T* out = state_.terms.data<T>();
    out[0] = T(weighted_sum(settings_, mean.data()));
    for (int j = 0; j < 4; ++j) out[1 + j] = T(mean[j]);
  }

  // (kOwn + K, n): the factors, then the own class's gradients. Rows that do not count have zeros.
  Tensor row_factors(T scale) const {
    Tensor factors = Tensor::zeros({kOwn + K_, n_}, proxies_.dtype());
    T* out = factors.data<T>();
    const T inter = T(settings_.weight_inter * entropy_scale(settings_, tiling_.C));
    for (std::int64_t i = 0; i < B_; ++i) {
      if (label_[i] == kIgnoredLabel) continue;
      const SavedProxyRow<T>& row = saved_rows()[i];
      out[kCeTop * n_ + i] = row.ce_max;
      out[kCe * n_ + i] = scale * T(settings_.sigma) * std::exp(-row.ce_log_z);
      out[kInterTop * n_ + i] = row.inter_max;
      out[kInter * n_ + i] = scale * inter * T(settings_.sigma_h) * std::exp(-row.inter_log_z);
      out[kInterLevel * n_ + i] = row.inter_entropy - row.inter_log_z;
      for (std::int64_t k = 0; k < K_; ++k)
        out[(kOwn + k) * n_ + i] = scale * state_.own_gradients.data<T>()[i * K_ + k];
    }
    return factors;
  }

  // Overwrites the tile's similarities with g / |w|. Adds the sums of g s over proxies to
  // row_stretch and writes those over rows to column_stretch: what stretches z and w.
  void differentiate(std::int64_t tile, const T* rows, T* scratch, T* row_stretch,
                     T* column_stretch) const {
    const std::int64_t first = tiling_.first_class(tile);
    const T* scale = per_length(tile);
    T *score = scratch + 2 * n_, *g = scratch + 3 * n_, *jacobian = scratch + 4 * n_;
    for (std::int64_t c = 0; c < tiling_.width(tile); ++c) {
      T* s = similarities(tile) + c * K_ * n_;
      selection_.run(s, score, jacobian, scratch);
      score_gradient(score, rows, g);
      for (std::int64_t k = 0; k < K_; ++k) {
        const std::int64_t j = c * K_ + k;
        similarity_gradient(s + k * n_, g, rows, jacobian + k * n_);
        column_stretch[j] = finish_gradient(first + c, rows + (kOwn + k) * n_, jacobian + k * n_,
                                            scale[j], s + k * n_, row_stretch);
      }
    }
  }

  // d loss / d score for c != y.
  void score_gradient(const T* score, const T* rows, T* g) const {
    const T* top = rows + kInterTop * n_;
    const T* inter = rows + kInter * n_;
    const T* level = rows + kInterLevel * n_;
    const T* ce = rows + kCe * n_;
    const T* ce_top = rows + kCeTop * n_;
    const T sigma = T(settings_.sigma), sigma_h = T(settings_.sigma_h);
    if (shares_sums_) {
#pragma omp simd
      for (std::int64_t i = 0; i < n_; ++i) {
        const T x = power_of((score[i] - top[i]) * sigma_h);
        g[i] = vector_exp(x) * (ce[i] + inter[i] * (x + level[i]));
      }
      return;
    }
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i) {
      const T x = power_of((score[i] - top[i]) * sigma_h);
      g[i] = vector_exp(x) * (inter[i] * (x + level[i]));
    }
    if (!is_selected()) return;
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i)
      g[i] += vector_exp(power_of((score[i] - ce_top[i]) * sigma)) * ce[i];
  }

  // jacobian = d loss / d s_k for c != y.
  void similarity_gradient(const T* s, const T* g, const T* rows, T* jacobian) const {
    const T* ce = rows + kCe * n_;
    const T* top = rows + kCeTop * n_;
    const T sigma = T(settings_.sigma);
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i) jacobian[i] *= g[i];
    if (is_selected()) return;
#pragma omp simd
    for (std::int64_t i = 0; i < n_; ++i)
      jacobian[i] += vector_exp(power_of((s[i] - top[i]) * sigma)) * ce[i];
  }

  // Puts the own class's gradient where c = y, and s <- g * scale. Returns the sum of g s.
  T finish_gradient(std::int64_t c, const T* own, const T* gradient, T scale, T* s,
                    T* row_stretch) const {
    const std::int32_t* label = label_.data();
    const auto own_label = static_cast<std::int32_t>(c);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = 0; i < n_; ++i) {
      const T g = label[i] == own_label ? own[i] : gradient[i];
      const T stretch = g * s[i];
      row_stretch[i] += stretch;
      sum += stretch;
      s[i] = g * scale;
    }
    return sum;
  }

  // dz += g w, the lane's share. Both factors are packed: the proxies in their own order, which is
  // also when they come from memory, and of g a group of rows of the batch at a time.
  void add_to_dz(std::int64_t tile, T* panel, T* group, T* share) const {
    const std::int64_t depth = proxies_in(tile);
    pack_panels(proxies(tile), depth, D_, panel);
    for (std::int64_t row = 0; row < B_; row += kGroupRows) {
      for (std::int64_t j = 0; j < depth; ++j)
        std::copy_n(similarities(tile) + j * n_ + row, std::min<std::int64_t>(kGroupRows, n_ - row),
                    group + j * kGroupRows);
      for (std::int64_t first = 0; first < D_; first += kPanelColumns<T>) {
        const std::int64_t columns = std::min(kPanelColumns<T>, D_ - first);
        panel_product(Strided<T>{group, 1, kGroupRows},
                      std::min<std::int64_t>(kGroupRows, B_ - row), panel + first * depth, depth,
                      [&](std::int64_t i, const T* product) {
                        T* sum = share + (row + i) * D_ + first;
#pragma omp simd
                        for (std::int64_t d = 0; d < columns; ++d) sum[d] += product[d];
                      });
      }
    }
  }

  // dw = (g^T z - w/|w| (sum of g s)) / |w|; g comes divided by |w|, and a clamped |w| is a
  // constant.
  void write_dw(std::int64_t tile, const T* packed, const T* column_stretch, Tensor& dw) const {
    const T* scale = per_length(tile);
    T* out = dw.data<T>() + first_proxy(tile) * D_;
    for (std::int64_t j = 0; j < proxies_in(tile); j += kGroupRows) {
      const std::int64_t rows = std::min<std::int64_t>(kGroupRows, proxies_in(tile) - j);
      const bool has_next = tile + 1 < tiling_.tiles && j + rows <= proxies_in(tile + 1);
      for (std::int64_t first = 0; first < D_; first += kPanelColumns<T>) {
        if (has_next)
          prefetch(proxies(tile + 1) + j * D_, rows, first / kPanelColumns<T>, panels<T>(D_));
        const std::int64_t columns = std::min(kPanelColumns<T>, D_ - first);
        panel_product(Strided<T>{similarities(tile) + j * n_, n_, 1}, rows, packed + first * B_, B_,
                      [&](std::int64_t r, const T* row) {
                        const T* w = proxies(tile) + (j + r) * D_ + first;
                        T* out_row = out + (j + r) * D_ + first;
                        const T stretch = stretch_of(scale[j + r], column_stretch[j + r]);
#pragma omp simd
                        for (std::int64_t d = 0; d < columns; ++d)
                          out_row[d] = row[d] - stretch * w[d];
                      });
      }
    }
  }
  // What w is multiplied with; 0 where |w| was clamped.
  static T stretch_of(T per_length, T sum) {
    return per_length >= T(1 / kMinLength) ? T(0) : sum * per_length * per_length;
  }

  // dz = (sum of the shares - z/|z| (sum of g s)) / |z|, and a clamped |z| is a constant.
  void finish_dz(const Tensor& shares, const Tensor& stretches, Tensor& dz) const {
    parallel_for(B_, row_grain(tiling_.lanes * D_), [&](std::int64_t i) {
      T* out = dz.data<T>() + i * D_;
      std::fill_n(out, D_, T(0));
      if (label_[i] == kIgnoredLabel) return;
      T stretch = 0;
      for (std::int64_t lane = 0; lane < tiling_.lanes; ++lane) {
        const T* share = shares.data<T>() + lane * B_ * D_ + i * D_;
        stretch += stretches.data<T>()[lane * n_ + i];
        for (std::int64_t d = 0; d < D_; ++d) out[d] += share[d];
      }
      const T length = state_.length.data<T>()[i];
      if (length <= T(kMinLength)) stretch = 0;
      const T* unit = state_.unit.data<T>() + i * D_;
      for (std::int64_t d = 0; d < D_; ++d) out[d] = (out[d] - stretch * unit[d]) / length;
    });
  }

  const ProxyLossSettings& settings_;
  const Tensor& proxies_;
  ProxyLoss& state_;
  std::int64_t B_, D_, K_, n_;
  Tiling tiling_;
  ProxySelection<T> selection_;
  const T* w_;
  T *per_length_, *s_;
  std::vector<std::int32_t> label_;  // n
  std::int64_t count_;               // rows that are not ignored
  bool shares_sums_;                 // cross-entropy and inter-class entropy have one softmax
};

}  // namespace

void proxy_loss(Cpu, const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                const Tensor& usage, const ProxyLossSettings& settings, ProxyLoss& out) {
  visit_float(embeddings.dtype(), [&](auto zero) {
    Pass<decltype(zero)>(settings, proxies, labels, out).forward(embeddings, usage);
  });
}

void proxy_loss_backward(Cpu, const Tensor& dy, const Tensor& proxies, const Tensor& labels,
                         const ProxyLossSettings& settings, ProxyLoss& forward, Tensor& dz,
                         Tensor& dw) {
  visit_float(proxies.dtype(), [&](auto zero) {
    Pass<decltype(zero)>(settings, proxies, labels, forward).backward(dy, dz, dw);
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
      for (std::int64_t k = 0; k < K; ++k)
        sum[std::int64_t{label[i]} * K + k] += assignment.data<T>()[i * K + k];
    }
    T* u = usage.data<T>();
    for (std::int64_t j = 0; j < usage.numel(); ++j) {
      const T mean = sum[j] / T(count[j / K]);  // not finite without rows
      if (std::isfinite(mean)) u[j] += T(rate) * (mean - u[j]);
    }
  });
}

}  // namespace proxent::kernel
