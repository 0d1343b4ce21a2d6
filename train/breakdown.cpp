#include "train/breakdown.h"

#include <algorithm>
#include <map>

#include "tensor/check.h"

namespace proxent {

std::vector<PartRecall> recall_by_part(const RetrievalResult& result,
                                       const RetrievalOptions& options,
                                       std::span<const std::string> names) {
  const std::size_t queries = options.queries ? options.queries->size() : names.size();
  check(queries == result.first_match.size(), "recall_by_part: ", queries,
        " queries, but the result is of ", result.first_match.size());
  std::map<std::string, PartRecall> parts;
  for (std::size_t place = 0; place < queries; ++place) {
    if (result.first_match[place] < 0) continue;
    PartRecall& part = parts[names[options.queries ? (*options.queries)[place] : place]];
    ++part.queries;
    part.hits += result.first_match[place] == 0;
  }
  std::vector<PartRecall> sorted;
  for (auto& [name, part] : parts) {
    part.name = name;
    sorted.push_back(std::move(part));
  }
  std::ranges::stable_sort(sorted, {}, &PartRecall::recall);
  return sorted;
}

Json to_json(const std::vector<PartRecall>& parts) {
  std::vector<Json> items;
  for (const PartRecall& part : parts)
    items.push_back(
        Json::object({{"name", part.name}, {"queries", part.queries}, {"R@1", part.recall()}}));
  return Json::array(std::move(items));
}

}  // namespace proxent
