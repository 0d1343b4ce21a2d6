// Tensors as several tests want them.
#pragma once

#include <cstring>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

inline Tensor labels_of(const std::vector<std::int32_t>& labels) {
  return Tensor::from({std::ssize(labels)}, labels);
}

// x on the device, its first element `shift` elements behind an aligned address.
inline Tensor shifted(const Tensor& x, std::int64_t shift, Device device) {
  Tensor room({x.numel() + shift}, x.dtype(), device);
  Tensor view = room.view(shift, x.shape());
  view.copy_from(x);
  return view;
}

// Both on the CPU.
inline bool is_bitwise_equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.bytes())) == 0;
}

}  // namespace proxent
