#include "tensor/similarity.h"

#include "tensor/gather.h"

namespace proxent {

Tensor similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity) {
  check(queries.shape().rank() == 2 && gallery.shape().rank() == 2,
        "similarities: queries and gallery must be (rows, features), got ", queries.shape(),
        " and ", gallery.shape());
  Tensor y({queries.dim(0), gallery.dim(0)}, queries.dtype(), queries.device());
  similarities(queries, gallery, similarity, y);
  return y;
}

void similarities(const Tensor& queries, const Tensor& gallery, Similarity similarity, Tensor& y) {
  check(queries.shape().rank() == 2 && gallery.shape().rank() == 2 &&
            queries.dim(1) == gallery.dim(1),
        "similarities: queries and gallery must be (rows, features) with as many features, got ",
        queries.shape(), " and ", gallery.shape());
  check(is_float(queries.dtype()) && gallery.dtype() == queries.dtype() &&
            y.dtype() == queries.dtype() && gallery.device() == queries.device() &&
            y.device() == queries.device(),
        "similarities: expected one float dtype and device, got queries ", queries, ", gallery ",
        gallery, ", y ", y);
  check(y.shape() == Shape{queries.dim(0), gallery.dim(0)}, "similarities: y must be ",
        Shape{queries.dim(0), gallery.dim(0)}, ", got ", y.shape());
  launch("similarities", y.device(),
         [&](auto device) { kernel::similarities(device, queries, gallery, similarity, y); });
}

Tensor unit_rows(const Tensor& x, const Tensor& index) {
  check(x.shape().rank() == 2 && x.dtype() == DType::f32,
        "unit_rows: x must be (rows, features) f32, got ", x);
  check_index("unit_rows", index, x.device(), {.size = index.numel(), .limit = x.dim(0)});
  Tensor y({index.numel(), x.dim(1)}, x.dtype(), x.device());
  launch("unit_rows", x.device(), [&](auto device) { kernel::unit_rows(device, x, index, y); });
  return y;
}

Tensor unit_rows(const Tensor& x) { return unit_rows(x, arange(x.dim(0), x.device())); }

}  // namespace proxent
