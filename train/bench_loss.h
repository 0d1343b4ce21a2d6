// `proxent bench loss`: the fused multi-proxy entropy loss beside its composed twin, forward and
// backward, in turns so that both see the same machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "losses/multi_proxy_entropy.h"

namespace proxent {

struct BenchLossOptions {
  std::int64_t batch = 128, classes = 11318, proxies = 2, dim = 512;
  std::int64_t rounds = 9;   // timed, each of both forms
  std::int64_t warm_up = 2;  // not timed
  // Where not empty, the inputs are written there, as safetensors: "embeddings" (B, D), "proxies"
  // (C, K, D) and "labels" (B) i32.
  std::string start_file = {};
  Device device = Device::cpu;
  MultiProxyEntropyOptions loss = {};
};

struct BenchLossTimes {
  double ms_median = 0, ms_min = 0, ms_max = 0;  // wall clock of one forward and backward
  // Most tensor bytes beside the inputs at any time, the gradients of both inputs included.
  std::int64_t peak_bytes = 0;
  double loss = 0;
};

struct BenchLossResult {
  BenchLossTimes fused, composed;
  double ratio = 0, ratio_min = 0, ratio_max = 0;  // composed / fused within a round; median
  std::int64_t matrix_bytes = 0;                   // one (B, CK) matrix
  std::int64_t gradient_bytes = 0;                 // dz and dw
  double gradient_difference = 0;  // largest |fused - composed| / largest |composed|, of dz and dw
};

// float32, random normal inputs from one seed. Throws UsageError for sizes below 1.
BenchLossResult bench_loss(const BenchLossOptions& options = {});

// One JSON object, one line.
std::string to_json(const BenchLossOptions& options, const BenchLossResult& result);
// For a person.
std::string to_text(const BenchLossOptions& options, const BenchLossResult& result);

}  // namespace proxent
