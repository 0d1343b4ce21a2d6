#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"

namespace proxent {

int embed_command(const Arguments& arguments) {
  Config config;
  std::string checkpoint;
  bool is_json = false;
  CommandLine line(
      {.name = "embed",
       .usage = "CHECKPOINT [flags]",
       .summary = "pictures to embeddings: .npy and a CSV of paths and labels",
       .about = {},
       .examples = {{"proxent embed runs/2026-11-23_cub", "with the chosen weights of a run"}},
       .output = {}});
  line.positional("CHECKPOINT", &checkpoint, "run folder or .safetensors file");
  line.settings().add("json", &is_json, "print one JSON object on stdout");
  line.add_config(config, {.sections = {"data", "run", "log"}});
  if (!line.parse(arguments)) return kDone;
  fail("embed: not in this build");
}

}  // namespace proxent
