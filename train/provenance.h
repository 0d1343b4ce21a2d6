// What must stand beside every number so that it can be compared: how its weights were chosen, what
// the network saw, what an embedding is, and how many runs speak.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "train/config.h"
#include "train/selection.h"

namespace proxent {

// How the models of a class-disjoint cross-validation make one number.
enum class FoldUse : std::uint8_t {
  one,          // the number is of one model
  separated,    // the mean of the folds' models' numbers
  concatenated  // of their embeddings, each of length one, set end to end
};

// "val-selected (protocol val), resize 256, center crop 224, pool avg, 512 features, batch norm
// train, seeds 1-5, n=5". `seeds` are the runs whose numbers were averaged, so n is their count.
std::string provenance(const Config& config, Selection selection,
                       const std::vector<std::int64_t>& seeds, FoldUse use = FoldUse::one);
// Of an evaluation on the way: "val while training (protocol val), resize 256, ..., seed 7, n=1".
std::string provenance_on_the_way(const Config& config, std::string_view split);
// Of the network before any training: "untrained, resize 256, ..., seed 7, n=1".
std::string untrained_provenance(const Config& config);
// "plain pixels, resize 256, center crop 224, 150528 features, n=1"
std::string pixels_provenance(const Config& config, std::int64_t features);
// "seed 7", "seeds 1-3,8"; in ascending order.
std::string seeds_text(std::vector<std::int64_t> seeds);

}  // namespace proxent
