// Copies of rows between matrices whose rows lie at different distances.
#pragma once

#include <cstddef>
#include <cstdint>

namespace proxent::cuda {

// Rows of `bytes` each: row r of `to` becomes row r of `from`, or row index[r] where there is an
// index. Strides are in bytes.
struct RowCopy {
  const std::byte* from;
  std::int64_t from_stride;
  const std::int32_t* index;  // device memory, or null
  std::byte* to;
  std::int64_t to_stride;
  std::int64_t rows, bytes;
};
void copy_rows(const RowCopy& copy);

}  // namespace proxent::cuda
