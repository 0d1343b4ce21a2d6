#include "tensor/cuda/cudnn_conv.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "tensor/window.h"

namespace proxent::cudnn {
namespace {

// cuDNN calls the same things by another name in each direction.
struct Operation {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, weights, y, convolution, alpha, beta;
};
constexpr Operation kForward{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
constexpr Operation kBackwardData{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                  CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
constexpr Operation kBackwardFilter{CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};

const Operation& operation_of(ConvDirection direction) {
  if (direction == ConvDirection::forward) return kForward;
  return direction == ConvDirection::dw ? kBackwardFilter : kBackwardData;
}

DType dtype_of(const ConvKey& key) { return static_cast<DType>(key.dtype); }

Descriptor convolution(const ConvKey& key) {
  using Pair = std::array<std::int64_t, 2>;
  const bool is_double = dtype_of(key) == DType::f64;
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
  convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE,
                  is_double ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT);
  convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  convolution.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Pair{key.stride, key.stride});
  convolution.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, Pair{1, 1});
  convolution.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Pair{key.padding, key.padding});
  convolution.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Pair{key.padding, key.padding});
  convolution.finalize();
  return convolution;
}

// Why there is no plan.
struct Refusals {
  int inexact = 0, too_large = 0, not_built = 0;
  std::int64_t least_workspace = std::numeric_limits<std::int64_t>::max();
  std::string last;  // of cuDNN

  std::string text(const ConvKey& key) const {
    using proxent::detail::concat;
    std::string text;
    if (inexact > 0) text += concat("; ", inexact, " are not as exact or repeatable as was asked");
    if (too_large > 0)
      text += concat("; ", too_large, " need more than ", key.workspace_limit,
                     " bytes of workspace, at least ", least_workspace);
    if (not_built > 0) text += concat("; ", not_built, " were not built: ", last);
    if (dtype_of(key) == DType::bf16) text += "; bf16 needs compute capability 8.0, f16 does not";
    return text;
  }
};

}  // namespace

std::ostream& operator<<(std::ostream& out, ConvDirection direction) {
  constexpr std::array<const char*, 4> kNames{"conv2d", "conv2d_dx", "conv2d_dx_into", "conv2d_dw"};
  return out << kNames[static_cast<std::size_t>(direction)];
}

ConvKey::ConvKey(ConvDirection direction, const Shape& x, const Shape& weights,
                 const Conv2dOptions& options, DType dtype, std::int64_t alignment,
                 const GpuMath& math)
    : direction(direction),
      dtype(static_cast<std::int64_t>(dtype)),
      n(x[0]),
      h(x[1]),
      w(x[2]),
      c(x[3]),
      k(weights[0]),
      r(weights[1]),
      s(weights[2]),
      stride(options.stride),
      padding(options.padding),
      alignment(alignment),
      uses_tf32(math.uses_tf32),
      is_deterministic(math.is_deterministic),
      timed_engines(math.timed_engines),
      workspace_limit(math.workspace_limit) {}

Shape ConvKey::y_shape() const {
  return {n, window_positions(h, r, stride, padding), window_positions(w, s, stride, padding), k};
}

std::ostream& operator<<(std::ostream& out, const ConvKey& key) {
  return out << key.direction << " of x " << key.x_shape() << ", w " << key.weight_shape()
             << ", stride " << key.stride << ", padding " << key.padding << " in " << dtype_of(key);
}

Descriptor conv_graph(const ConvKey& key, const Target& target) {
  const auto tensor = [&](std::int64_t id, const Shape& shape) {
    return channels_last_tensor(id, shape, dtype_of(key), key.alignment);
  };
  // All of them live until the graph is final.
  const Descriptor x = tensor(kConvTensors[0], key.x_shape());
  const Descriptor weights = tensor(kConvTensors[1], key.weight_shape());
  const Descriptor y = tensor(kConvTensors[2], key.y_shape());
  const Descriptor parameters = convolution(key);
  const Operation& names = operation_of(key.direction);
  Descriptor operation(names.type, proxent::detail::concat(key));
  operation.set(names.x, x);
  operation.set(names.weights, weights);
  operation.set(names.y, y);
  operation.set(names.convolution, parameters);
  const auto scale = [&](auto alpha) {  // result = alpha convolution + beta result
    using T = decltype(alpha);
    operation.set(names.alpha, alpha);
    operation.set(names.beta, T(key.direction == ConvDirection::dx_into ? 1 : 0));
  };
  dtype_of(key) == DType::f64 ? scale(1.0) : scale(1.0f);
  operation.finalize();
  return graph_of(operation, target);
}

bool is_exact_enough(const EngineConfig& config, const ConvKey& key) {
  for (const auto note :
       {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, CUDNN_NUMERICAL_NOTE_FFT,
        CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4,
        CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13})
    if (config.has(note)) return false;
  if (key.is_deterministic && config.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return false;
  // In float32 tensor cores mean TF32.
  const bool is_full = dtype_of(key) == DType::f32 && !key.uses_tf32;
  return !is_full || (!config.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) &&
                      !config.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
}

std::vector<ExecutionPlan> conv_plans(const ConvKey& key, const Target& target, std::size_t most) {
  const Descriptor graph = conv_graph(key, target);
  std::vector<ExecutionPlan> plans;
  Refusals refusals;
  const auto take = [&](EngineConfig& config) {
    if (!is_exact_enough(config, key)) {
      ++refusals.inexact;
    } else if (auto plan = ExecutionPlan::build(std::move(config), target, refusals.last); !plan) {
      ++refusals.not_built;
    } else if (plan->workspace() > key.workspace_limit) {
      ++refusals.too_large;
      refusals.least_workspace = std::min(refusals.least_workspace, plan->workspace());
    } else {
      plans.push_back(std::move(*plan));
    }
  };
  std::size_t proposed = 0;
  // Mode A answers in 2 ms instead of 10, but ranks engines without tensor cores first for some
  // memory-bound layers: on sm_90 in bf16, the 1x1 of stride 2 from 64 to 128 channels.
  for (const auto mode : {CUDNN_HEUR_MODE_B, CUDNN_HEUR_MODE_FALLBACK}) {
    for (EngineConfig& config : proposals(graph, mode, target)) {
      ++proposed;
      take(config);
      if (plans.size() == most) return plans;
    }
    if (!plans.empty()) return plans;
  }
  fail<CudnnError>(key, ": none of ", proposed, " engine configurations that cuDNN ", version(),
                   " proposes will do on ", target.name(), refusals.text(key));
}

}  // namespace proxent::cudnn
