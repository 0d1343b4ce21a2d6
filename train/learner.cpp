#include "train/learner.h"

#include "train/loss.h"
#include "train/optimizer_options.h"
#include "train/task.h"

namespace proxent {

Learner::Learner(const Config& config, std::int64_t classes, Device device, DType image_dtype)
    : model(device == Device::meta
                ? build_shapes(config.model)
                : build_model(config.model, static_cast<std::uint64_t>(config.run.seed))),
      loss(build_loss(config, classes)) {
  if (device != Device::meta && !config.model.weights.empty()) load_weights(config.model);
  model->move_to(device);
  loss->move_to(device);
  freeze(*model, config.model.freeze);
  std::vector<Named<Parameter>> parameters = model->parameters();
  for (const auto& named : loss->parameters()) parameters.push_back(named);
  optimizer =
      std::make_unique<Optimizer>(group_parameters(parameters, grouping_options_of(config)),
                                  for_images_in(image_dtype, optimizer_options_of(config.optim)));
  if (config.optim.ema > 0)
    average = std::make_unique<WeightAverage>(optimizer->parameters(), model->buffers(),
                                              WeightAverageOptions{.decay = config.optim.ema});
  const auto loss_of = [this, image_dtype,
                        normalisation = train_transform_of(config.data).normalisation()](
                           const std::vector<Tensor>& batch) {
    const Tensor images = augment(batch[0], batch[1], normalisation, image_dtype);
    return (*loss)((*model)(images), batch[2]);
  };
  const auto terms = [this] {
    std::vector<Tensor> values;
    for (const MetricLoss::Term& term : loss->terms()) values.push_back(term.value);
    return values;
  };
  const bool is_recordable = config.run.cuda_graphs == "on" && loss->is_recordable();
  step = std::make_unique<TrainingStep>(
      loss_of, *optimizer, average.get(),
      TrainingStepOptions{.uses_graph = is_recordable, .terms = terms});
}

std::vector<Tensor> Learner::changed_by_any_step() {
  std::vector<Tensor> tensors;
  for (Module* tree : modules())
    for (const auto& [path, buffer] : tree->buffers()) tensors.push_back(buffer->value());
  if (average)
    for (const auto& [name, tensor] : average->state()) tensors.push_back(tensor);
  return tensors;
}

void Learner::load_weights(const ModelConfig& config) {
  load_report = proxent::load_weights(
      {model.get()}, std::filesystem::path(config.weights),
      {.is_partial = config.partial, .may_be_missing = {"embedding", "gem_power"}});
  identity_blocks = start_blocks_as_identity(*model, load_report->not_loaded());
}

}  // namespace proxent
