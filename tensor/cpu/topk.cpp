#include "tensor/topk.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/row.h"

namespace proxent::kernel {
namespace {

// A score and its column in one integer that orders as the result does: larger score first, then
// lower column. One comparison without a branch makes sorting and merging fast.
template <class T>
struct Entry {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  using Key = std::conditional_t<sizeof(T) == 4, std::uint64_t, unsigned __int128>;
  static constexpr Bits kSign = Bits{1} << (8 * sizeof(T) - 1);

  static Key pack(T score, std::int32_t column) {
    const Bits bits = std::bit_cast<Bits>(score + T(0));  // + 0 makes -0 equal to 0
    const Bits ordered = bits & kSign ? ~bits : bits | kSign;
    return Key{ordered} << 32 | ~static_cast<std::uint32_t>(column);
  }
  static T score(Key key) {
    const auto ordered = static_cast<Bits>(key >> 32);
    return std::bit_cast<T>(ordered & kSign ? ordered ^ kSign : ~ordered);
  }
  static std::int32_t column(Key key) {
    return static_cast<std::int32_t>(~static_cast<std::uint32_t>(key));
  }
};

// One row's running best. Scores below the k-th best are passed over many at a time; the others are
// collected, sorted and merged.
template <class T>
class Row {
 public:
  using Key = typename Entry<T>::Key;
  explicit Row(std::int64_t k) : k_(k), piece_(std::max<std::int64_t>(512, 4 * k)), merged_(k) {}

  void update(const T* scores, std::int64_t count, std::int64_t first_column, T* values,
              std::int32_t* indices) {
    load(values, indices);
    bool is_changed = false;
    for (std::int64_t at = 0; at < count;
         at += piece_) {  // the threshold rises from piece to piece
      collect(scores + at, std::min(piece_, count - at),
              static_cast<std::int32_t>(first_column + at));
      if (found_.empty()) continue;
      merge();
      is_changed = true;
    }
    if (is_changed) store(values, indices);
  }

 private:
  void load(const T* values, const std::int32_t* indices) {
    best_.clear();
    for (std::int64_t i = 0; i < k_ && indices[i] >= 0; ++i)
      best_.push_back(Entry<T>::pack(values[i], indices[i]));
  }

  void store(T* values, std::int32_t* indices) const {
    for (std::size_t i = 0; i < best_.size(); ++i) {
      values[i] = Entry<T>::score(best_[i]);
      indices[i] = Entry<T>::column(best_[i]);
    }
  }

  // A score above this may enter. A tie with the k-th best enters only from a lower column.
  T threshold(std::int32_t first_column) const {
    constexpr T kNone = -std::numeric_limits<T>::infinity();
    if (std::ssize(best_) < k_) return kNone;
    const T last = Entry<T>::score(best_.back());
    return first_column < Entry<T>::column(best_.back()) ? std::nextafter(last, kNone) : last;
  }

  void collect(const T* scores, std::int64_t count, std::int32_t first_column) {
    constexpr std::int64_t kBlock = 32;
    const T least = threshold(first_column);
    found_.resize(count + 1);  // the write below may run one ahead
    std::int64_t n = 0;
    const auto take = [&](std::int64_t i) {
      found_[n] = Entry<T>::pack(scores[i], first_column + static_cast<std::int32_t>(i));
      n += scores[i] > least;  // no branch: half of them would be mispredicted
    };
    std::int64_t i = 0;
    for (; i + kBlock <= count; i += kBlock)
      if (row_max(scores + i, kBlock) > least)
        for (std::int64_t j = i; j < i + kBlock; ++j) take(j);
    for (; i < count; ++i) take(i);
    found_.resize(n);
  }

  void merge() {
    if (std::ssize(found_) > k_) {
      std::nth_element(found_.begin(), found_.begin() + k_, found_.end(), std::greater<>());
      found_.resize(k_);
    }
    std::sort(found_.begin(), found_.end(), std::greater<>());
    merged_.clear();
    auto a = best_.begin();
    auto b = found_.begin();
    while (std::ssize(merged_) < k_ && (a != best_.end() || b != found_.end()))
      merged_.push_back(b == found_.end() || (a != best_.end() && *a > *b) ? *a++ : *b++);
    std::swap(best_, merged_);
  }

  std::int64_t k_, piece_;
  std::vector<Key> best_, found_, merged_;
};
}  // namespace

void top_k_update(Cpu, const Tensor& scores, std::int64_t first_column, Tensor& values,
                  Tensor& indices) {
  visit_float(scores.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::int64_t cols = scores.dim(1), k = values.dim(1);
    constexpr std::int64_t kRows = 16;  // share one set of buffers
    parallel_ranges(scores.dim(0), kRows, [&](std::int64_t first, std::int64_t last) {
      Row<T> row(k);
      for (std::int64_t r = first; r < last; ++r)
        row.update(scores.data<T>() + r * cols, cols, first_column, values.data<T>() + r * k,
                   indices.data<std::int32_t>() + r * k);
    });
  });
}

}  // namespace proxent::kernel
