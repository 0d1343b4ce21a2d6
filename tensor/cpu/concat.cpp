#include "tensor/concat.h"

#include <cstring>

#include "tensor/cpu/row.h"
#include "tensor/parallel.h"

namespace proxent::kernel {

void copy_columns(Cpu, const Tensor& from, std::int64_t from_first, Tensor& to,
                  std::int64_t to_first, std::int64_t count) {
  if (count == 0) return;
  const std::int64_t size = size_of(from.dtype());
  parallel_for(from.dim(0), row_grain(count), [&](std::int64_t r) {
    std::memcpy(to.raw() + (r * to.dim(1) + to_first) * size,
                from.raw() + (r * from.dim(1) + from_first) * size,
                static_cast<std::size_t>(count * size));
  });
}

}  // namespace proxent::kernel
