#include "train/run_header.h"

#include <fmt/format.h>
#include <omp.h>

#include "layers/resnet.h"
#include "train/config_table.h"
#include "train/loss.h"
#include "train/table.h"
#include "train/text.h"

namespace proxent {
namespace {

std::string optimizer_text(const Config& config, const ConfigTable& text) {
  std::string line = text("optim.name") + ", lr " + text("optim.lr") + ", proxies' x " +
                     text("loss.proxy_lr_mult") + ", weight decay " + text("optim.wd") + ", " +
                     text("optim.sched");
  if (!config.optim.lr_warmup.is_zero()) line += ", warm-up " + text("optim.lr_warmup");
  if (config.optim.clip_norm > 0) line += ", clip norm " + text("optim.clip_norm");
  if (config.optim.clip_value > 0) line += ", clip value " + text("optim.clip_value");
  if (config.optim.ema > 0) line += ", average " + text("optim.ema");
  return line;
}

std::string model_text(const Config& config, const ConfigTable& text) {
  std::string line = text("model.arch");
  if (config.model.width != ModelConfig().width) line += ", width " + text("model.width");
  if (resnet_depth(config.model.arch)) line += ", stem " + text("model.stem");
  line += ", pool " + text("model.pool") + ", head " + text("model.head") + " to " +
          text("model.embed_dim") + ", batch norm " + text("model.bn_mode");
  if (!config.model.freeze.empty()) line += ", frozen " + text("model.freeze");
  if (!config.model.warmup_head.is_zero()) line += ", head alone for " + text("model.warmup_head");
  return line;
}

// Every key that the loss looks at.
std::string loss_text(const LossConfig& loss, const ConfigTable& text) {
  std::string line = text("loss.name");
  for (const std::string_view key : loss_kind(loss.name).keys) {
    std::string value = text("loss." + std::string(key));
    if (key == "form") continue;
    if (value == "auto" && key == "proxies") value = std::to_string(proxies_per_class(loss));
    if (value == "auto" && key == "sigma") value = shortest(sigma_of(loss));
    if (value == "auto" && key == "margin") value = shortest(margin_of(loss));
    if (value == "auto" || value == "false") continue;
    line += ", " + std::string(key) + " " + value;
  }
  return line;
}

Table run_table(const Config& config, const Task& task, const RunFacts& facts) {
  const ConfigTable text(config);
  Table table("run (* is not the default)");
  table.row({"folder", facts.folder}).row({"model", model_text(config, text)});
  if (!config.model.weights.empty()) table.row({"weights", config.model.weights});
  table.row({"loss", loss_text(config.loss, text)})
      .row({"optimizer", optimizer_text(config, text)})
      .row({"batch", text("batch.size") + " " + text("batch.sampler") +
                         (config.batch.sampler == "random" ? "" : ", m " + text("batch.m"))})
      .row({"length", fmt::format("{} steps, {} to an epoch", human_count(facts.steps),
                                  human_count(facts.steps_per_epoch))})
      .row({"protocol",
            text("run.protocol") + ": numbers are " + std::string(name_of(task.selection))})
      .row({"seed", text("run.seed") + "; " + facts.device})
      .row({"memory", facts.memory});
  return table;
}

Table data_table(const Task& task) {
  Table table("data");
  table.row({"set", task.description}).row({"train", task.train.describe()});
  if (!task.validation.is_empty()) table.row({"val", task.validation.describe()});
  if (!task.test.is_empty()) table.row({"test", task.test.describe()});
  return table.row({"train transform", task.train_transform.describe()})
      .row({"eval transform", task.eval_transform.describe()});
}

Table parameter_table(const std::vector<std::vector<std::string>>& groups) {
  Table table("parameters");
  if (groups.empty()) return table;
  table.head(groups.front());
  for (std::size_t column = 1; column < groups.front().size(); ++column) table.align_right(column);
  std::int64_t total = 0;
  for (std::size_t i = 1; i < groups.size(); ++i) {
    std::vector<std::string> cells = groups[i];
    const std::int64_t elements = std::stoll(cells[2]);
    total += elements;
    cells[2] = human_count(elements);
    table.row(cells);
  }
  return table.line().row({"trained", "", human_count(total), "", ""});
}

}  // namespace

std::string run_header(const Config& config, const Task& task, const RunFacts& facts, int width) {
  return run_table(config, task, facts).text(width) + data_table(task).text(width) +
         parameter_table(facts.parameter_groups).text(width);
}

std::vector<std::string> advice(const Config& config, const Task& task, std::int64_t steps) {
  std::vector<std::string> lines;
  const auto say = [&](bool condition, std::string text) {
    if (condition) lines.push_back(std::move(text));
  };
  const auto& [data, batch, model, loss, optim, run, log, debug] = config;
  const bool has_stems = resnet_depth(model.arch).has_value();
  say(has_stems && model.stem == "imagenet" && data.image_size < 100,
      fmt::format("pictures of {} px end in a map of {}x{}: --stem small keeps more detail",
                  data.image_size, (data.image_size + 31) / 32, (data.image_size + 31) / 32));
  say(model.stem == "small" && data.image_size >= 128,
      fmt::format("--stem small at {} px is about 16 times slower than --stem imagenet",
                  data.image_size));
  say(!model.freeze.empty() && model.weights.empty() && run.resume.empty(),
      fmt::format(
          "--freeze {} without --weights: they stay as they were drawn, which learns little",
          join(model.freeze, ",")));
  say(model.weights.empty() && run.resume.empty() && data.image_size >= 128,
      fmt::format("the backbone starts from random numbers; at {} px papers start from ImageNet's: "
                  "--weights FILE",
                  data.image_size));
  say(run.threads && *run.threads > omp_get_num_procs(),
      fmt::format("--threads {} on {} cores: threads that wait for a core make a step slower",
                  run.threads.value_or(0), omp_get_num_procs()));
  say(batch.pictures() < 32,
      fmt::format("batches of {} make noisy steps: 64 or more is usual for this "
                  "loss",
                  batch.pictures()));
  say(loss.weight_inter >= 0.5,
      fmt::format("weight_inter {} outweighs the classification: 0.02 to 0.3 is the useful range",
                  shortest(loss.weight_inter)));
  const std::vector<std::string> idle = keys_without_effect(loss);
  say(!idle.empty(), "--loss " + loss.name + " does not look at " + join(idle, ", "));
  const std::int64_t proxies = proxies_per_class(loss);
  say(loss.name == "mpl" && proxies == 1 && (loss.weight_intra > 0 || loss.weight_usage > 0),
      "with one proxy per class weight_intra and weight_usage have no effect");
  const std::int64_t classes = std::max<std::int64_t>(1, task.train.classes());
  say(proxies == 0 && batch.sampler == "random",
      fmt::format("{} learns from pairs of a class, which random batches hold few of: --sampler "
                  "m-per-class",
                  loss.name));
  say(proxies == 0 && batch.sampler == "m-per-class" && batch.pictures() < 2 * batch.m,
      fmt::format("a batch of {} with {} of a class holds one class, from which {} learns nothing: "
                  "choose --m {} or less",
                  batch.pictures(), batch.m, loss.name, batch.pictures() / 2));
  say(proxies * 2 > task.train.size() / classes,
      fmt::format("{} proxies for about {} pictures per class: most will find none", proxies,
                  task.train.size() / classes));
  say(task.validation.classes() == 1,
      "validation has one class, so every neighbour is right and R@1 chooses nothing: use "
      "--protocol last or more classes");
  const double span = optim.ema > 0 ? 1 / (1 - optim.ema) : 0;
  say(span > static_cast<double>(steps) / 3,
      fmt::format("--ema {} averages over {:.0f} of the {} steps: the first weights still weigh in",
                  shortest(optim.ema), span, steps));
  say(run.protocol == "paper",
      "protocol paper: the test split chooses the epoch, so its numbers flatter (test-selected)");
  return lines;
}

}  // namespace proxent
