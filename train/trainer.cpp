#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/crc32c.h"
#include "train/device.h"
#include "train/evaluation_report.h"
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
              : config.sched != "step"       ? Kind::cosine
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

// Enough to see which proxies are in use, cheap beside an epoch.
constexpr std::int64_t kProxyPictures = 1024;

std::string metric_that_chooses() { return "R@1"; }

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

// Names and labels, which tell one set of training pictures from another wherever it lies.
std::string fingerprint(const Dataset& dataset) {
  std::string lines;
  for (const Sample& sample : dataset.samples)
    lines += fmt::format("{}\n{}\n", std::filesystem::path(sample.path).filename().string(),
                         sample.label);
  return fmt::format("{} pictures, {:08x}", dataset.size(), crc32c(lines));
}

}  // namespace

Every::Every(const Duration& span, double steps_per_epoch, double& last) : last_(last) {
  if (span.is_time())
    seconds_ = span.amount;
  else if (!span.is_zero())
    steps_ = std::max<std::int64_t>(1, span.steps(steps_per_epoch));
}

bool Every::is_due(std::int64_t step, double seconds) {
  if (steps_ > 0) return step % steps_ == 0;
  if (seconds_ == 0 || seconds - last_ < seconds_) return false;
  last_ = seconds;
  return true;
}

Trainer::Trainer(const Config& config, Device device, const Task& task, RunFolder& folder, Log& log)
    : config_(config),
      device_(device),
      task_(task),
      folder_(folder),
      log_(log),
      learner_(config, task.train.classes(), device,
               set_up_precision(config.run.precision, device, config.run.deterministic)),
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
    outcome.stop_reason = "no better " + metric_that_chooses() + " in " +
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

// None if it is broken off, by a signal or by a picture that cannot be read: then it is owed, the
// steps so far are saved, and whoever goes on from them begins with it. Embeddings that are not
// finite are dealt with as --on-nan says.
std::optional<Trainer::Finding> Trainer::evaluate_on_the_way(const Dataset& dataset) {
  try {
    const Stopwatch watch;
    Evaluation evaluation = evaluate(dataset);
    const double seconds = watch.seconds();
    return Finding{std::move(evaluation), seconds, diagnose_proxies(kProxyPictures)};
  } catch (const StopRequested&) {
  } catch (const DataError&) {
    save();
    throw;
  } catch (const NonFiniteError& error) {  // the loss was finite, the weights after it are not
    const bool goes_back = config_.run.on_nan == "rollback" && ++rollbacks_ <= kMostNonFinite;
    check<NonFiniteError>(goes_back, error.message(), ". ", kNonFiniteAdvice);
    const std::int64_t step = progress_.step;
    roll_back();
    log_.warning(detail::concat("after step ", step, ": ", error.message(), where_back()));
  }
  return std::nullopt;
}

void Trainer::settle_evaluation() {
  const Dataset& dataset = config_.run.protocol == "paper" ? task_.test : task_.validation;
  if (!config_.debug.overfit_batch && !dataset.is_empty()) {
    take_results(0);
    const auto found = evaluate_on_the_way(dataset);
    if (!found) return;
    choose_by(*found);
  }
  progress_.owes_evaluation = false;
}

// Keeps the weights if no evaluation was better, and writes down what this one found.
void Trainer::choose_by(const Finding& found) {
  const bool is_paper = config_.run.protocol == "paper";
  const EvaluationResult& result = found.evaluation.result;
  // Without any match nothing can be chosen by, and 0 would be a lie.
  const bool is_known = result.retrieval.queries > 0;
  const double chooser = result.retrieval.recall(1);
  const bool is_best = is_known && (!progress_.best || chooser > *progress_.best);
  progress_.evals_since_best = is_best ? 0 : progress_.evals_since_best + 1;
  if (is_best) {
    progress_.best = chooser;
    progress_.best_epoch = progress_.epoch;
    UseAverage averaged(learner_.average.get());
    checkpoints_.save_best(weights_of(learner_.modules()), checkpoint_info(task_.selection));
  }
  const EvalRecord record{.epoch = static_cast<double>(progress_.step) /
                                   static_cast<double>(sampler_.batches_per_epoch()),
                          .step = progress_.step,
                          .split = is_paper ? "test" : "val",
                          .metrics = metric_values(result),
                          .chosen_by = metric_that_chooses(),
                          .best = progress_.best.value_or(std::nan("")),
                          .is_best = is_best,
                          .label = is_paper ? std::string(name_of(task_.selection)) : "",
                          .seconds = found.seconds};
  view_.eval(record);
  Json line = to_json(record);
  const Tensor& embeddings = found.evaluation.embeddings.values;
  const EmbeddingSpread spread = spread_of(embeddings);
  add_spread(line, spread);
  warn_of_collapse(spread, embeddings.dim(1));
  if (found.proxies) {
    log_.info("proxies │ " + to_text(*found.proxies));
    line["proxies"] = to_json(*found.proxies);
  }
  folder_.add_eval(line);
  std::vector<double> values;
  for (const MetricValue& metric : record.metrics) values.push_back(metric.value);
  folder_.add_metrics(record.step, record.epoch,
                      record.split + (record.label.empty() ? "" : " " + record.label), values);
}

void Trainer::warn_of_collapse(const EmbeddingSpread& spread, std::int64_t dim) {
  const std::string words = collapse_in_words(spread, dim);
  if (!words.empty() && !has_warned_of_collapse_) log_.warning(words);
  has_warned_of_collapse_ = !words.empty();
}

EmbedOptions Trainer::embed_options() {
  return {.loader = loader_options_of(config_, task_.eval_transform),
          .batch = config_.batch.pictures(),
          .device = device_,
          .on_progress = [this](std::int64_t done, std::int64_t all) {
            throw_if_stop_requested();
            view_.doing(detail::concat("evaluating ", done, "/", all));
          }};
}

Evaluation Trainer::evaluate(const Dataset& dataset) {
  UseAverage averaged(learner_.average.get());
  learner_.model->set_training(false);
  Evaluation evaluation = proxent::evaluate(
      dataset, [&](const Variable& images) { return (*learner_.model)(images); }, embed_options(),
      metrics_);
  note_left_out(evaluation.embeddings);
  return evaluation;
}

void Trainer::note_left_out(const Embeddings& embeddings) {
  for (const BadImage& bad : embeddings.bad_images) left_out_.insert(bad.reason);
}

std::optional<ProxyDiagnostics> Trainer::diagnose_proxies(std::int64_t pictures) {
  if (!has_proxies_to_diagnose(*learner_.loss, task_.train)) return std::nullopt;
  UseAverage averaged(learner_.average.get());
  learner_.model->set_training(false);
  const Dataset some = task_.train.evenly_spaced(pictures);
  const Embeddings embeddings = embed(
      some, [&](const Variable& images) { return (*learner_.model)(images); }, embed_options());
  note_left_out(embeddings);
  return proxent::diagnose_proxies(*learner_.loss, some, embeddings);
}

std::vector<std::string> Trainer::bad_images() const {
  std::set<std::string> reasons = left_out_;
  if (loader_)
    for (const BadImage& bad : loader_->bad_images()) reasons.insert(bad.reason);
  return {reasons.begin(), reasons.end()};
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

CheckpointInfo Trainer::checkpoint_info(Selection selection) const {
  CheckpointInfo info{.arch = config_.model.arch,
                      .config = to_toml(config_),
                      .step = progress_.step,
                      .epoch = progress_.epoch,
                      .selection = std::string(name_of(selection))};
  if (progress_.best) {
    info.metric = metric_that_chooses() + (config_.run.protocol == "paper" ? " (test)" : " (val)");
    info.value = *progress_.best;
  }
  return info;
}

TrainingState Trainer::state() {
  TrainingState state{.tensors = model_state(learner_.modules()), .texts = to_texts(progress_)};
  state.tensors.merge(learner_.optimizer->state());
  if (learner_.average) state.tensors.merge(learner_.average->state());
  state.texts["config"] = to_toml(config_);
  state.texts["seed"] = fmt::format("{}", config_.run.seed);
  state.texts["train_data"] = train_data_;
  return state;
}

void Trainer::save() {
  take_results(0);
  TensorMap weights;
  {
    UseAverage averaged(learner_.average.get());
    weights = weights_of(learner_.modules());
  }
  folder_.sync_logs();  // first: a state must not be of later steps than the logs
  checkpoints_.save_last(weights, checkpoint_info(Selection::last_epoch), state());
  rollbacks_ = 0;
}

void Trainer::resume(const std::filesystem::path& path) {
  const TrainingState saved = restore_from(path);
  seconds_before_ = progress_.seconds;
  const auto pictures = saved.texts.find("train_data");  // older states do not tell
  if (pictures != saved.texts.end() && pictures->second != train_data_)
    log_.warning(
        "the training pictures are not those that this run began with; what comes out is of both");
}

TrainingState Trainer::restore_from(const std::filesystem::path& path) {
  TrainingState saved =
      read_newest_state(path, [this](const std::string& reason) { log_.warning(reason); });
  const Progress progress = progress_of(saved.texts, path.string());
  const std::string seed = fmt::format("{}", config_.run.seed);
  const std::string began = saved.texts.contains("seed") ? saved.texts["seed"] : seed;
  check<UsageError>(seed == began, "run.resume: ", path.string(), " began with --seed ", began,
                    ", got ", seed,
                    ". The seed draws batches and the classes that are held out; go on with the "
                    "same, or start a new run");
  check<UsageError>(progress.step <= total_steps_, "run.resume: ", path.string(), " has made ",
                    progress.step, " steps, and ", total_steps_,
                    " are asked for. Give more --steps or --epochs, or start a new run");
  check<UsageError>(progress.batch < sampler_.batches_per_epoch(), "run.resume: ", path.string(),
                    " was saved after batch ", progress.batch, " of an epoch that has ",
                    sampler_.batches_per_epoch(),
                    " now. Go on with the batch size and the pictures that it began with");
  TrainingState present = state();
  restore(present.tensors, saved.tensors, path.string());
  progress_ = progress;
  folder_.go_on_after(progress_.step);
  return saved;
}

bool Trainer::load_best() {
  if (!std::filesystem::exists(checkpoints_.best_weights())) return false;
  load_weights(learner_.modules(), checkpoints_.best_weights());
  learner_.average.reset();  // the file holds the averages: evaluation must not swap them away
  return true;
}

}  // namespace proxent
