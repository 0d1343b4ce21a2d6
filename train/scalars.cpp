#include "train/scalars.h"

namespace proxent {
namespace {

void collect(const std::string& tag, const Json& json, Scalars& scalars) {
  if (const auto number = json.number()) scalars.emplace_back(tag, *number);
  if (!json.is_object()) return;
  for (const auto& [name, value] : json.members()) {
    if (name == "step" || name.ends_with("_of_class")) continue;
    std::string below = tag;
    if (name != "metrics") below.append("/").append(name);
    collect(below, value, scalars);
  }
}

Scalars scalars_below(const std::string& tag, const Json& line) {
  Scalars scalars;
  collect(tag, line, scalars);
  return scalars;
}

}  // namespace

Scalars scalars_of_step(const Json& line) { return scalars_below("train", line); }

Scalars scalars_of_eval(const Json& line) {
  const Json* split = line.find("split");
  std::string tag = split ? split->plain() : "eval";
  if (const Json* selection = line.find("selection")) tag += " " + selection->plain();
  return scalars_below(tag, line);
}

bool are_of_eval(const Scalars& scalars) {
  return !scalars.empty() && !scalars.front().first.starts_with("train/");
}

}  // namespace proxent
