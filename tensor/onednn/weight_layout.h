// Weights (K, R, S, C) to and from the blocked layouts of oneDNN's convolutions, at memory speed:
// oneDNN's own reorder takes four times as long, a sixth of a training step.
#pragma once

#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <vector>

#include "tensor/shape.h"

namespace proxent::onednn {

class WeightLayout {
 public:
  // Nothing if this class cannot do `blocked`, which describes weights of shape w in f32: channels
  // not in sixteens, or blocks of other sizes.
  static std::optional<WeightLayout> of(const dnnl::memory::desc& blocked, const Shape& w);

  // Padding in `blocked` becomes zero.
  void pack(const float* w, float* blocked) const;
  void unpack(const float* blocked, float* w) const;

 private:
  static constexpr std::int64_t kTile = 16;

  // Where the weight of output channel k, row r, column s and input channel c stands in `blocked`.
  std::int64_t offset(std::int64_t k, std::int64_t r, std::int64_t s, std::int64_t c) const;
  // Calls visit(offset in w, offset in blocked, is padding) for every tile of 16 x 16 channels.
  template <class Visit>
  void for_each_tile(const Visit& visit) const;

  // Of oneDNN's blocked layout, in its order of axes K, C, R, S: the step from block to block, and
  // the blocks inside from the outermost in, each a size along an axis.
  std::vector<std::int64_t> strides_, inner_sizes_, inner_axes_;
  std::int64_t k_, r_, s_, c_;  // of w
  std::int64_t padded_k_;
  bool is_transposed_;     // output channels are innermost, not input channels
  std::int64_t row_step_;  // from one row of a tile to the next, in blocked
};

}  // namespace proxent::onednn
