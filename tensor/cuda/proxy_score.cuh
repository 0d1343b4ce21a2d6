// How K similarities of a class become its score.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/proxy_loss.h"

namespace proxent::cuda {

// The similarities of one row of the batch to the proxies of one class: products with the raw
// proxies, which lie `stride` apart, over their lengths.
template <class T>
struct ClassSimilarities {
  const T* products;
  const T* per_length;
  std::int64_t stride;
  __device__ T operator()(int k) const { return products[k * stride] * per_length[k]; }
};

template <class T>
struct Temperature {
  T gamma, per_gamma;
  bool detaches_selection;
};

// A class's score. It reads the similarities twice or three times, from memory once.
template <class T, ProxySelect kSelect>
struct ClassScore {
  T top, score, per_sum = 1;

  __device__ ClassScore(const ClassSimilarities<T>& s, int K, const Temperature<T>& o) {
    top = s(0);
    for (int k = 1; k < K; ++k) {
      const T x = s(k);
      top = x > top ? x : top;
    }
    score = top;
    if constexpr (kSelect == ProxySelect::max) return;
    T sum = 0, weighted = 0;
    for (int k = 0; k < K; ++k) {
      const T x = s(k), e = exp((x - top) * o.per_gamma);
      sum += e;
      weighted += e * x;
    }
    per_sum = 1 / sum;
    score = kSelect == ProxySelect::lse ? top + o.gamma * log(sum) : weighted * per_sum;
  }

  // d score / d x for a similarity x. Calls go through the proxies in order: of equal maxima the
  // first is the one selected, and is_open tells that none was yet.
  __device__ T slope(T x, const Temperature<T>& o, bool& is_open) const {
    if constexpr (kSelect == ProxySelect::max) {
      const bool is_winner = is_open && x == top;
      is_open = is_open && !is_winner;
      return is_winner ? T(1) : T(0);
    }
    const T weight = exp((x - top) * o.per_gamma) * per_sum;
    if (kSelect == ProxySelect::lse || o.detaches_selection) return weight;
    return weight * (T(1) + (x - score) * o.per_gamma);
  }
};

}  // namespace proxent::cuda
