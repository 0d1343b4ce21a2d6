#include "train/retrieval.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "tensor/cpu/parallel.h"
#include "tensor/similarity.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

// Matches held at once, however large the classes are: 12 bytes each.
constexpr std::int64_t kMaxMatches = 1 << 24;
// Elements of a tile of similarities within a class.
constexpr std::int64_t kMaxOwnTile = 1 << 22;
// Elements to look at that are worth waking a thread for.
constexpr std::int64_t kGrain = 1 << 17;

struct Entry {
  float similarity;
  std::int32_t row;
};
// The order of every ranking here.
bool comes_before(const Entry& a, const Entry& b) {
  return a.similarity > b.similarity || (a.similarity == b.similarity && a.row < b.row);
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

// The query itself, or another of its group.
bool is_excluded(std::int64_t query, std::int64_t row, const std::vector<std::int32_t>& groups) {
  return row == query || (!groups.empty() && groups[query] >= 0 && groups[row] == groups[query]);
}

void check_input(const Tensor& embeddings, std::span<const std::int32_t> labels,
                 const RetrievalOptions& options) {
  check(embeddings.shape().rank() == 2 && embeddings.dtype() == DType::f32 &&
            embeddings.device() == Device::cpu,
        "retrieval: embeddings must be (rows, features) f32 on the cpu, got ", embeddings);
  const std::int64_t rows = embeddings.dim(0), dim = embeddings.dim(1);
  check(rows == std::ssize(labels), "retrieval: ", rows, " embeddings, but ", labels.size(),
        " labels");
  check(rows <= std::numeric_limits<std::int32_t>::max(), "retrieval: at most 2^31 - 1 rows, got ",
        rows);
  check(options.groups.empty() || rows == std::ssize(options.groups), "retrieval: ", rows,
        " embeddings, but ", options.groups.size(), " groups");
  check<UsageError>(options.query_tile >= 1 && options.gallery_tile >= 1,
                    "retrieval: tiles must have a row at least, got ", options.query_tile, " and ",
                    options.gallery_tile);
  for (const std::int64_t k : options.recall_at)
    check<UsageError>(k >= 1, "retrieval: Recall@K needs K >= 1, got ", k);
  const float* x = embeddings.data<float>();
  for (std::int64_t i = 0; i < embeddings.numel(); ++i)
    check<NonFiniteError>(std::isfinite(x[i]), "retrieval: embedding ", i / dim, " holds ", x[i],
                          " at feature ", i % dim);
}

// The embeddings of some rows, of length one for the cosine. A zero row stays zero.
Tensor gather(const Tensor& embeddings, std::span<const std::int64_t> rows, Distance distance) {
  const std::int64_t dim = embeddings.dim(1);
  Tensor gathered({std::ssize(rows), dim}, DType::f32);
  const float* from = embeddings.data<float>();
  float* to = gathered.data<float>();
  parallel_for(std::ssize(rows), 1 + kGrain / (dim + 1), [&](std::int64_t i) {
    const float* x = from + rows[i] * dim;
    if (distance == Distance::euclidean) return void(std::copy_n(x, dim, to + i * dim));
    double squares = 0;
    for (std::int64_t d = 0; d < dim; ++d) squares += double{x[d]} * x[d];
    const double length = squares > 0 ? std::sqrt(squares) : 1;
    for (std::int64_t d = 0; d < dim; ++d) to[i * dim + d] = static_cast<float>(x[d] / length);
  });
  return gathered;
}

Similarity similarity_of(Distance distance) {
  return distance == Distance::cosine ? Similarity::dot : Similarity::euclidean;
}

// One query while the gallery passes by. Its matches lie in descending order; `beaten[m]` counts
// the other rows that come before match m but not before match m - 1, so that match m has
// m + beaten[0] + ... + beaten[m] rows before it: all that Recall@K and MAP@R ask for.
struct Query {
  std::int64_t row = 0, place = 0;           // place: in the order of RetrievalOptions::queries
  std::int64_t own_first = 0, own_last = 0;  // its class' rows of the sorted gallery
  Entry* matches = nullptr;
  std::int32_t* beaten = nullptr;
  std::int64_t count = 0;  // R, the number of matches
  // Only matches that may still be among the first R rows are followed, and the nearest one always:
  // the first `live` of them. No row below `floor` can come before one.
  std::int64_t live = 0, beaten_sum = 0;
  float floor = std::numeric_limits<float>::infinity();
  std::int64_t equal_to_best = 0, equal_and_before = 0;  // rows as near as the nearest match

  void start() {
    std::sort(matches, matches + count, comes_before);
    std::fill_n(beaten, count, 0);
    live = count;
    if (live > 0) floor = matches[live - 1].similarity;
  }

  // A row of another class with a similarity of at least `floor`.
  void meet(const Entry& other) {
    const bool equals_best = other.similarity == matches[0].similarity;
    equal_to_best += equals_best;
    const auto m = std::upper_bound(matches, matches + live, other, comes_before) - matches;
    if (m == live) return;
    equal_and_before += equals_best && m == 0;
    ++beaten[m];
    ++beaten_sum;
    while (live > 1 && live - 1 + beaten_sum >= count) {
      --live;
      beaten_sum -= beaten[live];
      floor = matches[live - 1].similarity;
    }
  }
};

// What one query adds to the averages.
struct Score {
  std::int64_t first_match = -1;
  std::int64_t certain = 0, possible = 0;  // hit at K if K > possible, missed if K <= certain
  double precision = 0, average_precision = 0;
};

Score score_of(const Query& query) {
  Score score;
  if (query.count == 0) return score;
  score.first_match = query.beaten[0];
  score.certain = query.beaten[0] - query.equal_and_before;
  score.possible = score.certain + query.equal_to_best;
  std::int64_t before = 0;
  for (std::int64_t m = 0; m < query.live; ++m) {
    before += query.beaten[m];
    if (m + before >= query.count) break;
    score.precision += 1;
    score.average_precision += static_cast<double>(m + 1) / static_cast<double>(m + before + 1);
  }
  score.precision /= static_cast<double>(query.count);
  score.average_precision /= static_cast<double>(query.count);
  return score;
}

class Evaluation {
 public:
  Evaluation(const Tensor& embeddings, std::span<const std::int32_t> labels,
             const RetrievalOptions& options)
      : embeddings_(embeddings),
        labels_(labels),
        options_(options),
        gallery_rows_(sorted_by_class(listed_rows(options.gallery, embeddings.dim(0), "gallery"))),
        gallery_(gather(embeddings, gallery_rows_, options.distance)) {}

  RetrievalResult run() {
    const Rows listed = listed_rows(options_.queries, embeddings_.dim(0), "query");
    sort_queries(listed);
    scores_.resize(listed.size());
    for (std::int64_t first = 0; first < std::ssize(queries_);) {
      const std::int64_t last = tile_end(first);
      run_tile(std::span(queries_).subspan(first, last - first));
      first = last;
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

  std::int64_t tile_end(std::int64_t first) const {
    std::int64_t last = first, matches = 0;
    while (last < std::ssize(queries_) && last - first < options_.query_tile) {
      matches += queries_[last].own_last - queries_[last].own_first;
      if (matches > kMaxMatches && last > first) break;
      ++last;
    }
    return last;
  }

  void run_tile(std::span<Query> queries) {
    Rows rows;
    std::int64_t matches = 0;
    for (const Query& query : queries) {
      rows.push_back(query.row);
      matches += query.own_last - query.own_first;
    }
    matches_.resize(matches);
    beaten_.resize(matches);
    const Tensor x = gather(embeddings_, rows, options_.distance);
    find_matches(queries, x);
    meet_gallery(queries, x);
    for (const Query& query : queries) scores_[query.place] = score_of(query);
  }

  // Fills every query's matches: class by class, queries against the gallery rows of their class.
  void find_matches(std::span<Query> queries, const Tensor& x) {
    std::int64_t at = 0;
    for (std::int64_t first = 0; first < std::ssize(queries);) {
      const std::int64_t own_first = queries[first].own_first, own_last = queries[first].own_last;
      const std::int64_t size = own_last - own_first;
      std::int64_t last = first + 1;
      while (last < std::ssize(queries) && queries[last].own_first == own_first &&
             queries[last].own_last == own_last && (last - first + 1) * size <= kMaxOwnTile)
        ++last;
      const Tensor own = similarities(x.slice(first, last - first), gallery_.slice(own_first, size),
                                      similarity_of(options_.distance));
      parallel_for(last - first, 1 + kGrain / 16 / (size + 1), [&](std::int64_t i) {
        Query& query = queries[first + i];
        query.matches = matches_.data() + at + i * size;
        query.beaten = beaten_.data() + at + i * size;
        for (std::int64_t j = 0; j < size; ++j) {
          const std::int64_t row = gallery_rows_[own_first + j];
          if (!is_excluded(query.row, row, options_.groups))
            query.matches[query.count++] = {own.data<float>()[i * size + j],
                                            static_cast<std::int32_t>(row)};
        }
        query.start();
      });
      at += (last - first) * size;
      first = last;
    }
  }

  void meet_gallery(std::span<Query> queries, const Tensor& x) {
    const std::int64_t rows = std::ssize(queries);
    Tensor memory({rows, std::min(options_.gallery_tile, gallery_.dim(0))}, DType::f32);
    for (std::int64_t first = 0; first < gallery_.dim(0); first += options_.gallery_tile) {
      const std::int64_t last = std::min(first + options_.gallery_tile, gallery_.dim(0));
      Tensor tile = memory.view(0, {rows, last - first});
      similarities(x, gallery_.slice(first, last - first), similarity_of(options_.distance), tile);
      parallel_for(rows, 1 + kGrain / (last - first), [&](std::int64_t i) {
        Query& query = queries[i];
        const float* similarity = tile.data<float>() + i * (last - first) - first;
        meet_others(query, similarity, first, std::min(last, query.own_first));
        meet_others(query, similarity, std::max(first, query.own_last), last);
      });
    }
  }

  // Gallery rows first .. last of the sorted gallery, none of the query's class. Few are as near as
  // `floor`, so blocks are passed over with one comparison per vector.
  void meet_others(Query& query, const float* similarity, std::int64_t first,
                   std::int64_t last) const {
    constexpr std::int64_t kBlock = 64;
    for (; first < last; first += kBlock) {
      const std::int64_t end = std::min(first + kBlock, last);
      int is_near = 0;
#pragma omp simd reduction(| : is_near)
      for (std::int64_t j = first; j < end; ++j) is_near |= similarity[j] >= query.floor;
      if (!is_near) continue;
      for (std::int64_t j = first; j < end; ++j)
        if (similarity[j] >= query.floor &&
            !is_excluded(query.row, gallery_rows_[j], options_.groups))
          query.meet({similarity[j], static_cast<std::int32_t>(gallery_rows_[j])});
    }
  }

  RetrievalResult summary() const {
    RetrievalResult result;
    result.gallery = std::ssize(gallery_rows_);
    for (const Score& score : scores_) {
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
      for (const Score& score : scores_) {
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
  const Rows gallery_rows_;  // sorted by class
  const Tensor gallery_;     // their embeddings
  std::vector<Query> queries_;
  std::vector<Entry> matches_;        // of the queries of one tile
  std::vector<std::int32_t> beaten_;  // beside matches_
  std::vector<Score> scores_;         // by place
};

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
  const Rows listed = listed_rows(Rows(queries.begin(), queries.end()), embeddings.dim(0), "query");
  const Rows gallery = listed_rows(options.gallery, embeddings.dim(0), "gallery");
  const Tensor tile =
      similarities(gather(embeddings, listed, options.distance),
                   gather(embeddings, gallery, options.distance), similarity_of(options.distance));
  std::vector<std::vector<Neighbour>> found;
  for (std::int64_t i = 0; i < std::ssize(listed); ++i) {
    std::vector<Entry> entries;
    for (std::int64_t j = 0; j < std::ssize(gallery); ++j) {
      if (!is_excluded(listed[i], gallery[j], options.groups))
        entries.push_back({tile.data<float>()[i * std::ssize(gallery) + j],
                           static_cast<std::int32_t>(gallery[j])});
    }
    const auto nearest = std::min(count, std::ssize(entries));
    std::partial_sort(entries.begin(), entries.begin() + nearest, entries.end(), comes_before);
    found.emplace_back();
    for (const Entry& entry : std::span(entries).first(nearest))
      found.back().push_back({entry.row, entry.similarity, labels[entry.row] == labels[listed[i]]});
  }
  return found;
}

}  // namespace proxent
