#include <filesystem>
#include <optional>

#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/input_file.h"
#include "train/resuming.h"
#include "train/run.h"

namespace proxent {

namespace {

struct Reading {
  Config config;
  std::string out_from;  // who gave run.out: "--out", a file's name; empty: nobody
};

// What the arguments ask for over `base`; nothing if that is a help page.
std::optional<Reading> read_config(const Arguments& arguments, bool is_first_look,
                                   std::string_view base = {}, std::string_view base_name = {}) {
  Reading reading;
  Config& config = reading.config;
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
                   .has_auto_preset = true,
                   .is_first_look = is_first_look});
  if (!line.read(arguments) || !line.apply(base, base_name)) return std::nullopt;
  reading.out_from = line.settings().find_key("run.out")->source;
  return reading;
}

// What the arguments ask for over the configuration of the run that they go on with.
std::optional<Reading> read_config_of_run(const Arguments& arguments, const Reading& asked,
                                          const std::filesystem::path& state) {
  namespace fs = std::filesystem;
  const fs::path folder = folder_of_state(state);
  const RunConfig& run = asked.config.run;
  const bool is_flag = asked.out_from.starts_with("-");
  check<UsageError>(run.resume == "auto" || !is_flag ||
                        fs::weakly_canonical(run.out) == fs::weakly_canonical(folder),
                    "--out: a run goes on in its own folder, ", folder.string(), ", not in ",
                    run.out, ". Leave out --out, or copy the folder");
  const fs::path own = folder / "config.toml";
  Arguments over_own = arguments;
  over_own.insert(over_own.end(), {"--preset", "none"});
  return read_config(over_own, false, read_text(own), own.string());
}

}  // namespace

int train_command(const Arguments& arguments) {
  // What goes together may be known only together with the run's own settings.
  std::optional<Reading> reading = read_config(arguments, true);
  if (!reading) return kDone;
  const auto state = state_to_resume(reading->config.run);
  reading = state.empty() ? read_config(arguments, false)
                          : read_config_of_run(arguments, *reading, state);
  if (!reading) return kDone;
  return run_training(reading->config, arguments);
}

}  // namespace proxent
