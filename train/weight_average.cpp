#include "train/weight_average.h"

#include <algorithm>
#include <utility>

#include "tensor/optimizer_step.h"

namespace proxent {
namespace {
void exchange(Tensor& a, Tensor& b) {
  const Tensor kept = a.clone();
  a.copy_from(b);
  b.copy_from(kept);
}
}  // namespace

WeightAverage::WeightAverage(FlatParameters& parameters, std::vector<Named<Buffer>> buffers,
                             const WeightAverageOptions& options)
    : parameters_(parameters),
      buffers_(std::move(buffers)),
      options_(options),
      average_(parameters.values().clone()),
      updates_(Tensor::zeros({1}, DType::i64)),
      share_({1}, DType::f64, average_.device()) {
  check<UsageError>(options.decay >= 0 && options.decay < 1,
                    "ema: the decay must be in [0, 1), got ", options.decay);
  for (const Named<Buffer>& buffer : buffers_)
    buffer_averages_.push_back(buffer.item->value().clone());
}

void WeightAverage::update() {
  begin_update();
  queue_update();
}

void WeightAverage::begin_update() {
  check(!is_swapped_, "ema: an update while the averages stand in the model's place");
  const double n = static_cast<double>(++*updates_.data<std::int64_t>());
  const double decay =
      options_.has_warmup ? std::min(options_.decay, (1 + n) / (10 + n)) : options_.decay;
  share_.fill(1 - decay);
}

void WeightAverage::queue_update() {
  const LiveNumber share(share_);
  move_towards(parameters_.values(), share, average_);
  for (std::size_t i = 0; i < buffers_.size(); ++i)
    move_towards(buffers_[i].item->value(), share, buffer_averages_[i]);
}

void WeightAverage::swap() {
  exchange(parameters_.values(), average_);
  for (std::size_t i = 0; i < buffers_.size(); ++i)
    exchange(buffers_[i].item->mutable_value(), buffer_averages_[i]);
  is_swapped_ = !is_swapped_;
}

TensorMap WeightAverage::state() const {
  TensorMap tensors = parameters_.named(average_, "ema.");
  tensors.emplace("ema.updates", updates_);
  for (std::size_t i = 0; i < buffers_.size(); ++i)
    tensors.emplace("ema." + buffers_[i].path, buffer_averages_[i]);
  return tensors;
}

}  // namespace proxent
