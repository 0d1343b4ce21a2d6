// The table of all differentiable ops. One row buys three proofs: a gradient check in float64,
// float32 against the float64 reference, and PyTorch's golden values. `proxent gradcheck` prints
// it.
#pragma once

#include <string>
#include <vector>

#include "autograd/gradcheck.h"

namespace proxent {

using OpInputs = std::vector<Variable>;

struct OpRow {
  std::string name;  // unique; goldens are filed under it
  std::vector<Shape> inputs;
  double low, high;  // range of the inputs; chosen to avoid kinks and poles
  DifferentiableFunction call;
  double gradient_tolerance = 1e-6;  // of gradcheck; a larger one has its reason beside it
  std::int64_t terms = 1;  // summands behind one output: float32 may be off by sqrt(terms) ulps
  bool has_golden = true;  // make_golden.py has a row of the same name
  // Inputs that stay f32 where the others have a dtype of two bytes.
  std::vector<std::size_t> parameters = {};
};

const std::vector<OpRow>& op_table();

// The row's inputs, uniform in its range, from the row's name: the same on every machine.
std::vector<Tensor> op_inputs(const OpRow& row, DType dtype);

}  // namespace proxent
