// What NVIDIA's libraries compute in a real build, computed by the Cpu overloads: in an emulated
// build the GPU's memory is the host's.
#include "tensor/conv.h"
#include "tensor/matmul.h"

namespace proxent::kernel {

void conv2d(Cuda, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
  conv2d(Cpu{}, x, w, options, y);
}
void conv2d_dx(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  conv2d_dx(Cpu{}, dy, w, options, dx);
}
void conv2d_dw(Cuda, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
  conv2d_dw(Cpu{}, dy, x, options, dw);
}
void matmul(Cuda, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  matmul(Cpu{}, a, transpose_a, b, transpose_b, y);
}

}  // namespace proxent::kernel
