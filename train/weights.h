// Weights of a module tree as named tensors in torchvision's names and layout: convolution kernels
// are KRSC in memory (out, height, width, in) and OIHW in files (out, in, height, width).
#pragma once

#include <string>
#include <vector>

#include "autograd/module.h"
#include "train/safetensors.h"

namespace proxent {

// Trees whose names share one file: the model, and the loss that owns the proxies.
using Modules = std::vector<Module*>;

struct LoadOptions {
  std::string origin = "weights";  // the file's name, for messages
  bool is_partial = false;         // accept missing, unexpected and mis-shaped tensors
  // Below these paths tensors may be missing (a new head), or may be in the file without a place in
  // the tree (a classifier, another run's proxies and their usage), without being refused.
  std::vector<std::string> may_be_missing = {};
  std::vector<std::string> may_be_unused = {"fc", "last_linear", "proxies", "usage"};
};

struct LoadReport {
  struct Mismatch {
    std::string name, expected, found;
  };
  std::string origin;
  std::int64_t loaded = 0, expected = 0;  // tensors
  std::vector<std::string> missing;       // in the tree, not in the file
  std::vector<std::string> unexpected;    // in the file, not in the tree
  std::vector<Mismatch> misshaped;        // in both, but shape or kind of number differ
  std::vector<std::string> unused;        // in the file, not in the tree, and may be
  std::int64_t trailing_bytes = 0;        // of the file, behind its last tensor

  // What kept its former value: missing and misshaped names. The caller initialises and names them.
  std::vector<std::string> not_loaded() const;
  // One line, then a list for each of the above that is not empty.
  std::string text() const;
};

// Copies `tensors` into the trees' parameters and buffers, converted to their dtype. Of each name
// in the file the prefixes module. model. backbone. encoder. _orig_mod. are dropped, one by one,
// until the tree knows it; num_batches_tracked is ignored. Throws DataError, and changes nothing,
// - naming everything that does not fit, unless is_partial;
// - if two names mean the same tensor, if a value is not finite, if nothing fits at all.
LoadReport load_weights(const Modules& trees, const TensorMap& tensors,
                        const LoadOptions& options = {});
// The same from a safetensors file of any origin, or one of PyTorch (train/pth.h).
LoadReport load_weights(const Modules& trees, const std::filesystem::path& path,
                        LoadOptions options = {});

// Copies of the trees' parameters and buffers as files hold them. Beside every running_mean stands
// the num_batches_tracked that PyTorch's strict loading asks for, always 0: it has no effect there
// while BatchNorm's momentum is a number.
TensorMap weights_of(const Modules& trees);

}  // namespace proxent
