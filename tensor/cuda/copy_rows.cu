#include "tensor/cuda/copy_rows.h"

#include "tensor/cuda/runtime.h"

namespace proxent::cuda {
namespace {
constexpr unsigned kThreads = 256;

// One word per thread and turn; `words` of them make a row. Blocks along y share long rows. Reads
// and writes each byte once.
template <class Word>
__global__ void copy_rows_kernel(RowCopy copy, std::int64_t words) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t source = copy.index ? copy.index[row] : row;
  const auto* from = reinterpret_cast<const Word*>(copy.from + source * copy.from_stride);
  auto* to = reinterpret_cast<Word*>(copy.to + row * copy.to_stride);
  const std::int64_t step = std::int64_t{gridDim.y} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x; i < words; i += step)
    to[i] = from[i];
}

template <class Word>
void launch_copy(const RowCopy& copy) {
  constexpr std::int64_t kMostBlocksPerRow = 64;
  const std::int64_t words = copy.bytes / static_cast<std::int64_t>(sizeof(Word));
  const auto threads = static_cast<unsigned>(words < kThreads ? (words + 31) / 32 * 32 : kThreads);
  const std::int64_t blocks = (words + kThreads - 1) / kThreads;
  launch_kernel(
      copy_rows_kernel<Word>,
      dim3(blocks_for(copy.rows, 1),
           static_cast<unsigned>(blocks < kMostBlocksPerRow ? blocks : kMostBlocksPerRow)),
      threads, 0, copy, words);
}
}  // namespace

// In the largest words that everything is a multiple of.
void copy_rows(const RowCopy& copy) {
  if (copy.bytes == 0) return;
  const std::uint64_t all =
      reinterpret_cast<std::uintptr_t>(copy.from) | reinterpret_cast<std::uintptr_t>(copy.to) |
      static_cast<std::uint64_t>(copy.from_stride) | static_cast<std::uint64_t>(copy.to_stride) |
      static_cast<std::uint64_t>(copy.bytes);
  if (all % 16 == 0) return launch_copy<uint4>(copy);
  if (all % 4 == 0) return launch_copy<std::uint32_t>(copy);
  if (all % 2 == 0) return launch_copy<std::uint16_t>(copy);
  launch_copy<std::uint8_t>(copy);
}

}  // namespace proxent::cuda
