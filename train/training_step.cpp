#include "train/training_step.h"

#include <cmath>

#include "autograd/tape.h"

namespace proxent {
namespace {

// Below it, halving the loss scale further cannot be what helps.
constexpr double kSmallestLossScale = 1.0 / 1024;

std::vector<std::pair<Shape, DType>> shapes_of(const std::vector<Tensor>& batch) {
  std::vector<std::pair<Shape, DType>> shapes;
  for (const Tensor& x : batch) shapes.emplace_back(x.shape(), x.dtype());
  return shapes;
}

enum Number { kLoss, kGradientNorm, kSkipped, kLossScale, kTerms };

}  // namespace

TrainingStep::TrainingStep(Loss loss, Optimizer& optimizer, WeightAverage* average,
                           TrainingStepOptions options)
    : loss_(std::move(loss)),
      optimizer_(optimizer),
      average_(average),
      options_(std::move(options)),
      device_(optimizer.parameters().values().device()),
      uploads_(device_),
      downloads_(device_) {
  options_.uses_graph = options_.uses_graph && RecordedWork::is_possible(device_);
}
TrainingStep::~TrainingStep() = default;

void TrainingStep::run(std::vector<Tensor> batch, double learning_rate) {
  optimizer_.begin_step(learning_rate);
  if (average_) average_->begin_update();
  const std::vector<Tensor> inputs = uploaded(batch);
  const bool is_usual = shapes_of(inputs) == shapes_;
  if (recording_ && is_usual) {
    for (std::size_t i = 0; i < inputs.size(); ++i) recorded_batch_[i].copy_from(inputs[i]);
    recording_->run();
  } else if (recording_ || !options_.uses_graph) {
    queue(inputs);
  } else if (is_usual && plain_steps_ >= options_.plain_steps) {
    recorded_batch_.clear();  // of a recording that failed
    for (const Tensor& input : inputs) recorded_batch_.push_back(input.clone());
    recording_ = std::make_unique<RecordedWork>([&] { queue(recorded_batch_); },
                                                [this] { forget_recording(); });
    recording_->run();
  } else {
    queue(inputs);
    shapes_ = shapes_of(inputs);
    plain_steps_ = is_usual ? plain_steps_ + 1 : 1;
  }
  downloads_.push(numbers_);
  pending_.push_back(std::move(batch));
}

std::vector<Tensor> TrainingStep::uploaded(const std::vector<Tensor>& batch) {
  if (device_ == Device::cpu || batch.empty() || batch.front().device() == device_) return batch;
  uploads_.push(batch);
  return uploads_.pop();
}

void TrainingStep::forget_recording() {
  recording_.reset();
  recorded_batch_.clear();
  plain_steps_ = 0;
}

void TrainingStep::queue(const std::vector<Tensor>& batch) {
  optimizer_.zero_gradients();
  Tensor loss;
  {
    Tape tape;
    const Variable value = loss_(batch);
    loss = value.value();
    tape.backward(value, optimizer_.seed(loss));
  }
  optimizer_.queue_step(loss);
  if (average_) average_->queue_update();

  std::vector<Tensor> numbers = {loss, optimizer_.gradient_norm(), optimizer_.skipped(),
                                 optimizer_.loss_scale()};
  if (options_.terms)
    for (const Tensor& term : options_.terms()) numbers.push_back(term);
  if (!numbers_.is_defined()) numbers_ = Tensor({std::ssize(numbers)}, DType::f64, device_);
  for (std::int64_t i = 0; i < std::ssize(numbers); ++i)
    numbers_.slice(i, 1).copy_from(numbers[static_cast<std::size_t>(i)].reshape({1}));
}

StepResult TrainingStep::take() {
  const std::vector<double> numbers = downloads_.pop().to_vector<double>();
  const std::vector<Tensor> batch = std::move(pending_.front());
  pending_.pop_front();
  const bool is_finite = std::isfinite(numbers[kLoss]) && std::isfinite(numbers[kGradientNorm]);
  if (!is_finite && (!optimizer_.scales_loss() || numbers[kLossScale] < kSmallestLossScale)) {
    drop_results();
    find_culprit(batch);
  }
  return {.loss = numbers[kLoss],
          .gradient_norm = numbers[kGradientNorm],
          .is_skipped = !is_finite,
          .loss_scale = numbers[kLossScale],
          .terms = {numbers.begin() + kTerms, numbers.end()}};
}

void TrainingStep::drop_results() {
  while (downloads_.waiting() > 0) downloads_.pop();
  pending_.clear();
}

void TrainingStep::find_culprit(const std::vector<Tensor>& batch) {
  optimizer_.go_on();  // for a caller who does
  optimizer_.zero_gradients();
  const std::vector<Tensor> inputs = uploaded(batch);
  {
    Tape tape({.has_nan_guard = true});
    tape.backward(loss_(inputs));
  }
  optimizer_.check_finite();
  fail<NonFiniteError>("the loss or a gradient was not finite, and is when computed once more");
}

}  // namespace proxent
