#include "tensor/topk.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "tensor/cpu/row.h"
#include "tensor/ordered_bits.h"
#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {

// A score and its column in one integer that orders as the result does: larger score first, then
// lower column. One comparison without a branch makes sorting and merging fast.
template <class T>
struct Entry {
  using Key = std::conditional_t<sizeof(T) == 4, std::uint64_t, unsigned __int128>;

  static Key pack(T score, std::int32_t column) {
    return Key{ordered_bits(score)} << 32 | ~static_cast<std::uint32_t>(column);
  }
  static T score(Key key) { return score_of<T>(static_cast<OrderedBits<T>>(key >> 32)); }
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
  explicit Row(std::int64_t k)
      : k_(k), piece_(std::max<std::int64_t>(512, 4 * k)), hits_(piece_ + 1) {}

  void update(const T* scores, std::int64_t count, std::int64_t first_column, T* values,
              std::int32_t* indices) {
    load(values, indices);
    bool is_changed = false;
    for (std::int64_t at = 0; at < count; at += piece_) {  // the threshold rises by piece
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
    std::int32_t* hits = hits_.data();
    std::int64_t n = 0;
    const auto scan = [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {  // no branch: many would be mispredicted
        hits[n] = static_cast<std::int32_t>(i);
        n += scores[i] > least;
      }
    };
    std::int64_t i = 0;
    for (; i + kBlock <= count; i += kBlock)
      if (row_max(scores + i, kBlock) > least) scan(i, i + kBlock);
    scan(i, count);
    found_.clear();
    for (std::int64_t h = 0; h < n; ++h)
      found_.push_back(Entry<T>::pack(scores[hits[h]], first_column + hits[h]));
  }

  // Descending. found_ is ascending by column, so a stable sort by score alone keeps ties right:
  // for more than a few, radix sort by the score's bytes (least significant first) beats
  // comparisons, which are mispredicted every other time.
  void sort_found() {
    constexpr std::size_t kFew = 128;
    if (found_.size() < kFew) return std::sort(found_.begin(), found_.end(), std::greater<>());
    merged_.resize(found_.size());
    for (int shift = 32; shift < 32 + 8 * static_cast<int>(sizeof(T)); shift += 8) {
      std::array<std::uint32_t, 256> place{};  // of the next key with this byte, largest byte first
      for (const Key key : found_) ++place[255 - static_cast<std::uint8_t>(key >> shift)];
      std::exclusive_scan(place.begin(), place.end(), place.begin(), 0u);
      for (const Key key : found_)
        merged_[place[255 - static_cast<std::uint8_t>(key >> shift)]++] = key;
      std::swap(found_, merged_);
    }
  }

  void merge() {
    sort_found();
    merged_.resize(std::min<std::size_t>(k_, best_.size() + found_.size()));
    best_.push_back(0);  // below every key: neither side runs out
    found_.push_back(0);
    const Key *a = best_.data(), *b = found_.data();
    for (Key& out : merged_) {
      const bool takes_a = *a > *b;
      out = takes_a ? *a : *b;
      a += takes_a;
      b += !takes_a;
    }
    std::swap(best_, merged_);
  }

  std::int64_t k_, piece_;
  std::vector<std::int32_t> hits_;  // one more than a piece: the scan writes ahead
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
