// A copy of what a step changes besides weights, moments and gradients: running statistics, running
// use of proxies, remembered embeddings, averaged weights. With it a step that went wrong leaves no
// trace.
#pragma once

#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

class KeptTensors {
 public:
  // Tensors that share memory with their owners.
  explicit KeptTensors(std::vector<Tensor> live);

  void keep();     // their elements as they are now
  void restore();  // their elements as they were kept

 private:
  std::vector<std::pair<Tensor, Tensor>> pairs_;  // live, kept
};

}  // namespace proxent
