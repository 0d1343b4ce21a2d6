#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/device.h"
#include "train/process_memory.h"
#include "train/profiled_steps.h"
#include "train/signals.h"

namespace proxent {
namespace {

// 0 batches in an epoch cannot be: the sampler refuses such a data set.
std::int64_t total_steps_of(const Config& config, const Sampler& sampler) {
  if (config.run.steps > 0) return config.run.steps;
  return config.run.epochs * sampler.batches_per_epoch();
}

ScheduleOptions schedule_of(const OptimConfig& config, std::int64_t total_steps,
                            double steps_per_epoch) {
  using Kind = ScheduleOptions::Kind;
  ScheduleOptions schedule{
      .kind = config.sched == "const"        ? Kind::constant
              : config.sched == "cosine"     ? Kind::cosine
              : config.sched == "plateau"    ? Kind::milestones
              : config.lr_milestones.empty() ? Kind::step
                                             : Kind::milestones,
      .learning_rate = config.lr,
      .min_learning_rate = config.min_lr,
      .total_steps = total_steps,
      .warmup_steps = std::min(config.lr_warmup.steps(steps_per_epoch), total_steps),
      .decay_every = config.lr_step.steps(steps_per_epoch),
      .gamma = config.lr_gamma};
  for (const Duration& milestone : lr_milestones_of(config))
    schedule.milestones.push_back(milestone.steps(steps_per_epoch));
  check_schedule(schedule);
  return schedule;
}

// Decoded pictures that training keeps in memory: four gigabytes hold CUB at its full size.
constexpr std::int64_t kCacheBytes = std::int64_t{4} << 30;

}  // namespace

Trainer::Trainer(const Config& config, Device device, const Task& task, RunFolder& folder, Log& log)
    : config_(config),
      device_(device),
      task_(task),
      folder_(folder),
      log_(log),
      learner_(config, task.train.classes(), device,
               set_up_precision(config.run.precision, device, config.run.deterministic)),
      chooser_(chooser_name(config.run.choose_by)),
      sampler_(task.train, sampler_options_of(config)),
      train_data_(fingerprint(task.train)),
      checkpoints_(folder.file("ckpt"), config.run.keep_last),
      view_(log, progress_mode(config.log.progress, log.terminal())) {
  const auto steps_per_epoch = static_cast<double>(sampler_.batches_per_epoch());
  total_steps_ = total_steps_of(config, sampler_);
  schedule_ = schedule_of(config.optim, total_steps_, steps_per_epoch);
  warmup_head_steps_ = config.model.warmup_head.steps(steps_per_epoch);
  metrics_ = metric_choice(config.run.metrics);
  if (config.run.on_nan == "skip") before_step_.emplace(learner_.changed_by_any_step());
}

TrainOutcome Trainer::run() {
  watch_ = Stopwatch();
  const auto steps_per_epoch = static_cast<double>(sampler_.batches_per_epoch());
  Every log_due(config_.log.log_every, steps_per_epoch, progress_.logged_at);
  Every eval_due(config_.run.eval_every, steps_per_epoch, progress_.evaluated_at);
  Every save_due(config_.run.save_every, steps_per_epoch, progress_.saved_at);
  LoaderOptions options = loader_options_of(config_, task_.train_transform);
  if (config_.data.cache == "decoded") options.cache = std::make_shared<ImageCache>(kCacheBytes);
  // A resumed run learns the same one batch by heart.
  const BatchPosition first = config_.debug.overfit_batch
                                  ? BatchPosition{}
                                  : BatchPosition{progress_.epoch, progress_.batch};
  loader_ = std::make_unique<Loader>(task_.train, sampler_, options, first);
  TrainOutcome outcome;
  ProfiledSteps profiled(step_range(config_.debug.profile_steps), device_,
                         total_steps_ - progress_.step);
  const bool goes_back = config_.run.on_nan == "rollback";
  if (goes_back && !std::filesystem::exists(checkpoints_.last_state())) save();
  while (!is_done()) {
    const bool was_owed = progress_.owes_evaluation;  // since an earlier sitting
    const bool goes_on = was_owed || advance(profiled, log_due, eval_due);
    if (!goes_on) continue;
    if (outcome.first_loss == 0) outcome.first_loss = last_step_.loss;
    const std::int64_t reached = progress_.step;
    if (progress_.owes_evaluation) settle_evaluation();
    if (progress_.step < reached) continue;  // went back
    const bool is_end = is_done();
    outcome.stop_reason = is_end ? "" : reason_to_stop();
    outcome.is_finished = outcome.stop_reason.empty();
    // What was owed is settled for good, or going back to the state would evaluate once more.
    if (save_due.is_due(progress_.step, seconds()) || take_save_request() || was_owed || is_end ||
        !outcome.is_finished)
      save();
    if (!outcome.is_finished) break;
  }
  view_.finish();
  if (is_settled() && progress_.step < total_steps_)
    outcome.stop_reason = "no better " + chooser_ + " in " +
                          counted(progress_.evals_since_best, "evaluation", "evaluations");
  outcome.last_loss = last_step_.loss;
  return outcome;
}

// A step, its line, and whether an evaluation is due; false if it led back to a checkpoint.
bool Trainer::advance(ProfiledSteps& profiled, Every& log_due, Every& eval_due) {
  const Stopwatch watch;
  const std::int64_t done = progress_.step;
  profiled.before_step();
  step(next_batch());
  profiled.after_step();
  const bool is_last = progress_.step == total_steps_;
  const bool is_line_due = log_due.is_due(progress_.step, seconds()) || is_last;
  // A GPU is left to work on this step while the next one is prepared, unless somebody looks, or
  // must act before anything else happens.
  const int runs_ahead = device_ == Device::cpu || config_.run.on_nan != "stop" ? 0 : 1;
  take_results(is_line_due ? 0 : runs_ahead);
  if (progress_.step <= done) return false;
  const double waited = loader_->seconds_waited();
  pace_.step(watch.seconds(), waited - waited_, config_.batch.pictures());
  waited_ = waited;
  log_step(is_line_due);
  progress_.owes_evaluation = eval_due.is_due(progress_.step, seconds()) || is_last;
  return true;
}

Batch Trainer::next_batch() {
  if (!config_.debug.overfit_batch) return *loader_->next();
  if (!only_batch_) only_batch_ = *loader_->next();
  return *only_batch_;
}

void Trainer::step(Batch batch) {
  learner_.model->set_training(true);
  learner_.loss->set_training(true);
  hold_still_parts();
  if (before_step_) before_step_->keep();
  learner_.step->run({batch.pictures, batch.places, batch.labels},
                     learning_rate(schedule_, progress_.step));
  const BatchPosition next = sampler_.next(batch.position);
  progress_.step += 1;
  progress_.epoch = next.epoch;
  progress_.batch = next.batch;
  progress_.images += batch.pictures.dim(0);
  progress_.seconds = seconds();
  pending_.push_back(std::move(batch));
}

// Until at most `may_wait` results are left to take.
void Trainer::take_results(int may_wait) {
  while (learner_.step->waiting() > may_wait) {
    const Batch batch = std::move(pending_.front());
    pending_.pop_front();
    try {
      last_step_ = learner_.step->take();
      note_result();
    } catch (const NonFiniteError& error) {
      after_nonfinite(batch, progress_.step - std::ssize(pending_), error);
    }
  }
}

void Trainer::note_result() {
  has_result_ = true;
  progress_.skipped += last_step_.is_skipped;
  if (last_step_.is_skipped) return;
  progress_.nonfinite_in_row = 0;
  loss_z_ = progress_.loss.z_score(last_step_.loss);
  gradient_z_ = progress_.gradient_norm.z_score(last_step_.gradient_norm);
  progress_.loss.add(last_step_.loss);
  progress_.gradient_norm.add(last_step_.gradient_norm);
}

void Trainer::hold_still_parts() {
  const bool is_warming_up = progress_.step < warmup_head_steps_;
  if (learner_.optimizer->hold("backbone", is_warming_up)) learner_.step->forget_recording();
}

void Trainer::log_step(bool is_line_due) {
  if (!has_result_) return;  // the first one is on its way
  const double rate = learning_rate(schedule_, progress_.step - 1);
  const auto per_epoch = sampler_.batches_per_epoch();
  StepRecord record{.epoch = static_cast<double>(progress_.step) / static_cast<double>(per_epoch),
                    .epochs = (total_steps_ + per_epoch - 1) / per_epoch,
                    .step = progress_.step,
                    .steps = total_steps_,
                    .images = progress_.images,
                    .loss = last_step_.loss,
                    .terms = learner_.loss->weighted_terms(last_step_.terms),
                    .gradient_norm = last_step_.gradient_norm,
                    .loss_z = loss_z_,
                    .gradient_z = gradient_z_,
                    .lr = rate,
                    .proxy_lr = rate * config_.loss.proxy_lr_mult,
                    .images_per_second = pace_.images_per_second(),
                    .step_seconds = pace_.step_seconds(),
                    .wait_seconds = pace_.wait_seconds(),
                    .memory_bytes = memory_report(device_).taken(),
                    .seconds_left = pace_.seconds_left(total_steps_ - progress_.step)};
  if (learner_.optimizer->scales_loss()) record.loss_scale = last_step_.loss_scale;
  record.skipped = progress_.skipped;
  view_.step(record);
  if (!is_line_due) return;
  record.process_bytes = process_bytes();
  view_.line(record);
  folder_.add_step(to_json(record));
}

std::string Trainer::reason_to_stop() const {
  if (stop_requested()) return stop_reason();
  // Of this sitting: a job that is run again under the same limit gets all of it again.
  if (!config_.run.time_limit.is_zero() && sitting_.seconds() >= config_.run.time_limit.amount)
    return "time limit";
  return "";
}

bool Trainer::is_settled() const {
  return config_.run.early_stop > 0 && progress_.evals_since_best >= config_.run.early_stop;
}

double Trainer::seconds() const { return seconds_before_ + watch_.seconds(); }

}  // namespace proxent
