#include <filesystem>
#include <optional>

#include "train/atomic_file.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/run.h"

namespace proxent {

namespace {

// The configuration that the arguments ask for over `base`; nothing if a help page was.
std::optional<Config> read_config(const Arguments& arguments, std::string_view base = {},
                                  std::string_view base_name = {}) {
  Config config;
  CommandLine line(
      {.name = "train",
       .usage = "[flags]",
       .summary = "train a network to retrieve, or go on with a run",
       .about = "Learns embeddings in which pictures of one class lie together, on the classes of "
                "the training split, and measures them on classes it never saw. Without flags it "
                "trains on letters drawn from this machine's fonts.",
       .examples = {{"proxent train", "the demo: letters, a few minutes on two cores"},
                    {"proxent train --data pictures --epochs 20",
                     "your own pictures, a folder per class"},
                    {"proxent train --preset cub-cpu --data cub --weights resnet18.safetensors",
                     "birds, from ImageNet weights"},
                    {"proxent train -c my.toml --lr 3e-4 --seed 2",
                     "a file's settings, two of them changed"},
                    {"proxent train --dry-run", "try data, memory and disk, then stop"},
                    {"proxent train --resume runs/2026-11-23_cub",
                     "go on where a run was stopped"}},
       .output =
           "A folder runs/DATE_NAME with config.toml, run.json (all results), train.jsonl and "
           "eval.jsonl (curves), metrics.csv, log.txt and ckpt/*.safetensors. Messages go to "
           "stderr."});
  line.add_config(config,
                  {.sections = {"data", "batch", "model", "loss", "optim", "run", "log", "debug"},
                   .has_auto_preset = true});
  if (!line.read(arguments) || !line.apply(base, base_name)) return std::nullopt;
  return config;
}

}  // namespace

int train_command(const Arguments& arguments) {
  std::optional<Config> config = read_config(arguments);
  if (!config) return kDone;
  if (const auto state = state_to_resume(config->run); !state.empty()) {
    const auto folder = state.parent_path().parent_path();
    check<UsageError>(config->run.resume == "auto" || config->run.out.empty() ||
                          std::filesystem::weakly_canonical(config->run.out) ==
                              std::filesystem::weakly_canonical(folder),
                      "run.out: a run goes on in its own folder, ", folder.string(), ", not in ",
                      config->run.out, ". Leave out --out, or copy the folder");
    // A run goes on with its own configuration; only what is given anew differs.
    const auto own = folder / "config.toml";
    Arguments over_own = arguments;
    over_own.insert(over_own.end(), {"--preset", "none"});
    config = read_config(over_own, read_text(own), own.string());
  }
  return run_training(*config, arguments);
}

}  // namespace proxent
