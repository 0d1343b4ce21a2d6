// The commands of the binary. Each takes the words after its name and returns an exit code; wrong
// input is thrown as an Error. Tests call them in-process.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace proxent {

using Arguments = std::vector<std::string>;

int train_command(const Arguments& arguments);
int cv_command(const Arguments& arguments);      // several seeds and folds, one table
int report_command(const Arguments& arguments);  // report table
int eval_command(const Arguments& arguments);
int embed_command(const Arguments& arguments);
int inspect_command(const Arguments& arguments);
int data_command(const Arguments& arguments);   // data check, stats, convert, preview
int bench_command(const Arguments& arguments);  // bench step, layers, loss, knn, loader
int doctor_command(const Arguments& arguments);
int gradcheck_command(const Arguments& arguments);
int version_command(const Arguments& arguments);
int help_command(const Arguments& arguments);

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(const Arguments&);
};
const std::vector<Command>& commands();
// Throws UsageError with the nearest name.
const Command& command_named(std::string_view name);
// What `proxent --help` prints.
std::string overview();

// Runs the first argument's command. Errors are printed on stderr, one message with what to do
// (and with -v where it arose), and become exit codes.
int run_binary(const Arguments& arguments);

}  // namespace proxent
