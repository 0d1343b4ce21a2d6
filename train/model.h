// From a configuration to a model ready to train: backbone, head, initial values.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "layers/embedding.h"
#include "train/config.h"

namespace proxent {

// The model that config.model describes, initialised from `seed`. Throws UsageError for a name it
// does not know.
std::unique_ptr<EmbeddingModel> build_model(const ModelConfig& config, std::uint64_t seed);
// The same on Device::meta: shapes without values, which take no memory.
std::unique_ptr<EmbeddingModel> build_shapes(const ModelConfig& config);

// model.recompute's "none", "relu" or "block". Throws UsageError for another name.
Recomputation recomputation_of(const std::string& name);

// Lets every residual block whose branch has a parameter named in `fresh` (paths of randomly
// initialised parameters) start as its shortcut: its last gamma becomes 0, so that a network with
// some pretrained layers missing still passes on what the others see. Returns the paths of those
// blocks.
std::vector<std::string> start_blocks_as_identity(Module& model,
                                                  const std::vector<std::string>& fresh);

// Stops training of every parameter below one of these modules ("conv1", "layer1"). Throws
// UsageError for a name that matches nothing.
void freeze(Module& model, const std::vector<std::string>& modules);

}  // namespace proxent
