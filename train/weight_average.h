// An exponential moving average of the weights, to evaluate in their place (Polyak and Juditsky
// 1992).
#pragma once

#include "train/flat_parameters.h"

namespace proxent {

struct WeightAverageOptions {
  double decay = 0.999;
  // decay_n = min(decay, (1 + n) / (10 + n)) in the n-th update, so that the start is soon
  // forgotten.
  bool has_warmup = true;
};

class WeightAverage {
 public:
  // Starts at the present values. Buffers (running statistics) are averaged alike: they belong to
  // the weights they were measured with. Throws UsageError unless decay is in [0, 1).
  WeightAverage(FlatParameters& parameters, std::vector<Named<Buffer>> buffers,
                const WeightAverageOptions& options);

  // average += (1 - decay_n) (value - average); call it after each step.
  void update();
  // The same in two pieces: the next n and its decay, which is written to the device's memory; and
  // the work, which never waits for the device.
  void begin_update();
  void queue_update();
  // Exchanges averages and values; a second call changes them back. No update between the two.
  void swap();
  bool is_swapped() const { return is_swapped_; }

  // Averages and count of updates, sharing memory, for the state file.
  TensorMap state() const;

 private:
  FlatParameters& parameters_;
  std::vector<Named<Buffer>> buffers_;
  WeightAverageOptions options_;
  Tensor average_;
  std::vector<Tensor> buffer_averages_;
  Tensor updates_;  // one i64
  Tensor share_;    // 1 - decay_n, one f64 beside the averages
  bool is_swapped_ = false;
};

// The averages stand in the model's place while this object lives. Null: nothing happens.
class UseAverage {
 public:
  explicit UseAverage(WeightAverage* average) : average_(average) {
    if (average_) average_->swap();
  }
  ~UseAverage() {
    if (average_) average_->swap();
  }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  WeightAverage* average_;
};

}  // namespace proxent
