#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"

namespace proxent {

int eval_command(const Arguments& arguments) {
  Config config;
  std::string checkpoint;
  bool is_json = false;
  CommandLine line(
      {.name = "eval",
       .usage = "CHECKPOINT [flags]",
       .summary = "Recall@K, MAP@R and R-precision of a checkpoint or of embeddings",
       .about = {},
       .examples = {{"proxent eval runs/2026-11-23_cub", "the chosen weights of a run"}},
       .output = {}});
  line.positional("CHECKPOINT", &checkpoint, "run folder or .safetensors file");
  line.settings().add("json", &is_json, "print one JSON object on stdout");
  line.add_config(config, {.sections = {"data", "run", "log"}});
  if (!line.parse(arguments)) return kDone;
  fail("eval: not in this build");
}

}  // namespace proxent
