// One optimizer step: forward, backward, update; recorded as one CUDA graph where there is a GPU;
// and the search for the culprit when a number is not finite.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "autograd/variable.h"
#include "tensor/download.h"
#include "tensor/graph.h"
#include "tensor/upload.h"
#include "train/optimizer.h"
#include "train/weight_average.h"

namespace proxent {

struct StepResult {
  double loss = 0;
  double gradient_norm = 0;   // before clipping
  bool is_skipped = false;    // not finite, so that nothing changed: the loss scale was too large
  double loss_scale = 1;      // of the next step
  std::vector<double> terms;  // TrainingStepOptions::terms
};

struct TrainingStepOptions {
  // Records the work of a step once and repeats it; once more after its memory was wanted for
  // something else, such as an evaluation. Without effect on the CPU. The same bits.
  bool uses_graph = true;
  // Before recording, of batches of one shape: they make plans and scratch memory.
  std::int64_t plain_steps = 2;
  // One-element tensors of the last call of the loss, whose values go into StepResult::terms.
  std::function<std::vector<Tensor>()> terms = {};
};

// The host runs ahead of the device: run() queues a step, take() waits for the oldest one's result.
// Nothing in between waits, whatever reads the weights is queued behind.
class TrainingStep {
 public:
  // The loss of a batch, which is where the parameters are. It must not wait for the device.
  using Loss = std::function<Variable(const std::vector<Tensor>& batch)>;

  // `optimizer`, and `average` unless it is null, must outlive the object.
  TrainingStep(Loss loss, Optimizer& optimizer, WeightAverage* average = nullptr,
               TrainingStepOptions options = {});
  ~TrainingStep();

  // Queues a step on a batch, whose tensors are on the CPU or where the parameters are. Throws
  // Error if two results wait to be taken.
  void run(std::vector<Tensor> batch, double learning_rate);
  // Results that take() has not returned.
  int waiting() const { return static_cast<int>(pending_.size()); }
  // The oldest result. If the loss or a gradient was not finite and no loss scale is to blame,
  // forward and backward run once more on that batch with every tensor checked, and the
  // NonFiniteError names the first op whose result or gradient is not finite, and its module. The
  // weights are those of before that step; results behind it are dropped.
  StepResult take();

  // Forgets the results that wait.
  void drop_results();

  // Call it when the work of a step changes: a part is held or let go, a module's mode differs.
  void forget_recording();
  bool is_recorded() const { return recording_ != nullptr; }

 private:
  std::vector<Tensor> uploaded(const std::vector<Tensor>& batch);
  void queue(const std::vector<Tensor>& batch);
  [[noreturn]] void find_culprit(const std::vector<Tensor>& batch);

  Loss loss_;
  Optimizer& optimizer_;
  WeightAverage* average_;
  TrainingStepOptions options_;
  Device device_;
  Uploads uploads_;
  Downloads downloads_;
  std::deque<std::vector<Tensor>> pending_;  // batches whose results were not taken
  Tensor numbers_;                           // of the step that was queued last
  // The usual batch: of the steps before recording, then of the recording.
  std::vector<std::pair<Shape, DType>> shapes_;
  std::int64_t plain_steps_ = 0;        // in a row with such batches, without a recording
  std::vector<Tensor> recorded_batch_;  // where the recording reads
  std::unique_ptr<RecordedWork> recording_;
};

}  // namespace proxent
