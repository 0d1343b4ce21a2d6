#include <optional>

#include "train/command.h"
#include "train/command_line.h"
#include "train/cross_validation.h"
#include "train/exit_code.h"

namespace proxent {

int cv_command(const Arguments& arguments) {
  Config config;
  std::optional<std::int64_t> folds;
  std::int64_t seeds = 5;
  CommandLine line(
      {.name = "cv",
       .usage = "[--folds F] [--seeds S] [flags of train]",
       .summary = "the same training over seeds and class-disjoint folds, with intervals",
       .about = "One run says little: seeds alone differ by a point. Trains the same configuration "
                "with S seeds and tells mean, standard deviation and the 95 % interval of every "
                "metric on the test split. With folds the training classes are cut into F parts "
                "without a common class; F models each leave one out, which chooses their epoch "
                "(protocol mlrc), and are judged separately and with their embeddings "
                "concatenated. Give the same command again after a stop, or with more seeds: what "
                "is finished is not repeated.",
       .examples = {{"proxent cv --seeds 3", "the demo with seeds 1, 2 and 3"},
                    {"proxent cv --folds 4 --seeds 10 --preset cub-cpu --data cub",
                     "A Metric Learning Reality Check: 40 runs"},
                    {"proxent cv --seeds 5 --protocol last --out runs/k4 --proxies 4",
                     "one line of an ablation"},
                    {"proxent report table runs/k1 runs/k4", "several lines beside each other"}},
       .output =
           "The table on stdout. A folder runs/DATE_NAME_cv with a run's folder for each seed "
           "and fold, table.md, table.tex, table.csv and cv.json."});
  line.settings().add("folds", &folds,
                      "class-disjoint folds; 1: none; auto: those of --fold with --protocol mlrc, "
                      "else 1",
                      {.range = between(1, 100)});
  line.settings().add("seeds", &seeds, "how many: --seed and those after it",
                      {.range = between(1, 1000)});
  line.add_config(config,
                  {.sections = {"data", "batch", "model", "loss", "optim", "run", "log", "debug"},
                   .has_auto_preset = true});
  if (!line.parse(arguments)) return kDone;
  const std::int64_t usual = config.run.protocol == "mlrc" ? fold_of(config.run).count : 1;
  return run_cross_validation(config, {.folds = folds.value_or(usual), .seeds = seeds}, arguments);
}

}  // namespace proxent
