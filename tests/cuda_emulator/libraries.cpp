// What NVIDIA's libraries compute in a real build, computed by the Cpu overloads when the compute
// stream comes to it. Like the libraries they know where their operands lie and own none of them.
#include <cstring>

#include "tensor/conv.h"
#include "tensor/copy.h"
#include "tensor/cuda/runtime.h"
#include "tensor/matmul.h"

namespace proxent::kernel {
namespace {

// Where a tensor lies and what it holds.
struct Place {
  explicit Place(const Tensor& x) : data(x.raw()), shape(x.shape()), dtype(x.dtype()) {}

  const void* data;
  Shape shape;
  DType dtype;
};

// Copies of it on the CPU: what it holds, halves in float32, which the CPU computes in.
Tensor read(const Place& place) {
  Tensor x(place.shape, place.dtype);
  if (x.bytes() > 0) std::memcpy(x.raw(), place.data, static_cast<std::size_t>(x.bytes()));
  return is_half(place.dtype) ? x.to(DType::f32) : x;
}

// y = compute(a, b) in the stream's order; compute(a, b, y) is an overload for the CPU, which finds
// in y what stood there.
template <class Compute>
void queue(const Tensor& a, const Tensor& b, Tensor& y, Compute compute) {
  const auto task = [a = Place(a), b = Place(b), y = Place(y), to = y.raw(), compute] {
    Tensor result = read(y);
    compute(read(a), read(b), result);
    result = result.to(y.dtype);
    if (result.bytes() > 0) std::memcpy(to, result.raw(), static_cast<std::size_t>(result.bytes()));
  };
  cuda_emulator::run_on_stream(cuda::compute_stream(), task);
  cuda::count_launch();
}

}  // namespace

void conv2d(Cuda, const Tensor& x, const Tensor& w, const Conv2dOptions& options, Tensor& y) {
  queue(x, w, y, [options](const Tensor& x, const Tensor& w, Tensor& y) {
    conv2d(Cpu{}, x, w, options, y);
  });
}
void conv2d_dx(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options, Tensor& dx) {
  queue(dy, w, dx, [options](const Tensor& dy, const Tensor& w, Tensor& dx) {
    conv2d_dx(Cpu{}, dy, w, options, dx);
  });
}
void conv2d_dx_into(Cuda, const Tensor& dy, const Tensor& w, const Conv2dOptions& options,
                    Tensor& sum) {
  queue(dy, w, sum, [options](const Tensor& dy, const Tensor& w, Tensor& sum) {
    conv2d_dx_into(Cpu{}, dy, w, options, sum);
  });
}
void conv2d_dw(Cuda, const Tensor& dy, const Tensor& x, const Conv2dOptions& options, Tensor& dw) {
  queue(dy, x, dw, [options](const Tensor& dy, const Tensor& x, Tensor& dw) {
    conv2d_dw(Cpu{}, dy, x, options, dw);
  });
}
void matmul(Cuda, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, Tensor& y) {
  queue(a, b, y, [=](const Tensor& a, const Tensor& b, Tensor& y) {
    matmul(Cpu{}, a, transpose_a, b, transpose_b, y);
  });
}

}  // namespace proxent::kernel
