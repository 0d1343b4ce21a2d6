// The sizes of a tensor: up to four dimensions in a plain value.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <ostream>
#include <span>

#include "tensor/check.h"

namespace proxent {

class Shape {
 public:
  static constexpr int kMaxRank = 4;
  static constexpr std::int64_t kMostElements = std::int64_t{1} << 56;  // bytes fit 64 bits too

  Shape() = default;  // rank 0: a scalar, one element
  Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    check(sizes.size() <= kMaxRank, "shape: at most ", kMaxRank, " dimensions, got ", sizes.size());
    std::int64_t n = 1;
    bool is_countable = true;
    for (int i = 0; i < rank_; ++i) {
      check(sizes[i] >= 0, "shape: sizes must not be negative, got ", sizes[i]);
      sizes_[i] = sizes[i];
      is_countable = !__builtin_mul_overflow(n, sizes[i], &n) && is_countable;
    }
    check(is_countable && n <= kMostElements, "shape: more than 2^56 elements");
  }

  int rank() const { return rank_; }
  // Size of dimension i; negative i counts from the end, as in PyTorch.
  std::int64_t operator[](int i) const { return sizes_[index(i)]; }
  Shape with(int i, std::int64_t size) const {
    Shape changed = *this;
    changed.sizes_[index(i)] = size;
    return changed;
  }
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }
  bool operator==(const Shape&) const = default;

 private:
  int index(int i) const {
    const int from_start = i < 0 ? i + rank_ : i;
    check(from_start >= 0 && from_start < rank_, "shape: dimension ", i, " of rank ", rank_);
    return from_start;
  }
  std::array<std::int64_t, kMaxRank> sizes_{};  // unused entries stay 0 so that == is exact
  int rank_ = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << "(";
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ")";
}

}  // namespace proxent
