#include "train/retrieval.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "tensor/topk.h"
#include "train/pair_tiles.h"
#include "train/rank_scores.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

// Matches held at once, however large the classes are: 12 bytes each.
constexpr std::int64_t kMaxMatches = 1 << 24;

template <class T>
Tensor uploaded(const std::vector<T>& values, Device device) {
  return Tensor::from({std::ssize(values)}, values).to(device);
}

// The rows of a ranking that the metrics asked for look at; 0: as many as there are matches.
std::int32_t reach_of(const RetrievalOptions& options) {
  constexpr std::int64_t kAll = std::numeric_limits<std::int32_t>::max();
  if (options.wants_map || options.change_ranks) return kAll;
  std::int64_t reach = 0;
  for (const auto* ks : {&options.precision_at, &options.ndcg_at})
    for (const std::int64_t k : *ks) reach = std::max(reach, k);
  return static_cast<std::int32_t>(std::min(reach, kAll));
}

Tensor queries_of(const Tensor& embeddings, const RankedRows& rows,
                  const RetrievalOptions& options) {
  return features_of(options.as_queries.value_or(embeddings), rows, options.distance);
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
        reach_(reach_of(options)),
        gallery_rows_(sorted_by_class(listed_rows(options.gallery, embeddings.dim(0), "gallery"))),
        gallery_(ranked_rows(gallery_rows_, options, device_)),
        features_(features_of(embeddings, gallery_, options.distance)) {}

  RetrievalResult run() {
    sort_queries(listed_rows(options_.queries, embeddings_.dim(0), "query"));
    scores_.resize(queries_.size());
    rank_scores_.resize(reach_ > 0 ? queries_.size() : 0);
    const std::vector<QueryTile> tiles = query_tiles();
    const RankedQueries queries = uploaded_queries(tiles);
    for (const QueryTile& tile : tiles) {
      const RankedQueries its_queries = queries.slice(tile.first, tile.last - tile.first);
      const MatchRanks ranks = rank(its_queries, tile.matches);
      if (reach_ > 0)
        score_here(tile, ranks);
      else
        score_there(tile, ranks, its_queries);
    }
    return summary();
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

  MatchRanks rank(const RankedQueries& queries, std::int64_t matches) const {
    const Tensor x = queries_of(embeddings_, queries.rows, options_);
    MatchRanks ranks = start_ranks(queries, gallery_, x, features_,
                                   similarity_of(options_.distance), matches, reach_);
    for_each_tile(x, features_, options_.distance, tile_.gallery,
                  [&](std::int64_t first, const Tensor& tile) {
                    count_nearer(queries, gallery_, tile, first, ranks);
                  });
    return ranks;
  }

  // On the device, which sends a few numbers per query.
  void score_there(const QueryTile& tile, const MatchRanks& ranks, const RankedQueries& queries) {
    Tensor scores({tile.last - tile.first, std::int64_t{sizeof(MatchScore)}}, DType::u8, device_);
    score_ranks(ranks, queries, scores);
    scores = scores.to(Device::cpu);
    for (std::int64_t q = tile.first; q < tile.last; ++q)
      std::memcpy(&scores_[queries_[q].place], scores.raw() + (q - tile.first) * sizeof(MatchScore),
                  sizeof(MatchScore));
  }

  // From the rank of every match, where more is asked for than the device scores.
  void score_here(const QueryTile& tile, const MatchRanks& ranks) {
    const Tensor beaten_here = ranks.beaten.to(Device::cpu), states = ranks.states.to(Device::cpu);
    const std::int32_t* beaten = beaten_here.data<std::int32_t>();
    std::vector<std::int32_t> its_ranks;
    for (std::int64_t q = tile.first; q < tile.last; ++q) {
      const Query& query = queries_[q];
      MatchState state;
      std::memcpy(&state, states.raw() + (q - tile.first) * sizeof(MatchState), sizeof(MatchState));
      ranks_of(state, beaten, its_ranks);
      if (options_.change_ranks) {
        options_.change_ranks(query.place, its_ranks);
        scores_[query.place] = match_score(its_ranks, state.count);
      } else {
        scores_[query.place] = state.score(beaten);
      }
      rank_scores_[query.place] = rank_scores(its_ranks, state.count, options_);
      beaten += query.own_last - query.own_first;
    }
  }

  RetrievalResult summary() const {
    RetrievalResult result;
    result.gallery = std::ssize(gallery_rows_);
    for (const MatchScore& score : scores_) {
      result.first_match.push_back(score.first_match);
      ++(score.first_match < 0 ? result.queries_without_match : result.queries);
      result.map_at_r += score.average_precision;
      result.r_precision += score.precision;
      if (score.first_match >= 0) result.mrr += 1 / (score.first_match + 1.0);
    }
    const double n = static_cast<double>(std::max<std::int64_t>(1, result.queries));
    result.map_at_r /= n;
    result.r_precision /= n;
    result.mrr /= n;
    average_rank_scores(n, result);
    for (const std::int64_t k : options_.recall_at) {
      RecallAtK at{.k = k};
      std::int64_t hits = 0;
      for (const MatchScore& score : scores_) {
        if (score.first_match < 0) continue;
        hits += score.first_match < k;
        at.ties += score.certain < k && k <= score.possible;
      }
      at.recall = static_cast<double>(hits) / n;
      result.recall_at.push_back(at);
    }
    return result;
  }

  void average_rank_scores(double queries, RetrievalResult& result) const {
    const auto mean = [&](const auto& value_of) {
      double sum = 0;
      for (const RankScores& scores : rank_scores_) sum += value_of(scores);
      return sum / queries;
    };
    if (options_.wants_map)
      result.map = mean([](const RankScores& scores) { return scores.average_precision; });
    const auto averages = [&](const Rows& ks, std::vector<double> RankScores::*values) {
      std::vector<ValueAtK> at;
      for (std::size_t i = 0; i < ks.size(); ++i)
        at.push_back({ks[i], mean([&](const RankScores& scores) { return (scores.*values)[i]; })});
      return at;
    };
    result.precision_at = averages(options_.precision_at, &RankScores::precision_at);
    result.ndcg_at = averages(options_.ndcg_at, &RankScores::ndcg_at);
  }

  const Tensor& embeddings_;
  std::span<const std::int32_t> labels_;
  const RetrievalOptions& options_;
  const Device device_;
  const TileSize tile_;
  const std::int32_t reach_;
  const Rows gallery_rows_;  // sorted by class
  const RankedRows gallery_;
  const Tensor features_;       // of the gallery
  std::vector<Query> queries_;  // sorted by class
  // By place in the order of RetrievalOptions::queries, so that no sum depends on tiles.
  std::vector<MatchScore> scores_;
  std::vector<RankScores> rank_scores_;  // where they are asked for
};

// The k nearest rows of the gallery for each query of a tile.
TopK nearest(const Tensor& embeddings, const RankedRows& queries, const RankedRows& gallery,
             const Tensor& features, std::int64_t k, const RetrievalOptions& options) {
  const Tensor x = queries_of(embeddings, queries, options);
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
  check_retrieval(embeddings, labels, options);
  return Evaluation(embeddings, labels, options).run();
}

std::vector<std::vector<Neighbour>> nearest_neighbours(const Tensor& embeddings,
                                                       std::span<const std::int32_t> labels,
                                                       std::span<const std::int64_t> queries,
                                                       std::int64_t count,
                                                       const RetrievalOptions& options) {
  check_retrieval(embeddings, labels, options);
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
