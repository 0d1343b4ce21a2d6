// How the K similarities of a class become its score, for many rows of the batch at once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/cpu/vector_math.h"
#include "tensor/proxy_loss.h"

namespace proxent {

// One class of n rows: similarities s[k * n + i] -> score[i] and, unless null, jacobian[k * n + i]
// = d score[i] / d s[k * n + i]. `work` holds 2 n numbers.
template <class T>
struct ProxySelection {
  const ProxyLossSettings& settings;
  std::int64_t K, n;

  void run(const T* s, T* score, T* jacobian, T* work) const {
    std::copy_n(s, n, score);
    if (K == 1) {
      if (jacobian) std::fill_n(jacobian, n, T(1));
      return;
    }
    for (std::int64_t k = 1; k < K; ++k) {
      const T* in = s + k * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) score[i] = in[i] > score[i] ? in[i] : score[i];
    }
    if (settings.select == ProxySelect::lse) return log_sum_exp(s, score, jacobian, work);
    if (settings.select == ProxySelect::soft) return soft(s, score, jacobian, work);
    if (jacobian) mark_winners(s, score, jacobian, work);
  }

 private:
  void mark_winners(const T* s, const T* score, T* jacobian, T* open) const {
    std::fill_n(open, n, T(1));  // 1 until the winner was met: the first of equal ones
    for (std::int64_t k = 0; k < K; ++k) {
      const T* in = s + k * n;
      T* out = jacobian + k * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        out[i] = in[i] == score[i] ? open[i] : T(0);
        open[i] -= out[i];
      }
    }
  }

  // score holds the maxima and becomes max + gamma log sum.
  void log_sum_exp(const T* s, T* score, T* jacobian, T* sum) const {
    const T gamma = T(settings.gamma);
    add_weights(s, score, jacobian, sum, nullptr);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) score[i] += gamma * vector_log(sum[i]);
    if (jacobian) scale_weights(jacobian, sum);
  }

  void soft(const T* s, T* score, T* jacobian, T* sum) const {
    T* weighted = sum + n;
    add_weights(s, score, jacobian, sum, weighted);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) score[i] = weighted[i] / sum[i];
    if (!jacobian) return;
    scale_weights(jacobian, sum);
    if (settings.detaches_selection) return;
    const T per_gamma = T(1 / settings.gamma);
    for (std::int64_t k = 0; k < K; ++k) {
      const T* in = s + k * n;
      T* out = jacobian + k * n;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) out[i] *= T(1) + (in[i] - score[i]) * per_gamma;
    }
  }

  // e_k = exp((s_k - max) / gamma) into the jacobian, if there is one; sum e_k and sum e_k s_k.
  void add_weights(const T* s, const T* max, T* jacobian, T* sum, T* weighted) const {
    const T per_gamma = T(1 / settings.gamma);
    std::fill_n(sum, weighted ? 2 * n : n, T(0));
    for (std::int64_t k = 0; k < K; ++k) {
      const T* in = s + k * n;
      T* out = jacobian ? jacobian + k * n : nullptr;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        const T e = vector_exp((in[i] - max[i]) * per_gamma);
        sum[i] += e;
        if (weighted) weighted[i] += e * in[i];
        if (out) out[i] = e;
      }
    }
  }

  void scale_weights(T* jacobian, T* sum) const {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) sum[i] = T(1) / sum[i];
    for (std::int64_t k = 0; k < K; ++k)
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) jacobian[k * n + i] *= sum[i];
  }
};

}  // namespace proxent
