// One row of the batch in the multi-proxy entropy loss, once the sums over its classes are there:
// the four terms, and what the true class's proxies get for a gradient. K numbers, in double.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/cpu/proxy_selection.h"

namespace proxent {

// sum_j z_j exp(scale (max_j - top)) and the like for t, over parts whose z is not 0; top is their
// largest max, 0 without any.
struct SoftmaxSums {
  double top = 0, z = 0, t = 0;

  // f(j) -> {max, z, t} for j in 0 .. n-1.
  template <class F>
  SoftmaxSums(std::int64_t n, double scale, const F& f) {
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
using SoftmaxPart = std::array<double, 3>;  // max, z, t

// What backward needs of a row, maxima taken over c != y: the posterior of the cross-entropy is
// p_c = exp(sigma (x_c - ce_max) - ce_log_z), and that of the inter-class entropy likewise.
template <class T>
struct SavedProxyRow {
  T ce_max, ce_log_z, inter_max, inter_log_z, inter_entropy;
};
static_assert(sizeof(SavedProxyRow<float>) == 5 * sizeof(float));

// A row of the batch.
class ProxyRow {
 public:
  // `rest` are the sums over c != y; s (K) the similarities to the own class, u (K) its usage or
  // null.
  template <class T>
  ProxyRow(const ProxyLossSettings& o, std::int64_t C, std::int64_t K, const SoftmaxSums& ce_rest,
           const SoftmaxSums& inter_rest, const T* s, const T* u)
      : o_(o), K_(K), s_(s, s + K), jacobian_(K), q_(K), log_q_(K), log_u_(K) {
    if (o.normalises_entropy) {
      if (C > 1) inter_scale_ = 1 / std::log(double(C));
      if (K > 1) intra_scale_ = 1 / std::log(double(K));
    }
    for (std::int64_t k = 0; u && k < K; ++k)
      log_u_[k] = std::log(std::max(double(u[k]), kSmallestUsage));
    std::array<double, 2> work;
    ProxySelection<double>{o, K, 1}.run(s_.data(), &score_, jacobian_.data(), work.data());
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
  SavedProxyRow<T> saved() const {
    return {T(ce_top_), T(ce_log_z_), T(inter_top_), T(inter_log_z_), T(inter_)};
  }
  template <class T>
  void write(T* assignment, T* own_gradient) const {
    const double intra = o_.weight_intra * intra_scale_, usage = o_.weight_usage * intra_scale_;
    for (std::int64_t k = 0; k < K_; ++k) {
      const double within = -intra * (log_q_[k] + intra_) - usage * std::expm1(log_even(k));
      assignment[k] = T(q_[k]);
      own_gradient[k] = T(score_gradient_ * jacobian_[k] + o_.sigma_a * q_[k] * within);
    }
  }

 private:
  void add_cross_entropy(const SoftmaxSums& rest) {
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

  void add_inter(const SoftmaxSums& rest) {
    inter_top_ = rest.top;
    if (o_.inter == InterClasses::complement) {
      inter_ = rest.entropy();
      inter_log_z_ = rest.z == 0 ? 0 : rest.log_z();
      return;
    }
    const SoftmaxSums all(2, o_.sigma_h, [&](std::int64_t j) {
      return j == 0 ? SoftmaxPart{rest.top, rest.z, rest.t} : SoftmaxPart{score_, 1, 0};
    });
    inter_ = all.entropy();
    inter_log_z_ = all.log_z() + o_.sigma_h * (all.top - rest.top);
    const double log_p = o_.sigma_h * (score_ - all.top) - all.log_z();
    score_gradient_ += weight_inter() * o_.sigma_h * std::exp(log_p) * (log_p + inter_);
  }

  void add_own_class() {
    const double top = *std::max_element(s_.begin(), s_.end());
    double z = 0, balance = 0;
    for (std::int64_t k = 0; k < K_; ++k) z += std::exp(o_.sigma_a * (s_[k] - top));
    for (std::int64_t k = 0; k < K_; ++k) {
      log_q_[k] = o_.sigma_a * (s_[k] - top) - std::log(z);
      q_[k] = std::exp(log_q_[k]);
      intra_ -= q_[k] * log_q_[k];
      balance += std::exp(log_q_[k] - log_u_[k]);
    }
    log_balance_ = std::log(balance);
    for (std::int64_t k = 0; k < K_; ++k)
      used_ += std::exp(log_q_[k] + log_even(k)) * log_even(k);
    intra_ = std::max(0.0, intra_);
    used_ = std::max(0.0, used_);
  }

  // log (r_k / q_k), by which even use would change the choice.
  double log_even(std::int64_t k) const { return -log_u_[k] - log_balance_; }

  const ProxyLossSettings& o_;
  std::int64_t K_;
  std::vector<double> s_, jacobian_, q_, log_q_, log_u_;
  double score_ = 0, score_gradient_ = 0;  // of the own class, and d loss / d score
  double ce_ = 0, inter_ = 0, intra_ = 0, used_ = 0, inter_scale_ = 1, intra_scale_ = 1;
  double log_balance_ = 0;  // log sum_k q_k / u_k
  double ce_top_ = 0, ce_log_z_ = 0, inter_top_ = 0, inter_log_z_ = 0;
};

}  // namespace proxent
