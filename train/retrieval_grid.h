// A picture of what a model retrieves: queries, each beside its nearest pictures, the right ones
// framed green and the wrong ones red.
#pragma once

#include <cstdint>
#include <vector>

#include "data/contact_sheet.h"
#include "data/dataset.h"
#include "train/embed.h"
#include "train/retrieval.h"

namespace proxent {

struct GridOptions {
  std::int64_t queries = 8, neighbours = 5;  // rows and columns beside the query's
  std::uint64_t seed = 1;                    // which queries
  SheetOptions sheet = {};
};

// Places in RetrievalResult::first_match of `count` queries, fewer where fewer have a match: as
// large a share of them with a wrong nearest neighbour as among all (one right and one wrong at
// least, where there are any), spread over as many classes as there are. The right ones come first,
// each kind in random order. `labels` are the queries', in the order of first_match.
std::vector<std::int64_t> choose_queries(const std::vector<std::int64_t>& first_match,
                                         const std::vector<std::int32_t>& labels,
                                         std::int64_t count, std::uint64_t seed);

// The sheet for an evaluation of `embeddings` of the data set with `retrieval`, whose result was
// `result`. Throws UsageError when no query has a match, DataError when a picture cannot be read
// again.
Image retrieval_grid(const Dataset& dataset, const Embeddings& embeddings,
                     const RetrievalOptions& retrieval, const RetrievalResult& result,
                     const GridOptions& options = {});

}  // namespace proxent
