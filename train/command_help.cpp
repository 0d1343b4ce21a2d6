#include <algorithm>

#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/config_table.h"
#include "train/exit_code.h"
#include "train/loss.h"
#include "train/metrics_text.h"
#include "train/presets.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

struct Topic {
  std::string_view name;
  std::string_view text;
};

// A backslash at the end joins a line to the next.
constexpr Topic kTopics[] = {
    {"config", R"(Every setting of a run has a dotted name, as optim.lr. It can be given

  in a TOML file      [optim]
                      lr = 3e-4                 proxent train -c my.toml
  as a flag           --optim.lr 3e-4           or short, as --help lists it: --lr 3e-4
  in the environment  PROXENT_OPTIM_LR=3e-4     or short: PROXENT_LR

The later wins: defaults < preset < files (-c, several) < environment < flags. A name that does \
not exist is an error, never ignored.
A file may also say preset = "cub-cpu" at its top.

proxent train --print-config prints the result, with where each value came from, as TOML that \
-c reads back. Each run keeps its own in RUN/config.toml.)"},
    {"protocol", R"(Which weights a run reports, and who chose them.

  val    a share of the training classes (--val-classes) is held out and chooses the epoch by \
      r@1; the test split is evaluated once, at the end, with the chosen weights: "val-selected". \
      Where the data name a validation part, that chooses, and no class is held out
  mlrc   the training classes are cut into folds, in their order; one (--fold 0/4) is held out \
      and chooses the epoch: "val-selected". proxent cv trains a model per fold and judges them \
      separately and with their embeddings concatenated (Musgrave et al. 2020)
  last   no choice: the weights after the last step: "last-epoch"
  paper  the test split is evaluated each time and chooses the epoch, as most papers of the \
      field do. That flatters the result, so it is labelled "test-selected" wherever it is \
      printed
  none   train only)"},
    {"loss",
     R"(Each class has K proxies, vectors in the embedding space (--proxies). With cosine \
      similarities s between a picture's embedding and all proxies:

  S_c      score of class c from its proxies: --select lse (log-sum-exp), max (the nearest) or \
      soft (weighted mean)
  L_ce     cross-entropy of softmax(sigma S)
  H_inter  entropy of softmax(sigma_h S) over classes. Large: classes stay comparable
  H_intra  entropy of softmax(sigma_a s_y) over the K proxies of the true class y. Small: each \
      picture commits to one proxy, so that proxies come to mean different things
  U        divergence KL(r || q) of the choice q = softmax(sigma_a s_y) from r ~ q / u: the same \
      choice, corrected for how often each proxy was chosen so far, u. Small: no proxy idles

  L = mean(L_ce - weight_inter H_inter + weight_intra H_intra + weight_usage U)

The paper has no U; without it one proxy soon takes all pictures of its class. With --proxies 1 \
and weight_inter 0 this is ProxyNCA++; with --select soft and all weights 0 it is SoftTriple \
without its regulariser.
After Yu et al., Multi-Proxy Learning from an Entropy Optimization Perspective, IJCAI 2022; an \
implementation of the published idea.)"},
    {"durations", R"(Settings such as --eval-every take a number with its unit:

  500it    optimizer steps
  1.5ep    passes over the training pictures
  30s 10min 3h50m 1d   time
  0        never)"},
    {"resume",
     R"(A run that was stopped by SIGINT, SIGTERM or --time-limit saved a checkpoint and exited \
      with code 75. It goes on where it stopped with

  proxent train --resume runs/2026-11-23_cub

or, for scripts that start the same line again and again, with --out DIR --resume auto, which \
starts a new run if DIR holds none. SIGUSR1 and SIGHUP save a checkpoint without stopping.)"},
    {"divergence",
     R"(What a run does when training goes wrong.

A loss or gradient that is not a finite number moves no weight. The batch goes to RUN/nonfinite, \
with the op and the module that made the number, and --on-nan decides:

  stop      end with exit code 6; the last checkpoint is whole
  skip      go on with the next batch, as if that one had not been
  rollback  go back to the last checkpoint, and on with the batches after that one

More than ten in a row, or ten times back to the same checkpoint, end the run whatever was asked.

Each line of train.jsonl tells how unusual loss and gradient norm are among the steps before, as \
z-scores; on the terminal they stand where they are beyond 3. Each evaluation looks whether the \
embedding collapses (effective rank and standard deviation, in eval.jsonl), and says so in words. \
--early-stop N ends a run after N evaluations without a better one.)"},
};

std::string joined(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "\\\n")
      i = std::min(text.find_first_not_of(' ', i + 2), text.size()) - 1;
    else
      out += text[i];
  }
  return out;
}

// Indented lines are examples and formulas: they are wrapped under their own text.
std::string wrapped(const std::string& marked, int width) {
  const std::string whole = joined(marked);
  const std::string_view text = whole;
  std::string out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.starts_with("  ") || display_width(line) <= width) {
      out +=
          line.starts_with("  ") ? std::string(line) + "\n" : join(wrap(line, width), "\n") + "\n";
      continue;
    }
    const auto name_end = line.find(' ', 2);
    const auto body = std::min(line.find_first_not_of(' ', name_end), line.size());
    const auto parts = wrap(line.substr(body), width - static_cast<int>(body));
    out += std::string(line.substr(0, body)) + join(parts, "\n" + std::string(body, ' ')) + "\n";
  }
  return out;
}

std::string section_help(const std::string& name, int width) {
  Config config;
  CommandLine line(
      {.name = "train", .usage = "", .summary = "", .about = "", .examples = {}, .output = ""});
  line.add_config(config, {.sections = {name}});
  return line.section_help(name, width);
}

std::string presets_help() {
  std::string text =
      "Named settings, for --preset. --preset auto, the default, takes the one that fits "
      "--dataset.\n";
  for (const Preset& preset : presets())
    text += "\n" + bold(preset.name) + ": " + std::string(preset.summary) +
            (preset.base.empty() ? "\n" : "; changes " + std::string(preset.base) + "\n") +
            dim(preset.toml.substr(1));
  return text;
}

std::string losses_help(int width) {
  std::string text =
      "Losses for --loss, with the keys of [loss] that they look at and what auto means for "
      "them.\n";
  for (const LossKind& kind : loss_kinds()) {
    text += "\n" + bold(std::string(kind.name)) + ": " + std::string(kind.about) + "\n";
    std::string keys;
    for (const std::string_view key : kind.keys) {
      keys += (keys.empty() ? "" : ", ") + std::string(key);
      if (key == "proxies") keys += " " + std::to_string(kind.proxies);
      if (key == "sigma") keys += " " + shortest(kind.sigma);
      if (key == "margin") keys += " " + shortest(kind.margin);
    }
    text += "  " + join(wrap(keys, width - 2), "\n  ") + "\n";
  }
  return text;
}

std::vector<std::string> section_names() {
  std::vector<std::string> names;
  ConfigTable table;
  for (const Settings::Section& section : table.settings().sections())
    names.push_back(section.name);
  return names;
}

std::string topics_list() {
  std::string text = bold("proxent help") + " <topic>\n\n";
  std::vector<std::string> names;
  for (const Command& command : commands()) names.emplace_back(command.name);
  text += "  commands   " + join(names, ", ") + "\n";
  names.clear();
  for (const std::string& section : section_names()) names.push_back(section);
  text += "  settings   " + join(names, ", ") + "\n";
  names = {"presets", "metrics", "exit-codes"};
  for (const Topic& topic : kTopics)
    if (topic.name != "loss") names.emplace_back(topic.name);
  return text + "  topics     " + join(names, ", ") + "\n";
}

std::vector<std::string> all_names() {
  std::vector<std::string> names = {"presets", "metrics", "exit-codes"};
  for (const Command& command : commands()) names.emplace_back(command.name);
  for (const Topic& topic : kTopics) names.emplace_back(topic.name);
  for (const std::string& section : section_names()) names.push_back(section);
  return names;
}

}  // namespace

int help_command(const Arguments& arguments) {
  const int width = std::min(terminal_on(Stream::out).columns(), 100);
  if (arguments.empty() || arguments[0] == "-h" || arguments[0] == "--help") {
    print_out(arguments.empty() ? overview() + "\n" + topics_list() : topics_list());
    return kDone;
  }
  std::string name = arguments[0];
  if (name == "losses" || name == "metric") name = name == "losses" ? "loss" : "metrics";
  std::string page;
  for (const Topic& topic : kTopics)
    if (topic.name == name) page += wrapped(std::string(topic.text), width);
  if (name == "loss") page += "\n" + losses_help(width);
  if (name == "metrics") page += metrics_explanation();
  if (name == "presets") page += presets_help();
  if (name == "exit-codes") page += exit_code_help();
  for (const std::string& section : section_names())
    if (section == name && name != "data")
      page += (page.empty() ? "" : "\n") + section_help(name, width);
  if (!page.empty()) {
    print_out(page);
    return kDone;
  }
  const auto names = all_names();
  check<UsageError>(std::find(names.begin(), names.end(), name) != names.end(), "no help on '",
                    name, "'.", suggestion(name, names), " (proxent help)");
  if (name == "data") print_out(section_help(name, width) + "\n");
  return command_named(name).run({"--help"});
}

}  // namespace proxent
