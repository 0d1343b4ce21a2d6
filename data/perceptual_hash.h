// A number per picture that scaling, recompression and slight changes of tone leave nearly alone,
// to find pictures that were stored twice under different bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/image.h"

namespace proxent {

// DCT hash: luminance resized to 32x32, the 8x8 lowest frequencies of its DCT-II, a bit for each
// that is above their median (as Python's imagehash.phash, except for the filter that resizes).
// None for a picture without structure, whose bits would be noise.
std::optional<std::uint64_t> perceptual_hash(const Image& image);

// Bits of 64 in which two stored versions of one picture may differ. Of 604 photographs of
// CUB-200-2010 this found all copies of JPEG quality 50, of half the size and in gray, 99 % of
// those brightened by a fifth, 45 % of those cropped by 5 %; and none of 9 million unrelated pairs.
inline constexpr int kNearBits = 4;

struct NearestHash {
  std::int64_t index = -1;  // in the hashes searched, the first of the nearest; -1: none is near
  int bits = 0;             // that differ
};
// For each query the nearest of `hashes` within `most_bits`. Compares all with all, some 2^30 pairs
// a second and thread: 60,000 x 60,000 pictures take a few seconds, their decoding minutes.
std::vector<NearestHash> nearest_hashes(std::span<const std::optional<std::uint64_t>> queries,
                                        std::span<const std::optional<std::uint64_t>> hashes,
                                        int most_bits = kNearBits, int threads = 0);

}  // namespace proxent
