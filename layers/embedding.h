// From images to points on the unit sphere: backbone, pooling, projection, L2 normalisation, and a
// LayerNorm without affine terms before or behind the projection if one is asked for.
#pragma once

#include <memory>
#include <optional>

#include "layers/backbone.h"
#include "layers/layer_norm.h"
#include "layers/linear.h"

namespace proxent {

enum class Pooling {
  avg,
  max,
  avg_max,
  gem
};  // avg_max is the sum of both, as Proxy-Anchor's code

enum class HeadNorm {
  none,
  before_linear,  // as ProxyNCA++
  behind_linear   // as HIST
};

struct EmbeddingOptions {
  std::int64_t dim = 512;
  Pooling pooling = Pooling::avg;
  HeadNorm norm = HeadNorm::none;
  LinearInit init = LinearInit::uniform;  // of the projection
};

// (N, H, W, 3) to (N, dim), rows of length 1. The backbone computes in the dtype of the images, the
// head and its result are f32 if that is of two bytes. The backbone's names stand at the root,
// beside "embedding.weight" and "embedding.bias".
class EmbeddingModel : public Module {
 public:
  using MakeBackbone = std::function<std::unique_ptr<Backbone>(Module* parent)>;
  // make_backbone must name the backbone "".
  EmbeddingModel(std::string name, const MakeBackbone& make_backbone, EmbeddingOptions options);

  std::unique_ptr<Backbone> backbone;
  std::optional<Parameter> gem_power;  // (1), trained, starts at 3; only for Pooling::gem
  std::optional<LayerNorm> layer_norm;
  Linear embedding;

 protected:
  Variable forward(const Variable& x) override;

 private:
  Variable pool(const Variable& x);
  Pooling pooling_;
  HeadNorm norm_;
};

}  // namespace proxent
