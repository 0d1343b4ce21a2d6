#include "tensor/augment.h"

#include <cmath>

namespace proxent {

Tensor augment(const Tensor& x, const Tensor& places, const AugmentOptions& options, DType dtype) {
  check(x.shape().rank() == 4 && x.dim(3) == kColours && x.dtype() == DType::u8,
        "augment: x must be (N, H, W, 3) u8, got ", x);
  const Shape expected{x.dim(0), 3};
  check(places.shape() == expected && places.dtype() == DType::i32 && places.device() == x.device(),
        "augment: places should be ", expected, " i32 on ", x.device(), ", got ", places, " on ",
        places.device());
  check(dtype == DType::f32 || is_half(dtype), "augment: y must be f32, bf16 or f16, not ", dtype);
  check(options.height >= 0 && options.width >= 0, "augment: y cannot be ", options.height, " x ",
        options.width);
  for (std::size_t c = 0; c < kColours; ++c)
    check(options.std[c] > 0 && std::isfinite(options.std[c]) && std::isfinite(options.mean[c]),
          "augment: mean must be finite and std positive, got ", options.mean[c], " and ",
          options.std[c]);
  Tensor y({x.dim(0), options.height, options.width, kColours}, dtype, x.device());
  launch("augment", x.device(),
         [&](auto device) { kernel::augment(device, x, places, options, y); });
  return y;
}

}  // namespace proxent
