#include "train/query_expansion.h"

#include <cmath>
#include <numeric>

#include "data/parse_number.h"
#include "tensor/parallel.h"
#include "train/pair_tiles.h"
#include "train/text.h"

namespace proxent {
Tensor mean_directions(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape() && a.shape().rank() == 2 && a.dtype() == DType::f32 &&
            b.dtype() == DType::f32,
        "mean_directions: expected two (rows, features) f32 of one shape, got ", a, " and ", b);
  Tensor sum = unit_rows(a).to(Device::cpu).clone();
  const Tensor other = unit_rows(b).to(Device::cpu);
  for (std::int64_t i = 0; i < sum.numel(); ++i) sum.data<float>()[i] += other.data<float>()[i];
  return unit_rows(sum.to(a.device()));
}

QueryExpansionOptions query_expansion_from_text(std::string_view text) {
  QueryExpansionOptions options;
  const std::vector<std::string> parts = split(text, ',');
  const auto neighbours = parse_number<std::int64_t>(parts.empty() ? "" : parts[0]);
  const auto alpha = parts.size() > 1 ? parse_number<double>(parts[1]) : options.alpha;
  const bool is_right = parts.size() <= 2 && neighbours && *neighbours >= 1 && alpha && *alpha >= 0;
  check<UsageError>(is_right, "query expansion: expected a number of neighbours and perhaps alpha ",
                    "as 10,3, got '", text, "'");
  options.neighbours = *neighbours;
  options.alpha = *alpha;
  return options;
}

Tensor expanded_queries(const Tensor& embeddings, std::span<const std::int32_t> labels,
                        const RetrievalOptions& options, const QueryExpansionOptions& expansion) {
  check<UsageError>(options.distance == Distance::cosine,
                    "query expansion weighs neighbours by their cosine; leave out the other "
                    "distance");
  const std::vector<std::int64_t> queries =
      listed_rows(options.queries, embeddings.dim(0), "query");
  const auto found = nearest_neighbours(embeddings, labels, queries, expansion.neighbours, options);
  const Tensor unit = unit_rows(embeddings).to(Device::cpu);
  Tensor expanded = unit.clone();
  const std::int64_t dim = unit.dim(1);
  parallel_for(std::ssize(queries), 16, [&](std::int64_t q) {
    const float* own = unit.data<float>() + queries[q] * dim;
    std::vector<double> sum(own, own + dim);
    for (const Neighbour& neighbour : found[q]) {
      const double weight = std::pow(std::max(0.0, double{neighbour.similarity}), expansion.alpha);
      const float* x = unit.data<float>() + neighbour.row * dim;
      for (std::int64_t d = 0; d < dim; ++d) sum[d] += weight * x[d];
    }
    const double length = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
    for (std::int64_t d = 0; d < dim && length > 0; ++d)
      expanded.data<float>()[queries[q] * dim + d] = static_cast<float>(sum[d] / length);
  });
  return expanded.to(embeddings.device());
}

}  // namespace proxent
