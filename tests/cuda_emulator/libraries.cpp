// What NVIDIA's libraries compute in a real build, computed by the Cpu overloads: in an emulated
// build the GPU's memory is the host's.
#include "tensor/conv.h"
#include "tensor/matmul.h"

namespace proxent::kernel {
namespace {

// compute(a, b, y), for factors of two bytes in float32 with one rounding at the end, as tensor
// cores do.
template <class Compute>
void in_float(const Tensor& a, const Tensor& b, Tensor& y, const Compute& compute) {
  if (!is_half(y.dtype())) return compute(a, b, y);
  Tensor wide(y.shape(), DType::f32, y.device());
  compute(a.to(DType::f32), b.to(DType::f32), wide);
  y.copy_from(wide.to(y.dtype()));
}

}  // namespace

void conv2d(Cuda, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
  in_float(x, w, y,
           [&](const Tensor& x, const Tensor& w, Tensor& y) { conv2d(Cpu{}, x, w, options, y); });
}
void conv2d_dx(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  in_float(dy, w, dx, [&](const Tensor& dy, const Tensor& w, Tensor& dx) {
    conv2d_dx(Cpu{}, dy, w, options, dx);
  });
}
void conv2d_dw(Cuda, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
  in_float(dy, x, dw, [&](const Tensor& dy, const Tensor& x, Tensor& dw) {
    conv2d_dw(Cpu{}, dy, x, options, dw);
  });
}
void matmul(Cuda, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  in_float(a, b, y, [&](const Tensor& a, const Tensor& b, Tensor& y) {
    matmul(Cpu{}, a, transpose_a, b, transpose_b, y);
  });
}

}  // namespace proxent::kernel
