#include "layers/embedding.h"

namespace proxent {

EmbeddingModel::EmbeddingModel(std::string name, const MakeBackbone& make_backbone,
                               EmbeddingOptions options)
    : Module(nullptr, std::move(name)),
      backbone(make_backbone(this)),
      embedding(this, "embedding", backbone->features(), options.dim, {.init = options.init}),
      pooling_(options.pooling),
      norm_(options.norm) {
  if (pooling_ == Pooling::gem)
    gem_power.emplace(this, "gem_power", Role::norm, initial_tensor({1}, 3));
  if (norm_ != HeadNorm::none) layer_norm.emplace(this, "layer_norm");
}

Variable EmbeddingModel::pool(const Variable& x) {
  switch (pooling_) {
    case Pooling::avg:
      return global_avg_pool(x);
    case Pooling::max:
      return global_max_pool(x);
    case Pooling::avg_max:
      return global_avg_pool(x) + global_max_pool(x);
    case Pooling::gem:
      return gem_pool(cast(x, sum_dtype(x.dtype())), *gem_power);
  }
  fail("embedding: unknown pooling");
}

Variable EmbeddingModel::forward(const Variable& x) {
  Variable features = cast(pool((*backbone)(x)), sum_dtype(x.dtype()));
  if (norm_ == HeadNorm::before_linear) features = (*layer_norm)(features);
  Variable projected = embedding(features);
  if (norm_ == HeadNorm::behind_linear) projected = (*layer_norm)(projected);
  return normalize_rows(projected);
}

}  // namespace proxent
