// How far a compressed file may unpack, private to data/.
#pragma once

#include <algorithm>
#include <cstdint>

namespace proxent {

// Bytes, of a file of so many. Deflate packs zeros 1032 to 1, which is what decompression bombs are
// made of; Fashion-MNIST is packed 2 to 1, annotations like those of Cars196 24 to 1. The first MiB
// is free: a sorted list of labels packs as well as a bomb.
constexpr std::int64_t most_unpacked(std::int64_t packed) {
  constexpr std::int64_t kRatio = 100, kFree = 1 << 20;
  return kFree + packed * kRatio;
}

}  // namespace proxent
