// How K similarities of a class become its score, and how the scores of many classes become the
// sums of a softmax, in one pass each.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/proxy_loss.h"

namespace proxent::cuda {

inline constexpr double kMasked = -1e30;    // below every score
inline constexpr double kZeroPower = -1e4;  // exp of it is 0 in float and double

// x, but not so low that the product with its own exponential could be infinity times 0.
template <class T>
__device__ T power_of(T x) {
  return x < T(kZeroPower) ? T(kZeroPower) : x;
}

// top = max x, z = sum e^p and t = sum p e^p over entries x with p = scale (x - top): what a
// softmax and its entropy, log z - t / z, are made of. An entry that is not a number makes z none.
template <class T>
struct SoftmaxSums {
  T top = T(kMasked), z = 0, t = 0;

  // One exponential, whichever of the two is the larger.
  __device__ void add(T x, T scale) {
    const bool is_new_top = x > top;
    const T power = power_of((is_new_top ? top - x : x - top) * scale), e = exp(power);
    if (is_new_top) {
      t = e * (t + power * z);
      z = e * z + 1;
      top = x;
    } else {
      z += e;
      t += power * e;
    }
  }
  __device__ void merge(const SoftmaxSums& other, T scale) {
    const T both = other.top > top ? other.top : top;
    const T power = power_of((top - both) * scale), e = exp(power);
    const T other_power = power_of((other.top - both) * scale), other_e = exp(other_power);
    t = e * (t + power * z) + other_e * (other.t + other_power * other.z);
    z = e * z + other_e * other.z;
    top = both;
  }
  __device__ T entropy() const { return z == 0 ? T(0) : max(T(0), log(z) - t / z); }
};

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
