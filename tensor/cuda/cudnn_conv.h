// From the sizes of a convolution to execution plans of cuDNN. Needs no GPU, so that tests can ask
// for every layer of every network on every chip.
#pragma once

#include <array>
#include <cstdint>
#include <ostream>
#include <vector>

#include "tensor/conv.h"
#include "tensor/cuda/cudnn_graph.h"
#include "tensor/gpu_math.h"

namespace proxent::cudnn {

enum class ConvDirection : std::int64_t { forward, dx, dx_into, dw };
std::ostream& operator<<(std::ostream& out, ConvDirection direction);

// Everything that a plan depends on, beside the GPU. Members of 8 bytes only: keys are compared by
// their bytes.
struct ConvKey {
  ConvDirection direction;
  std::int64_t dtype;
  std::int64_t n, h, w, c, k, r, s;  // x (n, h, w, c) and weights (k, r, s, c)
  std::int64_t stride, padding;
  std::int64_t alignment;  // divides the addresses of all three tensors
  std::int64_t uses_tf32, is_deterministic, timed_engines, workspace_limit;

  ConvKey(ConvDirection direction, const Shape& x, const Shape& weights,
          const Conv2dOptions& options, DType dtype, std::int64_t alignment, const GpuMath& math);
  Shape x_shape() const { return {n, h, w, c}; }
  Shape weight_shape() const { return {k, r, s, c}; }
  Shape y_shape() const;
};
// "conv2d_dx of x (128, 56, 56, 64), w (64, 3, 3, 64), stride 1, padding 1 in bf16".
std::ostream& operator<<(std::ostream& out, const ConvKey& key);

// The tensors of a plan: x or dx, weights or dw, y or dy.
inline constexpr std::array<std::int64_t, 3> kConvTensors{'x', 'w', 'y'};
// The largest alignment that engines make use of, in bytes.
inline constexpr std::int64_t kBestAlignment = 16;

// The operation as a graph; sums in f32, or f64 for f64. Throws CudnnError where sizes do not fit.
Descriptor conv_graph(const ConvKey& key, const Target& target);

// True if the engine keeps to what the key asks for: TF32 and order of summation. Refused always:
// sums in 16 bits, and the transforms of Winograd and Fourier, which lose digits that f32 and the
// halves do not have to spare.
bool is_exact_enough(const EngineConfig& config, const ConvKey& key);

// The first `most` plans, at least one, in the order in which cuDNN's heuristics rank them (mode B,
// and its fallbacks where that leaves none); each needs at most key.workspace_limit. Throws
// CudnnError if there is none: it names sizes, dtype and GPU, and why every proposal fell away.
std::vector<ExecutionPlan> conv_plans(const ConvKey& key, const Target& target, std::size_t most);

}  // namespace proxent::cudnn
