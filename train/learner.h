// Everything that a step of training touches: model, loss, optimizer, averaged weights, and the
// step itself.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "losses/metric_loss.h"
#include "train/config.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/training_step.h"
#include "train/weight_average.h"
#include "train/weights.h"

namespace proxent {

class Learner {
 public:
  // Builds what config names for pictures of `classes` classes, which the backbone takes in
  // image_dtype, and moves it to `device`. On Device::meta no weights are read. Throws what a wrong
  // configuration or weight file throws.
  Learner(const Config& config, std::int64_t classes, Device device, DType image_dtype);
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  Modules modules() { return {model.get(), loss.get()}; }
  // What a step changes whether or not it is finite: buffers, and the averages of weights and
  // buffers. They share memory with their owners.
  std::vector<Tensor> changed_by_any_step();

  std::unique_ptr<EmbeddingModel> model;
  std::unique_ptr<MetricLoss> loss;
  std::optional<LoadReport> load_report;     // where weights were loaded
  std::vector<std::string> identity_blocks;  // whose branch the loaded weights lack
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<WeightAverage> average;  // null without optim.ema
  // Takes a Batch's {pictures, places, labels}; its terms are the loss's.
  std::unique_ptr<TrainingStep> step;

 private:
  void load_weights(const ModelConfig& config);
};

}  // namespace proxent
