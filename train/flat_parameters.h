// Parameters side by side in one row of memory, group after group, and their gradients in a second:
// one kernel call steps a whole group, one pass measures all gradients.
#pragma once

#include <string>
#include <vector>

#include "autograd/module.h"
#include "train/safetensors.h"

namespace proxent {

// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
  std::string part;            // "backbone", "head" or "proxies": what can be held still as one
  double lr_factor = 1;        // times the schedule's learning rate
  double weight_decay = 0;     // per unit of learning rate
  bool is_decay_free = false;  // split off its part, to have no decay
  std::vector<Named<Parameter>> parameters = {};

  std::string name() const { return is_decay_free ? part + " (no decay)" : part; }
};

class FlatParameters {
 public:
  // Moves every parameter's value and gradient into this object's memory, where they stay. Throws
  // Error if there is none, if one is met twice, or if their dtypes or devices differ.
  explicit FlatParameters(std::vector<ParameterGroup> groups);
  FlatParameters(const FlatParameters&) = delete;
  FlatParameters& operator=(const FlatParameters&) = delete;

  const std::vector<ParameterGroup>& groups() const { return groups_; }
  std::int64_t numel(const ParameterGroup& group) const;  // without the padding

  // The rows. Each parameter starts at a multiple of 64 bytes; the gaps stay zero.
  Tensor& values() { return values_; }
  // Another row of the same layout, all zero.
  Tensor zeros_like_values() const;
  // Keeps a second row of the values in `dtype`, for layers that multiply in it: undefined for
  // groups without weights of convolutions and linear layers. Whoever steps the values writes it.
  void keep_rounded(DType dtype);
  Tensor rounded_of(std::size_t group) const;
  // Rounds all values anew if they were edited other than by steps that called this with true.
  void refresh_rounded(bool is_written = false);
  // The part of such a row that belongs to groups()[group]; shares its memory.
  Tensor group_of(const Tensor& row, std::size_t group) const;

  // Forgets all gradients. The next one to arrive overwrites what the row holds.
  void zero_gradients();
  // The row of gradients of one group. A parameter that none reached counts as zero.
  Tensor gathered_gradients(std::size_t group);

  // A row cut into tensors `prefix`path, which share its memory.
  TensorMap named(const Tensor& row, const std::string& prefix) const;

 private:
  struct Place {
    Named<Parameter> parameter;
    std::int64_t first;  // element of the rows
  };

  std::vector<ParameterGroup> groups_;
  std::vector<Place> places_;                // in the order of the rows
  std::vector<std::size_t> first_place_;     // of each group in places_, and one past the last
  std::vector<std::int64_t> first_element_;  // of each group in the rows, and their length
  Tensor values_, gradients_;
  std::vector<Tensor> rounded_;          // by group
  std::uint32_t rounded_version_ = ~0u;  // of values_ that rounded_ stands for
};

}  // namespace proxent
