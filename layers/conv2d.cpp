#include "layers/conv2d.h"

#include "layers/init.h"

namespace proxent {

Conv2d::Conv2d(Module* parent, std::string name, std::int64_t in, std::int64_t out,
               std::int64_t size, Conv2dOptions options, Conv2dTerms terms)
    : Module(parent, std::move(name)),
      weight(this, "weight", Role::weight, initial_tensor({out, size, size, in})),
      options_(options) {
  if (terms.has_bias) bias.emplace(this, "bias", Role::bias, initial_tensor({out}));
}

Variable Conv2d::forward(const Variable& x) {
  const Variable y = conv2d(x, cast(weight, x.dtype()), options_);
  return bias ? y + cast(*bias, x.dtype()) : y;
}

void Conv2d::initialize(Philox random) { kaiming_normal_fan_out(weight.mutable_value(), random); }

}  // namespace proxent
