#include "tensor/check.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

int bench_step(const Arguments&) { fail("bench step: not in this build"); }
int bench_loss(const Arguments&) { fail("bench loss: not in this build"); }
int bench_knn(const Arguments&) { fail("bench knn: not in this build"); }
int bench_loader(const Arguments&) { fail("bench loader: not in this build"); }

const std::vector<Command>& benches() {
  static const std::vector<Command> all = {
      {"step", "a training step: forward, loss, backward, optimizer", bench_step},
      {"loss", "the multi-proxy entropy loss, fused beside composed", bench_loss},
      {"knn", "exact search of the nearest neighbours, as eval does it", bench_knn},
      {"loader", "reading, decoding and transforming pictures", bench_loader},
  };
  return all;
}

}  // namespace

int bench_command(const Arguments& arguments) {
  std::vector<std::string> names;
  std::string page = bold("proxent bench") + ": time the parts of a run\n\n" + bold("usage") +
                     ": proxent bench <what> [flags]\n\n";
  for (const Command& bench : benches()) {
    if (!arguments.empty() && bench.name == arguments[0])
      return bench.run({arguments.begin() + 1, arguments.end()});
    names.emplace_back(bench.name);
    page += "  " + padded(bench.name, 10) + std::string(bench.summary) + "\n";
  }
  page += "\nEach takes --json for one JSON object on stdout, and --help.\n";
  const bool wants_help = !arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h");
  check<UsageError>(arguments.empty() || wants_help, "bench: expected ", one_of(names), ", got '",
                    arguments.empty() ? "" : arguments[0], "'.",
                    suggestion(arguments.empty() ? "" : arguments[0], names));
  print_out(page);
  return wants_help ? kDone : kUsageError;
}

}  // namespace proxent
