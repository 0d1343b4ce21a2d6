// Where retrieval fails: Recall@1 of each class, or of each category where the data has some.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/json.h"
#include "train/retrieval.h"

namespace proxent {

struct PartRecall {
  std::string name;
  std::int64_t queries = 0, hits = 0;  // queries with a match, and those whose nearest row is one
  double recall() const { return static_cast<double>(hits) / static_cast<double>(queries); }
};

// Recall@1 of the queries of each part, the worst first, equally bad ones by name. `names` are the
// parts of the rows of the embeddings; queries without a match are left out, and parts of those.
std::vector<PartRecall> recall_by_part(const RetrievalResult& result,
                                       const RetrievalOptions& options,
                                       std::span<const std::string> names);
// [{"name": ..., "queries": ..., "R@1": ...}, ...]
Json to_json(const std::vector<PartRecall>& parts);

}  // namespace proxent
