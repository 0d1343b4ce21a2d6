#include "train/command.h"

#include <algorithm>
#include <filesystem>

#include "tensor/check.h"
#include "train/exit_code.h"
#include "train/presets.h"
#include "train/terminal.h"
#include "train/text.h"
#include "train/version.h"

namespace proxent {
namespace {

bool has_word(const Arguments& arguments, std::string_view a, std::string_view b) {
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const std::string& word) { return word == a || word == b; });
}

std::string text_of(const std::exception& error, bool is_verbose) {
  // The first part is for users; trail and file:line are for those who look into the source.
  if (const auto* ours = dynamic_cast<const Error*>(&error))
    return is_verbose ? error.what() : ours->message();
  if (const auto* files = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return files->path1().string() + ": " + files->code().message();
  return exit_code_of(error) == kOutOfMemory ? "out of memory" : error.what();
}

int report_error(const std::exception& error, bool is_verbose) {
  const Terminal terminal = terminal_on(Stream::error);
  terminal.print(red("error:") + " " + text_of(error, is_verbose) + "\n");
  return exit_code_of(error);
}

int run(const Arguments& arguments) {
  if (arguments.empty() || arguments[0] == "-h" || arguments[0] == "--help") {
    print_out(overview());
    return arguments.empty() ? kUsageError : kDone;
  }
  if (arguments[0] == "--version") return version_command({});
  return command_named(arguments[0]).run({arguments.begin() + 1, arguments.end()});
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"train", "train a network to retrieve, or go on with a run", train_command},
      {"cv", "the same training over seeds and class-disjoint folds, with intervals", cv_command},
      {"eval", "Recall@K, MAP@R and R-precision of a checkpoint or of embeddings", eval_command},
      {"report", "finished runs in one table: Markdown, LaTeX or CSV", report_command},
      {"embed", "pictures to embeddings: .npy and a CSV of paths and labels", embed_command},
      {"inspect", "what is in a file that proxent reads or writes", inspect_command},
      {"data", "check, count, convert or preview a data set", data_command},
      {"bench", "time a training step, its layers, the loss, the search or the loader",
       bench_command},
      {"doctor", "what this machine and this binary can do", doctor_command},
      {"gradcheck", "every derivative against finite differences", gradcheck_command},
      {"version", "version, commit, compiler and libraries", version_command},
      {"help", "a command, a section of the configuration, or a topic explained", help_command},
  };
  return all;
}

const Command& command_named(std::string_view name) {
  std::vector<std::string> names;
  for (const Command& command : commands()) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  fail<UsageError>(name.starts_with("-") ? "expected a command before '" : "unknown command '",
                   name, "'.", suggestion(name, names), " (proxent --help)");
}

std::string overview() {
  std::string text = bold("proxent") + " " + version_text() +
                     ": image retrieval with the multi-proxy entropy loss\n\n" + bold("usage") +
                     ": proxent <command> [flags]\n\n" + bold("commands") + "\n";
  for (const Command& command : commands())
    text += "  " + padded(command.name, 12) + std::string(command.summary) + "\n";
  text += "\n" + bold("start here") + "\n";
  const std::pair<std::string, std::string> examples[] = {
      {"proxent train", "letters of this machine's fonts, a few minutes on two cores"},
      {"proxent train --dataset fashion-mnist", "photographs from Debian's dataset-fashion-mnist"},
      {"proxent train --data my/pictures", "your own: one folder per class"},
      {"proxent eval runs/...", "what a finished run can find"},
      {"proxent train --help", "every flag, with its default"},
  };
  for (const auto& [line, what] : examples) text += "  " + padded(line, 40) + dim(what) + "\n";
  text += "\n" + bold("presets") + " (--preset NAME)\n";
  for (const Preset& preset : presets())
    text += "  " + padded(preset.name, 20) + std::string(preset.summary) + "\n";
  return text + "\nMore: proxent help <topic> (config, loss, metrics, protocol, exit-codes ...)\n";
}

int run_binary(const Arguments& arguments) {
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    return report_error(error, has_word(arguments, "-v", "--verbose"));
  }
}

}  // namespace proxent
