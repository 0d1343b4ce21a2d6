#include "train/command.h"
#include "train/command_line.h"
#include "train/describe.h"
#include "train/exit_code.h"
#include "train/terminal.h"

namespace proxent {

int inspect_command(const Arguments& arguments) {
  std::vector<std::string> files;
  CommandLine line({.name = "inspect",
                    .usage = "FILE...",
                    .summary = "what is in a file that proxent reads or writes",
                    .about = {},
                    .examples = {{"proxent inspect runs/2026-11-23_cub/ckpt/best.safetensors",
                                  "its tensors, and the run it comes from"}},
                    .output = {}});
  line.positional(
      "FILE", &files,
      "safetensors, state, .pth, .npy, IDX, .mat, TensorBoard events, picture, font or text");
  if (!line.parse(arguments)) return kDone;
  for (const std::string& file : files) print_out(describe_file(file));
  return kDone;
}

}  // namespace proxent
