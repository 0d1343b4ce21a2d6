// What training asks of a loss, whichever it is.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autograd/module.h"

namespace proxent {

class MetricLoss : public Module {
 public:
  using Module::Module;

  // The mean loss (), of embeddings (B, D) as the head gives them, under i32 labels (B). Throws
  // Error for shapes and dtypes that do not fit and, on the CPU, for labels out of range.
  virtual Variable operator()(const Variable& embeddings, const Tensor& labels) = 0;

  // A summand of the last loss: weight * value, where value is a tensor of one element.
  struct Term {
    std::string name;
    double weight = 1;
    Tensor value;
  };
  // All summands, always the same in the same order; none where the loss is of one piece.
  virtual std::vector<Term> terms() const { return {}; }
  // Names and weighted values of the terms, from values that were read of them elsewhere.
  std::vector<std::pair<std::string, double>> weighted_terms(std::span<const double> values) const;

  // The proxies (C, K, D), not normalised; null for a loss without any.
  virtual const Parameter* proxy_parameter() const { return nullptr; }
  // The inverse temperature of softmax_k(scale s_yk), the share of each proxy of its class in an
  // embedding.
  virtual double assignment_scale() const { return 18; }  // ProxyNCA++'s sigma, where there is none

  // Whether a GPU may record its work once and repeat it: nothing is uploaded, nothing read back.
  virtual bool is_recordable() const { return false; }
};

}  // namespace proxent
