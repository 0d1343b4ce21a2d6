// What a data set is made of: its classes, their sizes, and the shapes of its pictures.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace proxent {

template <class T>
struct Spread {
  T least{}, median{}, most{};  // the lower of the two middle ones; zeros without values
};

struct PartStats {
  struct Bin {  // of pictures per class, both ends included
    std::int64_t low = 0, high = 0, classes = 0;
  };
  // Width / height below each of these, and at least the last.
  static constexpr std::array<double, 6> kAspects{0.5, 2. / 3, 0.9, 1 / 0.9, 1.5, 2};

  std::string role;  // train, validation, test
  std::int64_t pictures = 0, classes = 0, queries = 0, gallery = 0;
  std::int64_t unreadable = 0;  // headers; left out of all that follows the categories
  Spread<std::int64_t> per_class{};
  std::vector<Bin> per_class_bins{};                 // at most ten of one width
  std::map<std::string, std::int64_t> categories{};  // pictures of each; empty: there are none
  Spread<std::int64_t> width{}, height{};            // of the box where a picture has one
  Spread<double> aspect{};
  std::array<std::int64_t, kAspects.size() + 1> aspect_bins{};

  // Some lines for a person, with histograms of '#'.
  std::string to_text() const;
};

// Of every part that is not empty. Reads the pictures' headers, with several threads (0: as many as
// the machine has).
std::vector<PartStats> dataset_stats(const DatasetSplits& splits, int threads = 0);

}  // namespace proxent
