// A trainer's evaluations: how its weights retrieve, which of them are kept for it, what is told.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "train/evaluation_report.h"
#include "train/provenance.h"
#include "train/signals.h"
#include "train/text.h"
#include "train/trainer.h"

namespace proxent {
namespace {

// Enough to see which proxies are in use, cheap beside an epoch.
constexpr std::int64_t kProxyPictures = 1024;

}  // namespace

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
  } catch (const NonFiniteError& error) {
    after_nonfinite_evaluation(error);
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
  std::vector<MetricValue> metrics = metric_values(result);
  const MetricValue chooser = *std::ranges::find(metrics, chooser_, &MetricValue::name);
  const bool is_best = chooser.is_known() && (!progress_.best || chooser.value > *progress_.best);
  progress_.evals_since_best = is_best ? 0 : progress_.evals_since_best + 1;
  if (is_best) {
    progress_.best = chooser.value;
    progress_.best_epoch = progress_.epoch;
    UseAverage averaged(learner_.average.get());
    checkpoints_.save_best(weights_of(learner_.modules()), checkpoint_info(task_.selection));
  }
  const EvalRecord record{.epoch = static_cast<double>(progress_.step) /
                                   static_cast<double>(sampler_.batches_per_epoch()),
                          .step = progress_.step,
                          .split = is_paper ? "test" : "val",
                          .metrics = std::move(metrics),
                          .chosen_by = chooser_,
                          .best = progress_.best.value_or(std::nan("")),
                          .is_best = is_best,
                          .label = is_paper ? std::string(name_of(task_.selection)) : "",
                          .seconds = found.seconds};
  const std::string origin = provenance_on_the_way(config_, record.split);
  view_.eval(record);
  if (!std::exchange(has_told_origin_, true)) log_.info("     │ " + origin);
  Json line = to_json(record);
  line["provenance"] = origin;
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
  watch_for_plateau(is_best);
}

// torch.optim.lr_scheduler.ReduceLROnPlateau with mode "max" and no threshold: a milestone after
// more than lr_patience evaluations without a better one since the last.
void Trainer::watch_for_plateau(bool is_best) {
  if (config_.optim.sched != "plateau") return;
  progress_.evals_on_plateau = is_best ? 0 : progress_.evals_on_plateau + 1;
  if (progress_.evals_on_plateau <= config_.optim.lr_patience) return;
  log_.info(fmt::format("the learning rate falls to {:.3g}: no better {} in {}",
                        learning_rate(schedule_, progress_.step) * config_.optim.lr_gamma, chooser_,
                        counted(progress_.evals_on_plateau, "evaluation", "evaluations")));
  progress_.evals_on_plateau = 0;
  progress_.lr_drops.push_back(progress_.step);
  schedule_.milestones = progress_.lr_drops;
}

std::string Trainer::milestones_found() const {
  const auto per_epoch = static_cast<double>(sampler_.batches_per_epoch());
  std::vector<std::string> milestones;
  for (const std::int64_t step : progress_.lr_drops)
    milestones.push_back(
        to_text(Duration{static_cast<double>(step) / per_epoch, Duration::Unit::epochs}));
  return join(milestones, ",");
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

}  // namespace proxent
