// `proxent bench loader`: how many pictures per second the data can feed to training.
#pragma once

#include <cstdint>
#include <string>

#include "train/config.h"

namespace proxent {

struct BenchLoaderOptions {
  std::int64_t batches = 20, warm_up = 2;
};

struct BenchLoaderResult {
  std::string data, transform, decoder;  // what was loaded, and how
  std::int64_t batch = 0, batches = 0;
  double seconds = 0, img_s = 0;
};

// Training batches of the configured data set, augmented and normalised. Throws what opening and
// loading it throws.
BenchLoaderResult bench_loader(const Config& config, const BenchLoaderOptions& options);

// One JSON object, one line.
std::string to_json(const BenchLoaderResult& result);
// For a person.
std::string to_text(const BenchLoaderResult& result);

}  // namespace proxent
