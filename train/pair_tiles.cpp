#include "train/pair_tiles.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "tensor/gather.h"
#include "tensor/optimizer_step.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

// Names the first element that is not finite.
[[noreturn]] void fail_not_finite(const Tensor& embeddings) {
  const Tensor here = embeddings.to(Device::cpu);
  const float *x = here.data<float>(), *end = x + here.numel();
  const float* bad = std::find_if_not(x, end, [](float v) { return std::isfinite(v); });
  const std::int64_t place = bad - x, dim = here.dim(1);
  fail<NonFiniteError>("retrieval: embedding ", place / dim, " holds ", *bad, " at feature ",
                       place % dim);
}
void check_finite(const Tensor& embeddings) {
  if (!std::isfinite(sum_of_squares(embeddings))) fail_not_finite(embeddings);
}

void check_ks(const Rows& ks, std::string_view metric) {
  for (const std::int64_t k : ks)
    check<UsageError>(k >= 1, "retrieval: ", metric, " needs K >= 1, got ", k);
}

Tensor uploaded(const std::vector<std::int32_t>& values, Device device) {
  return Tensor::from({std::ssize(values)}, values).to(device);
}

}  // namespace

// On the processor a tile stays beside the strips that its threads pack. A GPU of 132
// multiprocessors works on 264 blocks of 128 x 128 similarities at once: it has two rounds of them
// here, which its second cache holds until they are counted.
TileSize tile_size(const RetrievalOptions& options, Device device) {
  const TileSize usual = device == Device::cpu ? TileSize{2048, 1024} : TileSize{2048, 33 * 128LL};
  return {.queries = options.query_tile.value_or(usual.queries),
          .gallery = options.gallery_tile.value_or(usual.gallery)};
}

Rows listed_rows(const std::optional<Rows>& list, std::int64_t rows, std::string_view what) {
  if (!list) {
    Rows all(rows);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  std::vector<bool> is_listed(rows);
  for (const std::int64_t row : *list) {
    check<UsageError>(row >= 0 && row < rows, "retrieval: ", what, " row ", row,
                      " does not exist, there are ", rows, " embeddings");
    check<UsageError>(!is_listed[row], "retrieval: ", what, " row ", row, " is listed twice");
    is_listed[row] = true;
  }
  return *list;
}

void check_retrieval(const Tensor& embeddings, std::span<const std::int32_t> labels,
                     const RetrievalOptions& options) {
  check(embeddings.shape().rank() == 2 && embeddings.dtype() == DType::f32,
        "retrieval: embeddings must be (rows, features) f32, got ", embeddings);
  const std::int64_t rows = embeddings.dim(0);
  check(rows == std::ssize(labels), "retrieval: ", rows, " embeddings, but ", labels.size(),
        " labels");
  check(rows <= std::numeric_limits<std::int32_t>::max(), "retrieval: at most 2^31 - 1 rows, got ",
        rows);
  check(options.groups.empty() || rows == std::ssize(options.groups), "retrieval: ", rows,
        " embeddings, but ", options.groups.size(), " groups");
  const TileSize tile = tile_size(options, embeddings.device());
  check<UsageError>(tile.queries >= 1 && tile.gallery >= 1,
                    "retrieval: tiles must have a row at least, got ", tile.queries, " and ",
                    tile.gallery);
  check_ks(options.recall_at, "Recall@K");
  check_ks(options.precision_at, "P@K");
  check_ks(options.ndcg_at, "nDCG@K");
  check_finite(embeddings);
  if (!options.as_queries) return;
  check(options.as_queries->shape() == embeddings.shape() &&
            options.as_queries->dtype() == DType::f32 &&
            options.as_queries->device() == embeddings.device(),
        "retrieval: embeddings as queries must be like ", embeddings, ", got ",
        *options.as_queries);
  check_finite(*options.as_queries);
}

RankedRows ranked_rows(std::span<const std::int64_t> rows, const RetrievalOptions& options,
                       Device device) {
  std::vector<std::int32_t> numbers, groups;
  for (const std::int64_t row : rows) {
    numbers.push_back(static_cast<std::int32_t>(row));
    groups.push_back(options.groups.empty() ? -1 : options.groups[row]);
  }
  return {.numbers = uploaded(numbers, device), .groups = uploaded(groups, device)};
}

// The embeddings of some rows, ready for the similarity that `distance` stands for.
Tensor features_of(const Tensor& embeddings, const RankedRows& rows, Distance distance) {
  return distance == Distance::cosine ? unit_rows(embeddings, rows.numbers)
                                      : gather_rows(embeddings, rows.numbers);
}
Similarity similarity_of(Distance distance) {
  return distance == Distance::cosine ? Similarity::dot : Similarity::euclidean;
}

}  // namespace proxent
