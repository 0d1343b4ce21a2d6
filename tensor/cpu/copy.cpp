#include "tensor/copy.h"

#include <algorithm>
#include <cstring>

namespace proxent::kernel {
namespace {
// bf16 converts through float alone; every other pair converts directly.
template <class To, class From>
To convert_one(From value) {
  if constexpr (std::is_same_v<From, To>)
    return value;
  else if constexpr (std::is_same_v<To, bf16>)
    return bf16(static_cast<float>(value));
  else
    return static_cast<To>(
        static_cast<std::conditional_t<std::is_same_v<From, bf16>, float, From>>(value));
}
}  // namespace

void fill(Cpu, double value, Tensor& x) {
  visit_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::fill_n(x.data<T>(), x.numel(), convert_one<T>(value));
  });
}

void convert(Cpu, const Tensor& x, Tensor& y) {
  visit_any(x.dtype(), [&](auto from) {
    visit_any(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      std::transform(x.data<From>(), x.data<From>() + x.numel(), y.data<To>(),
                     [](From value) { return convert_one<To>(value); });
    });
  });
}

void copy(Cpu, const Tensor& x, Tensor& y) {
  if (x.numel() > 0) std::memcpy(y.raw(), x.raw(), static_cast<std::size_t>(x.bytes()));
}

}  // namespace proxent::kernel
