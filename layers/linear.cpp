#include "layers/linear.h"

#include "layers/init.h"

namespace proxent {

Linear::Linear(Module* parent, std::string name, std::int64_t in, std::int64_t out,
               LinearOptions options)
    : Module(parent, std::move(name)),
      weight(this, "weight", Role::weight, initial_tensor({out, in})),
      init_(options.init) {
  if (options.has_bias) bias.emplace(this, "bias", Role::bias, initial_tensor({out}));
}

void Linear::initialize(Philox random) {
  if (init_ == LinearInit::kaiming) {
    kaiming_normal_fan_out(weight.mutable_value(), random);
    if (bias) bias->mutable_value().fill(0);
    return;
  }
  uniform_fan_in(weight.mutable_value(), weight.dim(1), random);
  if (!bias) return;
  random.seek(static_cast<std::uint64_t>(weight.value().numel()));
  uniform_fan_in(bias->mutable_value(), weight.dim(1), random);
}

Variable Linear::forward(const Variable& x) {
  const Variable y = matmul(x, cast(weight, x.dtype()), {.transpose_b = true});
  return bias ? y + cast(*bias, x.dtype()) : y;
}

}  // namespace proxent
