// `proxent bench layers`: how near each layer of a ResNet and its embedding comes to what the
// device could do. Every distinct layer is timed alone, in each direction, beside ceilings that are
// measured in the same run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/device.h"

namespace proxent {

struct BenchLayersOptions {
  std::string arch = "resnet50";  // resnet18 ... resnet152
  std::int64_t size = 224;        // image height and width
  std::int64_t batch = 128;
  std::int64_t dim = 512;         // of the embedding
  std::string precision = "f32";  // f32, tf32, bf16, fp16
  std::int64_t rounds = 11;       // timed calls of each, of which the median counts
  std::int64_t engines = 0;       // time so many of the libraries' engines; 0: their own ranking
  Device device = Device::cpu;
};

// What the device does at most, as a plain copy and a square matrix product reach it.
struct Ceilings {
  double bytes_per_second = 0;  // read and written
  double flop_per_second = 0;
  std::int64_t copied_bytes = 0;  // of the copy that reached it
  std::int64_t matmul_size = 0;   // n of the (n, n) product
};

// One direction of a layer.
struct LayerTime {
  std::string layer;  // "56x56x64 > 64, 3x3"
  // "conv", "conv dx", "conv dw", "norm", "norm back", "pool", "pool back", "linear", "linear dx",
  // "linear dw"
  std::string direction;
  std::int64_t calls = 0;  // per training step
  double seconds = 0;      // of one call
  // Of one call: what must move if each pass over the tensors reads and writes each operand once.
  // All are one pass but a batch norm, which is two, statistics or sums and then the result, for
  // none of the result can be known before all of the input has been read.
  std::int64_t bytes = 0;
  std::int64_t flop = 0;  // of one call; 2 per multiply-add, 0 for batch norms and pools
  // The least time of one call: max(bytes / bandwidth, FLOP / peak).
  double floor_seconds = 0;
  bool is_bound_by_flop = false;

  double share() const { return floor_seconds / seconds; }  // of the roofline
};

struct BenchLayersResult {
  Ceilings ceilings;
  std::vector<LayerTime> layers;
  std::vector<LayerTime> sums;  // per direction, then of all: seconds, bytes ... of a whole step
};

// Random inputs from one seed. Throws UsageError for sizes below 1, another architecture, and a
// precision that the device does not have.
BenchLayersResult bench_layers(const BenchLayersOptions& options);

// One JSON object, one line.
std::string to_json(const BenchLayersOptions& options, const BenchLayersResult& result);
// A table for a person, at most `width` columns wide.
std::string to_text(const BenchLayersOptions& options, const BenchLayersResult& result, int width);

}  // namespace proxent
