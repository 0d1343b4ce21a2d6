// What a softmax and its entropy are made of, over entries that come one by one or in parts.
#pragma once

#include <algorithm>
#include <cmath>

#include "tensor/device_code.h"

namespace proxent {

inline constexpr double kNoScore = -1e30;    // of a similarity or score that shall not count
inline constexpr double kZeroPower = -1e4;  // exp of it is 0 in float and double

// x, but not so low that the product with its own exponential could be infinity times 0.
template <class T>
constexpr T power_of(T x) {
  return x < T(kZeroPower) ? T(kZeroPower) : x;
}

// top = max x, z = sum e^p and t = sum p e^p over entries x with p = scale (x - top): the entropy
// is log z - t / z. A NaN entry makes z NaN.
template <class T>
struct SoftmaxSums {
  T top = T(kNoScore), z = 0, t = 0;

  // One exponential, whichever of the two tops is the larger. A part without entries has no top.
  PROXENT_DEVICE_CODE void merge(const SoftmaxSums& other, T scale) {
    if (other.z == 0) return;
    const bool is_new_top = other.top > top;
    const T power = power_of((is_new_top ? top - other.top : other.top - top) * scale);
    const T e = std::exp(power);
    if (is_new_top) {
      t = e * (t + power * z) + other.t;
      z = e * z + other.z;
      top = other.top;
    } else {
      t += e * (other.t + power * other.z);
      z += e * other.z;
    }
  }
  PROXENT_DEVICE_CODE void add(T x, T scale) { merge({x, 1, 0}, scale); }
  PROXENT_DEVICE_CODE T entropy() const {
    return z == 0 ? T(0) : std::max(T(0), std::log(z) - t / z);
  }
};

}  // namespace proxent
