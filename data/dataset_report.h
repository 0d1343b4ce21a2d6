// What is odd or wrong with a data set, found by looking at every picture.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace proxent {

struct DatasetReport {
  struct Unreadable {
    std::string path, reason;
  };
  struct Identical {  // two pictures of equal bytes
    std::string first, second;
    bool is_across_splits = false;  // a test picture was trained on
    bool is_evaluated = false;      // a query finds its copy, or one match twice
    bool has_other_class = false;
    // Twice in the training pictures of one class costs nothing but time.
    bool is_harmful() const { return is_across_splits || is_evaluated || has_other_class; }
  };

  struct Near {  // a picture and the one most like it in an earlier part, by perceptual hash
    std::string first, second;
    int bits = 0;  // of 64 that differ, at most kNearBits
    bool has_other_class = false;
  };

  std::int64_t pictures = 0;
  std::vector<Unreadable> unreadable;
  // Of the readable ones, by their file's header.
  std::int64_t gray = 0, palette = 0, alpha = 0, cmyk = 0, sixteen_bit = 0, exif_turned = 0;
  std::int64_t smallest_side = 0, largest_side = 0;  // pixels, 0 without pictures
  std::vector<std::string> lone_classes;             // with one picture, "train: name"
  std::vector<std::string> shared_classes;           // in more than one part under one name
  std::vector<Identical> identical;
  // Across splits and beside the identical ones: to be looked at, since a hash can be wrong.
  std::vector<Near> near;
  std::vector<std::string> queries_without_match;  // nothing of their class in the gallery: paths
  std::vector<std::string> impossible;  // why there can be no training or no score: "test: ..."

  // Nothing that falsifies or prevents training or a score: unreadable pictures, copies that are
  // harmful, shared classes, one class to train on, no query with a match.
  bool is_sound() const;
  // Some lines for a person; long lists are cut at `most` entries, with their count.
  std::string to_text(std::size_t most = 20) const;
};

// Decodes every picture with several threads (0: as many as the machine has).
DatasetReport check_datasets(const DatasetSplits& splits, int threads = 0);

}  // namespace proxent
