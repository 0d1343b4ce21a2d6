#include "losses/arcface.h"

#include <cmath>

#include "losses/masks.h"
#include "losses/proxy_cosines.h"

namespace proxent {

Variable arcface(const Variable& embeddings, const Variable& proxies, const Tensor& labels,
                 const ArcFaceOptions& options) {
  const Variable s = proxy_cosines("arcface", embeddings, proxies, labels);
  const std::int64_t B = s.dim(0), C = s.dim(1);
  const Variable S = max_last(s);
  const Variable own = pick(S, labels);
  // The root's slope is infinite at cosine +-1; at_least() makes it 0 there.
  const Variable sine = sqrt(at_least(-square(own) + 1, 1e-12));
  const double m = options.margin;
  const Variable turned = std::cos(m) * own - std::sin(m) * sine;
  const Variable lowered = own - m * std::sin(m);
  const Tensor falls = is_positive(shift(own.value(), std::cos(m)));  // theta < pi - m
  const Variable target = Variable(falls) * turned + Variable(inverted(falls)) * lowered;
  const Variable change = reshape(target - own, {B, 1}) * Variable(one_hot(labels, C, s.dtype()));
  return cross_entropy(options.sigma * (S + change), labels);
}

}  // namespace proxent
