#include "tensor/concat.h"

#include "tensor/cuda/copy_rows.h"

namespace proxent::kernel {

void copy_columns(Cuda, const Tensor& from, std::int64_t from_first, Tensor& to,
                  std::int64_t to_first, std::int64_t count) {
  const std::int64_t size = size_of(from.dtype());
  cuda::copy_rows({.from = from.raw() + from_first * size,
                   .from_stride = from.dim(1) * size,
                   .index = nullptr,
                   .to = to.raw() + to_first * size,
                   .to_stride = to.dim(1) * size,
                   .rows = from.dim(0),
                   .bytes = count * size});
}

}  // namespace proxent::kernel
