// What a trainer does about a loss, gradient or embedding that is not finite.
#include <fmt/format.h>

#include <cmath>

#include "train/safetensors.h"
#include "train/trainer.h"

namespace proxent {
namespace {

// More steps in a row that are not finite, or ways back to the same checkpoint, and it is not the
// batch that is to blame.
constexpr std::int64_t kMostNonFinite = 10;

constexpr std::string_view kNonFiniteAdvice =
    "Try a lower --lr, --clip-norm, or a longer --lr-warmup";

// Keeps the batch for somebody to look at, and says where. So many of them tell all that there is
// to know; a long run with --on-nan skip must not fill the disk.
constexpr int kMostBadBatches = 10;
std::string keep_bad_batch(const RunFolder& folder, const Batch& batch, std::int64_t step,
                           const NonFiniteError& error) {
  namespace fs = std::filesystem;
  const fs::path path = folder.file(fmt::format("nonfinite/step-{:08}.safetensors", step));
  std::error_code ignored;  // writing the file tells
  fs::create_directory(path.parent_path(), ignored);
  if (std::distance(fs::directory_iterator(path.parent_path(), ignored), {}) >= kMostBadBatches)
    return "The batch was not kept: " + path.parent_path().string() + " is full";
  write_safetensors(
      path,
      {{"pictures", batch.pictures},
       {"places", batch.places},
       {"labels", batch.labels},
       {"indices", Tensor::from({static_cast<std::int64_t>(batch.indices.size())}, batch.indices)}},
      {{"step", std::to_string(step)}, {"error", error.what()}});
  return "The batch is in " + path.string();
}

}  // namespace

void Trainer::after_nonfinite(const Batch& batch, std::int64_t step, const NonFiniteError& error) {
  const std::string what = detail::concat("step ", step, ": ", error.what(), "\n",
                                          keep_bad_batch(folder_, batch, step, error));
  if (config_.run.on_nan == "stop")
    fail<NonFiniteError>(what, ". ", kNonFiniteAdvice, "; or --on-nan skip or rollback");
  const bool is_skip = config_.run.on_nan == "skip";
  const std::int64_t times = is_skip ? ++progress_.nonfinite_in_row : ++rollbacks_;
  check<NonFiniteError>(times <= kMostNonFinite, what, ". This was the ", times, "th ",
                        is_skip ? "in a row" : "from the same checkpoint", ". ", kNonFiniteAdvice);
  if (is_skip) {
    before_step_->restore();
    ++progress_.skipped;
    forget_numbers();
  } else {
    roll_back();
  }
  log_.warning(what + (is_skip ? "; skipped" : where_back()));
}

// The loss was finite, the weights after it are not.
void Trainer::after_nonfinite_evaluation(const NonFiniteError& error) {
  const bool goes_back = config_.run.on_nan == "rollback" && ++rollbacks_ <= kMostNonFinite;
  check<NonFiniteError>(goes_back, error.message(), ". ", kNonFiniteAdvice);
  const std::int64_t step = progress_.step;
  roll_back();
  log_.warning(detail::concat("after step ", step, ": ", error.message(), where_back()));
}

std::string Trainer::where_back() const {
  return fmt::format("; back at step {}, on with the batches after it", progress_.step);
}

// So that the line of a skipped step does not tell those of the step before.
void Trainer::forget_numbers() {
  last_step_.loss = last_step_.gradient_norm = std::nan("");
  for (double& term : last_step_.terms) term = std::nan("");
  loss_z_ = gradient_z_ = std::nullopt;
}

// Weights, moments and schedule of the last checkpoint, but the data go on where they are: the same
// batches would only lead to the same place. The best weights so far stay the best, as their file
// does.
void Trainer::roll_back() {
  const Progress now = progress_;
  restore_from(checkpoints_.last_state());
  progress_.epoch = now.epoch;
  progress_.batch = now.batch;
  progress_.best = now.best;
  progress_.best_epoch = now.best_epoch;
  progress_.evals_since_best = now.evals_since_best;
}

}  // namespace proxent
