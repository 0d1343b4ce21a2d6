// Compares an op's gradients with central differences in float64. Serves our ops and any that users
// write.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace proxent {

struct GradcheckOptions {
  double step = 1e-6;       // of the central difference, relative to max(1, |x|)
  double tolerance = 1e-6;  // of |difference - gradient| / max(1, |gradient|)
  std::uint64_t seed = 0;   // of the weights below
};

struct GradcheckResult {
  double largest_error = 0;      // relative as above
  int input = -1;                // where it is: number of the input ...
  std::int64_t element = -1;     // ... and of its element
  double expected = 0, got = 0;  // central difference and gradient there
  bool passed = true;

  std::string text() const;
};

using DifferentiableFunction = std::function<Variable(const std::vector<Variable>&)>;

// Checks d(sum_j w_j y_j)/dx for y = f(inputs) with random weights w (a plain sum would hide errors
// where it is constant, as for softmax). Inputs must be f64; f may return any shape. Throws what f
// throws.
GradcheckResult gradcheck(const DifferentiableFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});

}  // namespace proxent
