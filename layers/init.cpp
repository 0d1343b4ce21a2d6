#include "layers/init.h"

#include <cmath>

namespace proxent {

void initialize(Module& root, std::uint64_t seed) {
  for (const auto& [path, module] : root.modules())
    module->initialize(Philox(seed, stream_of("initialize " + path)));
}

void kaiming_normal_fan_out(Tensor& weight, Philox random) {
  const std::int64_t fan_out = weight.numel() / weight.dim(-1);  // K R S, or out
  fill_normal(weight, random, 0.0, std::sqrt(2.0 / static_cast<double>(fan_out)));
}

void uniform_fan_in(Tensor& x, std::int64_t fan_in, Philox random) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  fill_uniform(x, random, -bound, bound);
}

}  // namespace proxent
