// The numbers of a log's line by their place, which is what TensorBoard and a report's curves call
// them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/json.h"

namespace proxent {

using Scalars = std::vector<std::pair<std::string, double>>;  // tag and value

// Of a line of train.jsonl: "train/loss/total". Without the step, and without what there is of each
// class: of thousands nobody wants a curve each.
Scalars scalars_of_step(const Json& line);
// Of a line of eval.jsonl: "val/R@1", and of weights chosen by the very set that is reported
// "test test-selected/R@1".
Scalars scalars_of_eval(const Json& line);
// Whether they are of such a line, not of a step's.
bool are_of_eval(const Scalars& scalars);

}  // namespace proxent
