#include "train/retrieval_grid.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tensor/random.h"

namespace proxent {
namespace {

// Puts the first of every class before the second of any.
void spread_over_classes(std::vector<std::int64_t>& places, const std::vector<std::int32_t>& labels,
                         std::map<std::int32_t, std::int64_t>& used) {
  std::vector<std::pair<std::int64_t, std::int64_t>> by_turn;
  for (const std::int64_t place : places) by_turn.emplace_back(used[labels[place]]++, place);
  std::stable_sort(by_turn.begin(), by_turn.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::transform(by_turn.begin(), by_turn.end(), places.begin(),
                 [](const auto& turn) { return turn.second; });
}

// How many of `count` are right, of so many right and wrong ones.
std::int64_t right_among(std::int64_t count, std::int64_t right, std::int64_t wrong) {
  const double share = static_cast<double>(right) / static_cast<double>(right + wrong);
  const auto exact = static_cast<std::int64_t>(std::lround(share * static_cast<double>(count)));
  const std::int64_t least = std::max<std::int64_t>(count - wrong, right > 0 && count > 1);
  const std::int64_t most = std::min<std::int64_t>(right, count - (wrong > 0 && count > 1));
  return std::clamp(exact, std::min(least, most), most);
}

}  // namespace

std::vector<std::int64_t> choose_queries(const std::vector<std::int64_t>& first_match,
                                         const std::vector<std::int32_t>& labels,
                                         std::int64_t count, std::uint64_t seed) {
  check(first_match.size() == labels.size(), "choose_queries: ", first_match.size(),
        " queries, but ", labels.size(), " labels");
  check<UsageError>(count >= 0, "choose_queries: cannot choose ", count);
  std::vector<std::int64_t> right, wrong;
  for (std::int64_t place = 0; place < std::ssize(first_match); ++place)
    if (first_match[place] >= 0) (first_match[place] == 0 ? right : wrong).push_back(place);
  count = std::min(count, std::ssize(right) + std::ssize(wrong));
  if (count == 0) return {};

  Philox random(seed, stream_of("retrieval grid"));
  shuffle(right, random);
  shuffle(wrong, random);
  std::map<std::int32_t, std::int64_t> used;
  const std::int64_t right_count = right_among(count, std::ssize(right), std::ssize(wrong));
  spread_over_classes(right, labels, used);
  right.resize(right_count);
  used.clear();
  for (const std::int64_t place : right) ++used[labels[place]];
  spread_over_classes(wrong, labels, used);
  right.insert(right.end(), wrong.begin(), wrong.begin() + (count - right_count));
  return right;
}

Image retrieval_grid(const Dataset& dataset, const Embeddings& embeddings,
                     const RetrievalOptions& retrieval, const RetrievalResult& result,
                     const GridOptions& options) {
  std::vector<std::int64_t> rows(embeddings.samples.size());
  std::iota(rows.begin(), rows.end(), 0);
  if (retrieval.queries) rows = *retrieval.queries;
  check(rows.size() == result.first_match.size(), "retrieval_grid: ", rows.size(),
        " queries, but the result is of ", result.first_match.size());
  std::vector<std::int32_t> labels;
  for (const std::int64_t row : rows) labels.push_back(embeddings.labels.at(row));
  std::vector<std::int64_t> queries;
  for (const std::int64_t place :
       choose_queries(result.first_match, labels, options.queries, options.seed))
    queries.push_back(rows[place]);
  check<UsageError>(!queries.empty(), "retrieval_grid: no query has a match");

  const auto found = nearest_neighbours(embeddings.values, embeddings.labels, queries,
                                        options.neighbours, retrieval);
  std::vector<std::vector<SheetCell>> sheet;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    sheet.push_back({{dataset.load(embeddings.samples[queries[q]]), Frame::none}});
    for (const Neighbour& neighbour : found[q])
      sheet.back().push_back({dataset.load(embeddings.samples[neighbour.row]),
                              neighbour.is_match ? Frame::green : Frame::red});
  }
  return contact_sheet(sheet, options.sheet);
}

}  // namespace proxent
