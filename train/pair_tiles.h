// What everything that compares queries with a gallery shares: which rows, as what, in which tiles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/ranking.h"
#include "tensor/similarity.h"
#include "train/retrieval.h"

namespace proxent {

// Rows of queries and of the gallery whose similarities make a tile: as the options say, else what
// suits the device.
struct TileSize {
  std::int64_t queries, gallery;
};
TileSize tile_size(const RetrievalOptions& options, Device device);

// Throws as evaluate_retrieval does unless embeddings, labels and options fit each other.
void check_retrieval(const Tensor& embeddings, std::span<const std::int32_t> labels,
                     const RetrievalOptions& options);
// Rows by number: those listed, or all. Throws UsageError, naming them as `what` rows, for one that
// does not exist or is listed twice.
std::vector<std::int64_t> listed_rows(const std::optional<std::vector<std::int64_t>>& list,
                                      std::int64_t rows, std::string_view what);

// The same rows with their groups, on a device.
RankedRows ranked_rows(std::span<const std::int64_t> rows, const RetrievalOptions& options,
                       Device device);
// The embeddings of some rows, ready for the similarity that `distance` stands for.
Tensor features_of(const Tensor& embeddings, const RankedRows& rows, Distance distance);
Similarity similarity_of(Distance distance);

// Calls f(first, tile) for every tile of similarities of x's rows to the gallery's, `columns` wide,
// all in one piece of memory.
template <class F>
void for_each_tile(const Tensor& x, const Tensor& gallery, Distance distance, std::int64_t columns,
                   const F& f) {
  const std::int64_t rows = x.dim(0), all = gallery.dim(0);
  Tensor memory({rows, std::min(columns, all)}, DType::f32, x.device());
  for (std::int64_t first = 0; first < all; first += columns) {
    const std::int64_t count = std::min(columns, all - first);
    Tensor tile = memory.view(0, {rows, count});
    similarities(x, gallery.slice(first, count), similarity_of(distance), tile);
    f(first, tile);
  }
}

}  // namespace proxent
