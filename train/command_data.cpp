#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"

namespace proxent {

int data_command(const Arguments& arguments) {
  Config config;
  std::string action;
  bool is_json = false;
  CommandLine line(
      {.name = "data",
       .usage = "check [flags]",
       .summary = "check a data set before training on it",
       .about = "Opens every picture and tells what would harm a run: files that are missing or "
                "broken, equal pictures in training and test, classes in both or with one "
                "picture, queries without a match; and counts gray, CMYK, 16-bit, palette and "
                "EXIF-turned pictures.",
       .examples = {{"proxent data check --data pictures", "a folder per class, or lists"},
                    {"proxent data check --dataset glyphs", "the embedded letters"}},
       .output = "A report on stdout. Exit code 3 if a score on this data would be wrong."});
  line.positional("check", &action, "what to do");
  line.settings().add("json", &is_json, "print one JSON object on stdout");
  line.add_config(config, {.sections = {"data"}});
  if (!line.parse(arguments)) return kDone;
  check<UsageError>(action == "check", "data: expected check, got '", action, "'");
  fail("data check: not in this build");
}

}  // namespace proxent
