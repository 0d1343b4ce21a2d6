#include "train/final_test.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/atomic_file.h"
#include "train/diagnostics.h"
#include "train/evaluation_report.h"
#include "train/metrics_text.h"
#include "train/provenance.h"
#include "train/retrieval_grid.h"
#include "train/text.h"

namespace proxent {
namespace {

Json to_json(const EvaluationResult& result, const std::string& origin) {
  Json record = to_json(result);
  record["provenance"] = origin;
  return record;
}

std::string summary(const std::string& name, const std::optional<Baselines>& baselines,
                    const EvaluationResult& trained, const std::string& origin) {
  const auto percent = [](const EvaluationResult& result, std::string_view metric) {
    const std::vector<MetricValue> values = metric_values(result);
    return percent_text(*std::ranges::find(values, metric, &MetricValue::name));
  };
  const auto row = [&](std::string_view metric) {
    std::string text = fmt::format("{} ", metric);
    if (baselines)
      text += fmt::format("pixels {} untrained {} ", percent(baselines->pixels, metric),
                          percent(baselines->untrained, metric));
    return text + "trained " + percent(trained, metric);
  };
  return fmt::format("{}: {} | {} | {}", name, row("R@1"), row("MAP@R"), origin);
}

// Of training pictures, by which the proxies are judged at the end.
constexpr std::int64_t kProxyPictures = 16384;

// Takes the weights that the protocol chose and says how they were chosen.
Selection take_chosen(const Task& task, Trainer& trainer, Log& log) {
  if (task.selection == Selection::last_epoch) return task.selection;
  if (const auto selection = trainer.load_best()) return *selection;
  log.warning(
      "no evaluation could choose the weights, as no query had a match in any; these are the last "
      "ones. Classes that choose need two pictures or more");
  return Selection::last_epoch;
}

// Queries and their nearest pictures.
void draw_found(const Dataset& dataset, const Evaluation& evaluation, std::int64_t seed,
                const RunFolder& folder, Log& log) {
  if (evaluation.result.retrieval.queries == 0) return;
  const std::string picture = folder.file(kRetrievalFile);
  write_picture_atomically(picture, retrieval_grid(dataset, evaluation.embeddings,
                                                   evaluation.options, evaluation.result.retrieval,
                                                   {.seed = static_cast<std::uint64_t>(seed)}));
  log.info("queries and their nearest pictures: " + picture);
}

}  // namespace

Baselines measure_baselines(const Config& config, const Task& task, Trainer& trainer, Log& log) {
  const Evaluation pixels = evaluate_pixels(task.test, trainer.embed_options(), trainer.metrics());
  Baselines baselines{.pixels = pixels.result,
                      .untrained = trainer.evaluate(task.test).result,
                      .pixels_origin = pixels_provenance(config, pixels.embeddings.values.dim(1)),
                      .untrained_origin = untrained_provenance(config)};
  const auto tell = [&](const std::string& name, const EvaluationResult& result,
                        const std::string& origin) {
    log.info(name + " │ " + metrics_text(metric_values(result)));
    log.info("          │ " + origin);
  };
  tell("pixels   ", baselines.pixels, baselines.pixels_origin);
  tell("untrained", baselines.untrained, baselines.untrained_origin);
  return baselines;
}

std::string report_test(const Config& config, const std::string& name, const Task& task,
                        Trainer& trainer, RunFolder& folder, Log& log,
                        const std::optional<Baselines>& baselines) {
  if (config.run.protocol == "none") return "";
  if (task.test.is_empty()) {
    log.result(
        "nothing was tested: the data have no test part; give one, or judge the weights by "
        "proxent eval " +
        folder.path() + " --data OTHER");
    return "";
  }
  const Selection selection = take_chosen(task, trainer, log);
  const Evaluation test = trainer.evaluate(task.test);
  const EmbeddingDiagnostics diagnostics =
      diagnose_embeddings(test.embeddings.values, test.embeddings.labels);
  Json& record = folder.record();
  const std::string origin = provenance(config, selection, {config.run.seed});
  record["selection"] = name_of(selection);
  record["provenance"] = origin;
  record["test"] = to_json(test.result);
  add_diagnostics(record["test"], diagnostics);
  if (const auto proxies = trainer.diagnose_proxies(kProxyPictures)) {
    log.info("proxies │ " + to_text(*proxies));
    record["proxies"] = to_json(*proxies);
  }
  if (baselines) {
    record["pixels"] = to_json(baselines->pixels, baselines->pixels_origin);
    record["untrained"] = to_json(baselines->untrained, baselines->untrained_origin);
  }
  folder.save_record();
  log.result("test │ " + metrics_text(metric_values(test.result), selection));
  log.result("     │ " + origin);
  log.info(counts_text(test.result.retrieval));
  if (!config.debug.dry_run) draw_found(task.test, test, config.run.seed, folder, log);
  return summary(name, baselines, test.result, origin);
}

}  // namespace proxent
