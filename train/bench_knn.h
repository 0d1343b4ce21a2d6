// `proxent bench knn`: time and memory of ranking a gallery exactly, the work that
// bench/numpy_knn.py does with NumPy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/retrieval.h"

namespace proxent {

struct BenchKnnOptions {
  // The test half of Stanford Online Products.
  std::int64_t rows = 60502, dim = 512, classes = 11316;
  std::vector<std::int64_t> recall_at = {1, 10, 100, 1000};
  std::int64_t repeats = 1;
  Device device = Device::cpu;
};

struct BenchKnnResult {
  double seconds = 0;               // of the fastest repeat
  double gflops = 0;                // 2 rows^2 dim / seconds
  std::int64_t peak_bytes = 0;      // of tensors on the device, the embeddings included
  std::int64_t peak_rss_bytes = 0;  // of the whole process
  RetrievalResult retrieval;
};

// Normal noise around a normal centre per class, so that about two nearest neighbours of three are
// right at the default sizes; classes in turn.
BenchKnnResult bench_knn(const BenchKnnOptions& options);

// One JSON object, one line.
std::string to_json(const BenchKnnOptions& options, const BenchKnnResult& result);
// For a person.
std::string to_text(const BenchKnnOptions& options, const BenchKnnResult& result);

}  // namespace proxent
