// Bytes to floats by a table of the 256 values of each colour.
#include "tensor/augment.h"

#include "tensor/parallel.h"

namespace proxent::kernel {
namespace {

// Calls f(T{}) with the type of an image's elements.
template <class F>
void visit_image(DType dtype, const F& f) {
  if (dtype == DType::bf16) return f(bf16{});
  if (dtype == DType::f16) return f(f16{});
  f(float{});
}

template <class T>
using Table = std::array<std::array<T, kColours>, 256>;
template <class T>
Table<T> table_of(const AugmentOptions& options) {
  Table<T> table;
  for (std::size_t v = 0; v < table.size(); ++v)
    for (std::size_t c = 0; c < kColours; ++c)
      table[v][c] =
          static_cast<T>((static_cast<float>(v) / 255.0f - options.mean[c]) / options.std[c]);
  return table;
}

struct Place {
  std::int64_t top, left;
  bool is_flipped;
};

// One row of y from one row of a picture; null: beside it.
template <class T>
void write_row(const std::uint8_t* row, std::int64_t picture_width, const Place& place,
               std::int64_t width, const Table<T>& table, T* to) {
  for (std::int64_t j = 0; j < width; ++j, to += kColours) {
    const std::int64_t column = place.left + (place.is_flipped ? width - 1 - j : j);
    const bool is_inside = row && column >= 0 && column < picture_width;
    for (std::int64_t c = 0; c < kColours; ++c)
      to[c] = table[is_inside ? row[column * kColours + c] : 0][static_cast<std::size_t>(c)];
  }
}

}  // namespace

void augment(Cpu, const Tensor& x, const Tensor& places, const AugmentOptions& options, Tensor& y) {
  visit_image(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const Table<T> table = table_of<T>(options);
    const std::int64_t height = x.dim(1), width = x.dim(2);
    parallel_for(x.dim(0) * options.height, 16, [&](std::int64_t item) {
      const std::int64_t n = item / options.height;
      const std::int32_t* at = places.data<std::int32_t>() + n * 3;
      const Place place{at[0], at[1], at[2] != 0};
      const std::int64_t row = place.top + item % options.height;
      const bool is_inside = row >= 0 && row < height;
      write_row(
          is_inside ? x.data<std::uint8_t>() + (n * height + row) * width * kColours : nullptr,
          width, place, options.width, table, y.data<T>() + item * options.width * kColours);
    });
  });
}

}  // namespace proxent::kernel
