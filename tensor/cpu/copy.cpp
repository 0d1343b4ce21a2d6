#include "tensor/copy.h"

#include <algorithm>
#include <cstring>

#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {
constexpr std::int64_t kGrain = 1 << 17;  // elements or bytes that make a thread worth waking

// bf16 and f16 convert through float alone; every other pair converts directly.
template <class To, class From>
To convert_one(From value) {
  if constexpr (std::is_same_v<From, To>)
    return value;
  else if constexpr (kIsHalf<To>)
    return To(static_cast<float>(value));
  else
    return static_cast<To>(static_cast<std::conditional_t<kIsHalf<From>, float, From>>(value));
}
}  // namespace

void fill(Cpu, double value, Tensor& x) {
  visit_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    parallel_ranges(x.numel(), kGrain, [&, one = convert_one<T>(value)](auto first, auto last) {
      std::fill(x.data<T>() + first, x.data<T>() + last, one);
    });
  });
}

void convert(Cpu, const Tensor& x, Tensor& y) {
  visit_any(x.dtype(), [&](auto from) {
    visit_any(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      parallel_ranges(x.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
        std::transform(x.data<From>() + first, x.data<From>() + last, y.data<To>() + first,
                       [](From value) { return convert_one<To>(value); });
      });
    });
  });
}

void copy(Cpu, const Tensor& x, Tensor& y) {
  parallel_ranges(x.bytes(), kGrain, [&](std::int64_t first, std::int64_t last) {
    std::memcpy(y.raw() + first, x.raw() + first, static_cast<std::size_t>(last - first));
  });
}

}  // namespace proxent::kernel
