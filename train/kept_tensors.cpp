#include "train/kept_tensors.h"

namespace proxent {

KeptTensors::KeptTensors(std::vector<Tensor> live) {
  for (Tensor& tensor : live) {
    const Tensor copy = tensor.clone();
    pairs_.emplace_back(std::move(tensor), copy);
  }
}

void KeptTensors::keep() {
  for (auto& [live, kept] : pairs_) kept.copy_from(live);
}

void KeptTensors::restore() {
  for (auto& [live, kept] : pairs_) live.copy_from(kept);
}

}  // namespace proxent
