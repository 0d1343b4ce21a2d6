#include <fmt/format.h>

#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/terminal.h"
#include "train/version.h"

namespace proxent {

int version_command(const Arguments& arguments) {
  bool is_json = false;
  CommandLine line({.name = "version",
                    .usage = "[--json]",
                    .summary = "version, commit, compiler and libraries",
                    .about = {},
                    .examples = {{"proxent version --json", "one JSON object, as run.json has it"}},
                    .output = {}});
  add_json(line.settings(), &is_json);
  if (!line.parse(arguments)) return kDone;
  Json json = version_json();
  if (is_json) {
    print_out(json.text(2) + "\n");
    return kDone;
  }
  print_out(bold("proxent") + " " + version_text() + "\n");
  for (const auto& [name, value] : json.members())
    if (name != "version" && name != "commit")
      print_out(fmt::format("  {:<14}{}\n", name, value.is_null() ? "no" : value.plain()));
  return kDone;
}

}  // namespace proxent
