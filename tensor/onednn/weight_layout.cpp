#include "tensor/onednn/weight_layout.h"

#include <array>

#include "tensor/parallel.h"

namespace proxent::onednn {
namespace {

constexpr int kLanes = 16;
typedef float Row __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

const Row& row(const float* at) { return *reinterpret_cast<const Row*>(at); }
Row& row(float* at) { return *reinterpret_cast<Row*>(at); }

// to = from, 16 rows of 16.
void copy_tile(const float* from, std::int64_t from_step, float* to, std::int64_t to_step) {
  for (int i = 0; i < kLanes; ++i) row(to + i * to_step) = row(from + i * from_step);
}

// to = from transposed. Four times, the upper half of the 256 numbers is riffled into the lower
// half as two halves of a pack of cards: each riffle turns the eight bits of a number's place by
// one, and four of them swap its row with its column.
void transpose_tile(const float* from, std::int64_t from_step, float* to, std::int64_t to_step) {
  Row rows[kLanes], riffled[kLanes];
  for (int i = 0; i < kLanes; ++i) rows[i] = row(from + i * from_step);
  for (int round = 0; round < 4; ++round) {
    for (std::int64_t i = 0; i < kLanes / 2; ++i) {
      riffled[2 * i] = __builtin_shufflevector(rows[i], rows[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4,
                                               20, 5, 21, 6, 22, 7, 23);
      riffled[2 * i + 1] = __builtin_shufflevector(rows[i], rows[i + 8], 8, 24, 9, 25, 10, 26, 11,
                                                   27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    for (int i = 0; i < kLanes; ++i) rows[i] = riffled[i];
  }
  for (int i = 0; i < kLanes; ++i) row(to + i * to_step) = rows[i];
}

// What a blocked layout of four axes consists of; nothing if it is of another kind.
struct Blocked {
  std::vector<std::int64_t> padded_dims, strides, inner_sizes, inner_axes;
};
std::optional<Blocked> blocked_layout(const dnnl::memory::desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  if (desc.get_format_kind() != dnnl::memory::format_kind::blocked) return {};
  if (desc.get_ndims() != 4 || desc.get_submemory_offset() != 0) return {};
  return Blocked{desc.get_padded_dims(), desc.get_strides(), desc.get_inner_blks(),
                 desc.get_inner_idxs()};
#else
  const auto& plain = desc.data;
  if (plain.format_kind != dnnl_blocked || plain.ndims != 4 || plain.offset0 != 0) return {};
  const auto& blocks = plain.format_desc.blocking;
  const auto vector_of = [](const dnnl_dim_t* values, int count) {
    return std::vector<std::int64_t>(values, values + count);
  };
  return Blocked{vector_of(plain.padded_dims, 4), vector_of(blocks.strides, 4),
                 vector_of(blocks.inner_blks, blocks.inner_nblks),
                 vector_of(blocks.inner_idxs, blocks.inner_nblks)};
#endif
}

}  // namespace

std::optional<WeightLayout> WeightLayout::of(const dnnl::memory::desc& desc, const Shape& w) {
  const std::optional<Blocked> blocked = blocked_layout(desc);
  if (!blocked || blocked->inner_sizes.empty()) return {};
  WeightLayout layout;
  layout.k_ = w[0], layout.r_ = w[1], layout.s_ = w[2], layout.c_ = w[3];
  if (layout.k_ % kTile != 0 || layout.c_ % kTile != 0) return {};
  layout.padded_k_ = blocked->padded_dims[0];
  if (blocked->padded_dims[1] != layout.c_ || layout.padded_k_ % kTile != 0) return {};
  layout.strides_ = blocked->strides;
  layout.inner_sizes_ = blocked->inner_sizes;
  layout.inner_axes_ = blocked->inner_axes;
  std::array<std::int64_t, 2> sizes{1, 1};  // of a block, in output and input channels
  for (std::size_t i = 0; i < layout.inner_sizes_.size(); ++i) {
    if (layout.inner_axes_[i] > 1) return {};
    sizes[static_cast<std::size_t>(layout.inner_axes_[i])] *= layout.inner_sizes_[i];
  }
  for (const std::int64_t size : sizes)
    if (size != 1 && size % kTile != 0) return {};
  if (layout.inner_sizes_.back() % kTile != 0) return {};
  layout.is_transposed_ = layout.inner_axes_.back() == 0;
  layout.row_step_ = layout.is_transposed_ ? layout.offset(0, 0, 0, 1) : layout.offset(1, 0, 0, 0);
  return layout;
}

std::int64_t WeightLayout::offset(std::int64_t k, std::int64_t r, std::int64_t s,
                                  std::int64_t c) const {
  std::array<std::int64_t, 4> place{k, c, r, s};  // oneDNN's order
  std::int64_t at = 0, step = 1;
  for (std::size_t i = inner_sizes_.size(); i-- > 0;) {
    std::int64_t& index = place[static_cast<std::size_t>(inner_axes_[i])];
    at += index % inner_sizes_[i] * step;
    index /= inner_sizes_[i];
    step *= inner_sizes_[i];
  }
  for (std::size_t d = 0; d < place.size(); ++d) at += place[d] * strides_[d];
  return at;
}

template <class Visit>
void WeightLayout::for_each_tile(const Visit& visit) const {
  const std::int64_t taps = r_ * s_;
  parallel_for(padded_k_ / kTile * taps, 1, [&](std::int64_t item) {
    const std::int64_t k = item / taps * kTile, tap = item % taps;
    for (std::int64_t c = 0; c < c_; c += kTile)
      visit((k * taps + tap) * c_ + c, offset(k, tap / s_, tap % s_, c), k >= k_);
  });
}

void WeightLayout::pack(const float* w, float* blocked) const {
  const std::int64_t step = r_ * s_ * c_;
  for_each_tile([&](std::int64_t from, std::int64_t to, bool is_padding) {
    if (is_padding)
      for (int i = 0; i < kLanes; ++i) row(blocked + to + i * row_step_) = Row{};
    else if (is_transposed_)
      transpose_tile(w + from, step, blocked + to, row_step_);
    else
      copy_tile(w + from, step, blocked + to, row_step_);
  });
}

void WeightLayout::unpack(const float* blocked, float* w) const {
  const std::int64_t step = r_ * s_ * c_;
  for_each_tile([&](std::int64_t to, std::int64_t from, bool is_padding) {
    if (is_padding) return;
    if (is_transposed_)
      transpose_tile(blocked + from, row_step_, w + to, step);
    else
      copy_tile(blocked + from, row_step_, w + to, step);
  });
}

}  // namespace proxent::onednn
