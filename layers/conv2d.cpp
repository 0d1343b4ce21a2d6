#include "layers/conv2d.h"

#include "layers/init.h"

namespace proxent {

Conv2d::Conv2d(Module* parent, std::string name, std::int64_t in, std::int64_t out,
               std::int64_t size, Conv2dOptions options)
    : Module(parent, std::move(name)),
      weight(this, "weight", Role::weight, Tensor::zeros({out, size, size, in}, DType::f32)),
      options_(options) {}

void Conv2d::initialize(Philox random) { kaiming_normal_fan_out(weight.mutable_value(), random); }

}  // namespace proxent
