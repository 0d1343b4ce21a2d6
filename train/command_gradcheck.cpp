#include <fmt/format.h>

#include <algorithm>

#include "tensor/check.h"
#include "train/clock.h"
#include "train/command.h"
#include "train/command_line.h"
#include "train/exit_code.h"
#include "train/json.h"
#include "train/op_table.h"
#include "train/table.h"
#include "train/terminal.h"
#include "train/text.h"

namespace proxent {
namespace {

std::string shapes_text(const OpRow& row) {
  std::string text;
  for (const Shape& shape : row.inputs) {
    if (!text.empty()) text += " ";
    text += "(";
    for (int i = 0; i < shape.rank(); ++i) text += (i ? "," : "") + std::to_string(shape[i]);
    text += ")";
  }
  return text;
}

// Rows whose name contains one of the words; all without words.
std::vector<const OpRow*> chosen_rows(const std::vector<std::string>& words) {
  std::vector<const OpRow*> rows;
  for (const OpRow& row : op_table()) {
    const bool is_chosen =
        words.empty() || std::any_of(words.begin(), words.end(), [&](const std::string& word) {
          return row.name.find(word) != std::string::npos;
        });
    if (is_chosen) rows.push_back(&row);
  }
  if (rows.empty()) {
    std::vector<std::string> names;
    for (const OpRow& row : op_table()) names.push_back(row.name);
    fail<UsageError>("no op is called '", join(words, "', '"), "'.",
                     suggestion(words.front(), names), " (proxent gradcheck)");
  }
  return rows;
}

}  // namespace

int gradcheck_command(const Arguments& arguments) {
  std::vector<std::string> words;
  bool is_json = false;
  CommandLine line(
      {.name = "gradcheck",
       .usage = "[OP...] [flags]",
       .summary = "every derivative against finite differences",
       .about = "Computes each op of the table on random float64 inputs and compares the gradient "
                "of a randomly weighted sum of its outputs with central differences. The error is "
                "|difference - gradient| / max(1, |gradient|).",
       .examples = {{"proxent gradcheck", "the whole table"},
                    {"proxent gradcheck conv softmax", "ops with these words in their names"}},
       .output = "A table on stdout. Exit code 1 if an op fails."});
  line.positional("OP", &words, "only ops whose name contains this", false);
  add_json(line.settings(), &is_json);
  if (!line.parse(arguments)) return kDone;

  const Stopwatch watch;
  Table table("gradcheck, float64");
  table.head({"op", "inputs", "largest error", "allowed", ""}).align_right(2).align_right(3);
  Json ops = Json::array();
  int failed = 0;
  const auto rows = chosen_rows(words);
  for (const OpRow* row : rows) {
    const GradcheckResult result =
        gradcheck(row->call, op_inputs(*row, DType::f64), {.tolerance = row->gradient_tolerance});
    failed += !result.passed;
    table.row({row->name, shapes_text(*row), fmt::format("{:.1e}", result.largest_error),
               rounded(row->gradient_tolerance, 2), result.passed ? green("ok") : red("WRONG")});
    ops.push_back(Json::object({{"op", row->name},
                                {"largest_error", result.largest_error},
                                {"tolerance", row->gradient_tolerance},
                                {"passed", result.passed}}));
  }
  const double seconds = watch.seconds();
  if (is_json) {
    print_out(Json::object({{"ops", ops}, {"failed", failed}}).text(2) + "\n");
  } else {
    const std::string verdict =
        failed ? red(fmt::format("{} of {} ops are wrong", failed, rows.size()))
               : green(fmt::format("{} ops are right", rows.size()));
    print_out(table.text(terminal_on(Stream::out).columns()) + verdict + ", " +
              human_seconds(seconds) + "\n");
  }
  return failed ? kFailed : kDone;
}

}  // namespace proxent
