#include "data/perceptual_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "data/parallel.h"
#include "data/transform.h"

namespace proxent {
namespace {

constexpr std::size_t kSide = 32, kFrequencies = 8;
constexpr double kLeastDeviation = 2;  // of luminance, in levels of 255

using Luminance = std::array<double, kSide * kSide>;

// ITU-R BT.601, as Pillow's convert("L").
Luminance luminance_of(const Image& image) {
  const Image small = resize_bilinear(image, kSide, kSide);
  Luminance luminance;
  for (std::size_t i = 0; i < luminance.size(); ++i) {
    const std::uint8_t* rgb = small.pixels.data() + i * Image::kChannels;
    luminance[i] = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
  }
  return luminance;
}

bool has_structure(const Luminance& luminance) {
  double mean = 0, squares = 0;
  for (const double value : luminance) mean += value / luminance.size();
  for (const double value : luminance) squares += (value - mean) * (value - mean);
  return squares / luminance.size() > kLeastDeviation * kLeastDeviation;
}

// cosines[u][x] = cos(pi u (2 x + 1) / 64)
const auto& cosines() {
  static const auto table = [] {
    std::array<std::array<double, kSide>, kFrequencies> cosines{};
    for (std::size_t u = 0; u < kFrequencies; ++u)
      for (std::size_t x = 0; x < kSide; ++x)
        cosines[u][x] = std::cos(std::numbers::pi * u * (2 * x + 1) / (2. * kSide));
    return cosines;
  }();
  return table;
}

}  // namespace

std::optional<std::uint64_t> perceptual_hash(const Image& image) {
  const Luminance luminance = luminance_of(image);
  if (!has_structure(luminance)) return std::nullopt;
  std::array<std::array<double, kSide>, kFrequencies> columns{};  // transformed along y
  for (std::size_t v = 0; v < kFrequencies; ++v)
    for (std::size_t y = 0; y < kSide; ++y)
      for (std::size_t x = 0; x < kSide; ++x)
        columns[v][x] += cosines()[v][y] * luminance[y * kSide + x];
  std::array<double, kFrequencies * kFrequencies> frequencies{};
  for (std::size_t v = 0; v < kFrequencies; ++v)
    for (std::size_t u = 0; u < kFrequencies; ++u)
      for (std::size_t x = 0; x < kSide; ++x)
        frequencies[v * kFrequencies + u] += cosines()[u][x] * columns[v][x];

  auto sorted = frequencies;
  std::sort(sorted.begin(), sorted.end());
  const double median = (sorted[sorted.size() / 2 - 1] + sorted[sorted.size() / 2]) / 2;
  std::uint64_t hash = 0;
  for (const double value : frequencies) hash = hash << 1 | (value > median ? 1 : 0);
  return hash;
}

std::vector<NearestHash> nearest_hashes(std::span<const std::optional<std::uint64_t>> queries,
                                        std::span<const std::optional<std::uint64_t>> hashes,
                                        int most_bits, int threads) {
  std::vector<std::uint64_t> known;  // back to back, for the inner loop
  std::vector<std::int64_t> index_of;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    if (!hashes[i]) continue;
    known.push_back(*hashes[i]);
    index_of.push_back(static_cast<std::int64_t>(i));
  }
  std::vector<NearestHash> nearest(queries.size());
  detail::for_each_index(std::ssize(queries), threads, [&](std::int64_t q) {
    if (!queries[q]) return;
    const std::uint64_t query = *queries[q];
    int least = most_bits + 1;
    for (std::size_t i = 0; i < known.size(); ++i) {
      const int bits = std::popcount(query ^ known[i]);
      if (bits >= least) continue;
      least = bits;
      nearest[q] = {index_of[i], bits};
    }
  });
  return nearest;
}

}  // namespace proxent
