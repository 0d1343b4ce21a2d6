#include "train/retrieval.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "tensor/gather.h"
#include "tensor/optimizer_step.h"
#include "tensor/ranking.h"
#include "tensor/topk.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

// Matches held at once, however large the classes are: 12 bytes each.
constexpr std::int64_t kMaxMatches = 1 << 24;

// Rows of queries and of the gallery whose similarities make a tile. On the processor one stays
// beside the strips that its threads pack. A GPU of 132 multiprocessors works on 264 blocks of
// 128 x 128 similarities at once: it has two rounds of them here, which its second cache holds
// until they are counted.
struct TileSize {
  std::int64_t queries, gallery;
};
TileSize tile_size(const RetrievalOptions& options, Device device) {
  const TileSize usual = device == Device::cpu ? TileSize{2048, 1024} : TileSize{2048, 33 * 128};
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

// Names the first element that is not finite.
[[noreturn]] void fail_not_finite(const Tensor& embeddings) {
  const Tensor here = embeddings.to(Device::cpu);
  const float *x = here.data<float>(), *end = x + here.numel();
  const float* bad = std::find_if_not(x, end, [](float v) { return std::isfinite(v); });
  const std::int64_t place = bad - x, dim = here.dim(1);
  fail<NonFiniteError>("retrieval: embedding ", place / dim, " holds ", *bad, " at feature ",
                       place % dim);
}

void check_input(const Tensor& embeddings, std::span<const std::int32_t> labels,
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
  for (const std::int64_t k : options.recall_at)
    check<UsageError>(k >= 1, "retrieval: Recall@K needs K >= 1, got ", k);
  if (!std::isfinite(sum_of_squares(embeddings))) fail_not_finite(embeddings);
}

template <class T>
Tensor uploaded(const std::vector<T>& values, Device device) {
  return Tensor::from({std::ssize(values)}, values).to(device);
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

// Calls f(first, tile) for every tile of similarities of x's rows to the gallery's, all in one
// piece of memory.
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

// A query, before it is uploaded.
struct Query {
  std::int64_t row = 0, place = 0;           // place: in the order of RetrievalOptions::queries
  std::int64_t own_first = 0, own_last = 0;  // its class' rows of the sorted gallery
};

// Queries that are ranked together.
struct QueryTile {
  std::int64_t first = 0, last = 0, matches = 0;
};

class Evaluation {
 public:
  Evaluation(const Tensor& embeddings, std::span<const std::int32_t> labels,
             const RetrievalOptions& options)
      : embeddings_(embeddings),
        labels_(labels),
        options_(options),
        device_(embeddings.device()),
        tile_(tile_size(options, device_)),
        gallery_rows_(sorted_by_class(listed_rows(options.gallery, embeddings.dim(0), "gallery"))),
        gallery_(ranked_rows(gallery_rows_, options, device_)),
        features_(features_of(embeddings, gallery_, options.distance)) {}

  RetrievalResult run() {
    sort_queries(listed_rows(options_.queries, embeddings_.dim(0), "query"));
    const std::vector<QueryTile> tiles = query_tiles();
    const RankedQueries queries = uploaded_queries(tiles);
    Tensor scores({std::ssize(queries_), std::int64_t{sizeof(MatchScore)}}, DType::u8, device_);
    for (const QueryTile& tile : tiles) {
      const std::int64_t count = tile.last - tile.first;
      Tensor its_scores = scores.slice(tile.first, count);
      rank(queries.slice(tile.first, count), tile.matches, its_scores);
    }
    return summary(scores_by_place(scores.to(Device::cpu)));
  }

 private:
  std::int32_t label_of(std::int64_t row) const { return labels_[row]; }

  Rows sorted_by_class(Rows rows) const {
    std::sort(rows.begin(), rows.end(), [&](std::int64_t a, std::int64_t b) {
      return std::pair(label_of(a), a) < std::pair(label_of(b), b);
    });
    return rows;
  }

  // By class, so that the queries of a class meet their part of the gallery together.
  void sort_queries(const Rows& listed) {
    Rows places(listed.size());
    std::iota(places.begin(), places.end(), 0);
    std::stable_sort(places.begin(), places.end(), [&](std::int64_t a, std::int64_t b) {
      return label_of(listed[a]) < label_of(listed[b]);
    });
    for (const std::int64_t place : places) {
      const std::int64_t row = listed[place];
      const auto own = std::ranges::equal_range(gallery_rows_, label_of(row), {},
                                                [&](std::int64_t r) { return label_of(r); });
      queries_.push_back({.row = row,
                          .place = place,
                          .own_first = own.begin() - gallery_rows_.begin(),
                          .own_last = own.end() - gallery_rows_.begin()});
    }
  }

  std::vector<QueryTile> query_tiles() const {
    std::vector<QueryTile> tiles;
    for (std::int64_t q = 0; q < std::ssize(queries_); ++q) {
      const std::int64_t matches = queries_[q].own_last - queries_[q].own_first;
      if (tiles.empty() || q - tiles.back().first == tile_.queries ||
          tiles.back().matches + matches > kMaxMatches)
        tiles.push_back({.first = q});
      tiles.back().last = q + 1;
      tiles.back().matches += matches;
    }
    return tiles;
  }

  RankedQueries uploaded_queries(const std::vector<QueryTile>& tiles) const {
    Rows rows, places;
    std::vector<std::int32_t> own_first, own_last;
    for (const QueryTile& tile : tiles) {
      std::int64_t place = 0;
      for (std::int64_t q = tile.first; q < tile.last; ++q) {
        const Query& query = queries_[q];
        rows.push_back(query.row);
        own_first.push_back(static_cast<std::int32_t>(query.own_first));
        own_last.push_back(static_cast<std::int32_t>(query.own_last));
        places.push_back(place);
        place += query.own_last - query.own_first;
      }
    }
    return {.rows = ranked_rows(rows, options_, device_),
            .own_first = uploaded(own_first, device_),
            .own_last = uploaded(own_last, device_),
            .places = uploaded(places, device_)};
  }

  void rank(const RankedQueries& queries, std::int64_t matches, Tensor& scores) const {
    const Tensor x = features_of(embeddings_, queries.rows, options_.distance);
    MatchRanks ranks =
        start_ranks(queries, gallery_, x, features_, similarity_of(options_.distance), matches);
    for_each_tile(x, features_, options_.distance, tile_.gallery,
                  [&](std::int64_t first, const Tensor& tile) {
                    count_nearer(queries, gallery_, tile, first, ranks);
                  });
    score_ranks(ranks, queries, scores);
  }

  std::vector<MatchScore> scores_by_place(const Tensor& scores) const {
    std::vector<MatchScore> by_place(queries_.size());
    for (std::size_t q = 0; q < queries_.size(); ++q)
      std::memcpy(&by_place[queries_[q].place], scores.raw() + q * sizeof(MatchScore),
                  sizeof(MatchScore));
    return by_place;
  }

  RetrievalResult summary(const std::vector<MatchScore>& scores) const {
    RetrievalResult result;
    result.gallery = std::ssize(gallery_rows_);
    for (const MatchScore& score : scores) {
      result.first_match.push_back(score.first_match);
      ++(score.first_match < 0 ? result.queries_without_match : result.queries);
      result.map_at_r += score.average_precision;
      result.r_precision += score.precision;
    }
    const double n = static_cast<double>(std::max<std::int64_t>(1, result.queries));
    result.map_at_r /= n;
    result.r_precision /= n;
    for (const std::int64_t k : options_.recall_at) {
      RecallAtK at{.k = k};
      std::int64_t hits = 0;
      for (const MatchScore& score : scores) {
        if (score.first_match < 0) continue;
        hits += score.first_match < k;
        at.ties += score.certain < k && k <= score.possible;
      }
      at.recall = static_cast<double>(hits) / n;
      result.recall_at.push_back(at);
    }
    return result;
  }

  const Tensor& embeddings_;
  std::span<const std::int32_t> labels_;
  const RetrievalOptions& options_;
  const Device device_;
  const TileSize tile_;
  const Rows gallery_rows_;  // sorted by class
  const RankedRows gallery_;
  const Tensor features_;       // of the gallery
  std::vector<Query> queries_;  // sorted by class
};

// The k nearest rows of the gallery for each query of a tile.
TopK nearest(const Tensor& embeddings, const RankedRows& queries, const RankedRows& gallery,
             const Tensor& features, std::int64_t k, const RetrievalOptions& options) {
  const Tensor x = features_of(embeddings, queries, options.distance);
  TopK best = empty_top_k(x.dim(0), k, DType::f32, x.device());
  for_each_tile(x, features, options.distance, tile_size(options, x.device()).gallery,
                [&](std::int64_t first, Tensor& tile) {
                  mask_excluded(queries, gallery.slice(first, tile.dim(1)), tile);
                  top_k_update(best, tile, first);
                });
  return best;
}

}  // namespace

Distance distance_from_name(std::string_view name) {
  if (name == "cosine") return Distance::cosine;
  if (name == "euclidean") return Distance::euclidean;
  fail<UsageError>("distance: expected cosine or euclidean, got '", name, "'");
}

std::string_view name_of(Distance distance) {
  return distance == Distance::cosine ? "cosine" : "euclidean";
}

double RetrievalResult::recall(std::int64_t k) const {
  for (const RecallAtK& at : recall_at)
    if (at.k == k) return at.recall;
  fail("retrieval: Recall@", k, " was not asked for");
}

RetrievalResult evaluate_retrieval(const Tensor& embeddings, std::span<const std::int32_t> labels,
                                   const RetrievalOptions& options) {
  check_input(embeddings, labels, options);
  return Evaluation(embeddings, labels, options).run();
}

std::vector<std::vector<Neighbour>> nearest_neighbours(const Tensor& embeddings,
                                                       std::span<const std::int32_t> labels,
                                                       std::span<const std::int64_t> queries,
                                                       std::int64_t count,
                                                       const RetrievalOptions& options) {
  check_input(embeddings, labels, options);
  check<UsageError>(count >= 0, "retrieval: cannot find ", count, " neighbours");
  const Device device = embeddings.device();
  const Rows listed = listed_rows(Rows(queries.begin(), queries.end()), embeddings.dim(0), "query");
  Rows rows = listed_rows(options.gallery, embeddings.dim(0), "gallery");
  std::sort(rows.begin(), rows.end());  // of equally near ones, the lower is the lower column
  std::vector<std::vector<Neighbour>> found(listed.size());
  const std::int64_t k = std::min(count, std::ssize(rows));
  if (k == 0) return found;

  const RankedRows gallery = ranked_rows(rows, options, device);
  const RankedRows all = ranked_rows(listed, options, device);
  const Tensor features = features_of(embeddings, gallery, options.distance);
  const std::int64_t step = tile_size(options, device).queries;
  for (std::int64_t first = 0; first < std::ssize(listed); first += step) {
    const std::int64_t n = std::min(step, std::ssize(listed) - first);
    const TopK best = nearest(embeddings, all.slice(first, n), gallery, features, k, options);
    const auto values = best.values.to_vector<float>();
    const auto columns = best.indices.to_vector<std::int32_t>();
    for (std::int64_t i = 0; i < n * k; ++i) {
      if (columns[i] < 0) continue;
      const std::int64_t q = first + i / k, row = rows[columns[i]];
      found[q].push_back({row, values[i], labels[row] == labels[listed[q]]});
    }
  }
  return found;
}

}  // namespace proxent
