#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/run.h"

namespace proxent {

int train_command(const Arguments& arguments) {
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
                    {"proxent train --dry-run", "check data, memory and disk, then stop"},
                    {"proxent train --resume runs/2026-11-23_cub",
                     "go on where a run was stopped"}},
       .output =
           "A folder runs/DATE_NAME with config.toml, run.json (all results), train.jsonl and "
           "eval.jsonl (curves), metrics.csv, log.txt and ckpt/*.safetensors. Messages go to "
           "stderr."});
  line.add_config(config,
                  {.sections = {"data", "batch", "model", "loss", "optim", "run", "log", "debug"},
                   .has_auto_preset = true});
  if (!line.parse(arguments)) return kDone;
  return run_training(config, arguments);
}

}  // namespace proxent
