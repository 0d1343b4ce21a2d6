#include "train/few_shot.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "tensor/parallel.h"
#include "tensor/random.h"
#include "tensor/similarity.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;

void check_options(const FewShotOptions& options) {
  check<UsageError>(options.way >= 2, "few-shot: a task needs two classes at least, got ",
                    options.way);
  check<UsageError>(options.shots >= 1 && options.queries >= 1 && options.tasks >= 1,
                    "few-shot: shots, queries and tasks must be positive, got ", options.shots,
                    ", ", options.queries, " and ", options.tasks);
}

// Puts `count` random items to the front, in random order (Fisher and Yates).
template <class T>
void draw_to_front(std::vector<T>& items, std::int64_t count, Philox& random) {
  for (std::int64_t i = 0; i < count; ++i)
    std::swap(items[i], items[i + random.below(std::ssize(items) - i)]);
}

class Tasks {
 public:
  Tasks(const Tensor& unit, std::vector<Rows> classes, const FewShotOptions& options)
      : unit_(unit), classes_(std::move(classes)), options_(options) {}

  // Share of queries that one task recognises.
  double accuracy(std::int64_t task) const {
    Philox random(options_.seed, stream_of("few_shot " + std::to_string(options_.shots), task));
    std::vector<const Rows*> all;
    for (const Rows& rows : classes_) all.push_back(&rows);
    draw_to_front(all, options_.way, random);
    std::vector<Rows> drawn;
    std::vector<std::vector<double>> prototypes;
    for (std::int64_t c = 0; c < options_.way; ++c) {
      drawn.push_back(*all[c]);
      draw_to_front(drawn.back(), options_.shots + options_.queries, random);
      prototypes.push_back(prototype(drawn.back()));
    }
    std::int64_t right = 0;
    for (std::int64_t c = 0; c < options_.way; ++c)
      for (std::int64_t q = 0; q < options_.queries; ++q)
        right += nearest(prototypes, drawn[c][options_.shots + q]) == c;
    return static_cast<double>(right) / static_cast<double>(options_.way * options_.queries);
  }

 private:
  const float* row(std::int64_t number) const {
    return unit_.data<float>() + number * unit_.dim(1);
  }

  // Of length one; its own length would favour classes whose support agrees.
  std::vector<double> prototype(const Rows& rows) const {
    std::vector<double> mean(unit_.dim(1));
    for (std::int64_t i = 0; i < options_.shots; ++i)
      for (std::size_t d = 0; d < mean.size(); ++d) mean[d] += row(rows[i])[d];
    const double length =
        std::sqrt(std::inner_product(mean.begin(), mean.end(), mean.begin(), 0.0));
    if (length > 0)
      for (double& v : mean) v /= length;
    return mean;
  }

  std::int64_t nearest(const std::vector<std::vector<double>>& prototypes,
                       std::int64_t query) const {
    std::vector<double> cosines;
    for (const auto& prototype : prototypes)
      cosines.push_back(std::inner_product(prototype.begin(), prototype.end(), row(query), 0.0));
    return std::ranges::max_element(cosines) - cosines.begin();
  }

  const Tensor& unit_;
  const std::vector<Rows> classes_;
  const FewShotOptions& options_;
};

}  // namespace

FewShotResult few_shot(const Tensor& embeddings, std::span<const std::int32_t> labels,
                       const FewShotOptions& options) {
  check(embeddings.shape().rank() == 2 && embeddings.dtype() == DType::f32 &&
            embeddings.dim(0) == std::ssize(labels),
        "few_shot: expected (", labels.size(), ", features) f32, got ", embeddings);
  check_options(options);
  std::map<std::int32_t, Rows> by_label;
  for (std::size_t i = 0; i < labels.size(); ++i)
    by_label[labels[i]].push_back(static_cast<std::int64_t>(i));
  FewShotResult result{.options = options};
  std::vector<Rows> classes;
  const std::int64_t needed = options.shots + options.queries;
  for (auto& [label, rows] : by_label) {
    if (std::ssize(rows) >= needed)
      classes.push_back(std::move(rows));
    else
      ++result.skipped_classes;
  }
  result.classes = std::ssize(classes);
  check<DataError>(result.classes >= options.way, "few-shot: a task of ", options.way,
                   " classes needs ", needed, " pictures of each (",
                   counted(options.shots, "shot", "shots"), ", ",
                   counted(options.queries, "query", "queries"), "), but only ", result.classes,
                   " of ", by_label.size(),
                   " classes have so many. Choose fewer --queries or --shots, a "
                   "smaller way, or more data");
  const Tensor unit = unit_rows(embeddings.to(Device::cpu));
  const Tasks tasks(unit, std::move(classes), options);
  std::vector<double> accuracies(options.tasks);
  parallel_for(options.tasks, 4, [&](std::int64_t t) { accuracies[t] = tasks.accuracy(t); });

  const auto n = static_cast<double>(options.tasks);
  result.accuracy = std::accumulate(accuracies.begin(), accuracies.end(), 0.0) / n;
  double squares = 0;
  for (const double a : accuracies) squares += (a - result.accuracy) * (a - result.accuracy);
  if (options.tasks > 1) result.interval = 1.96 * std::sqrt(squares / (n - 1)) / std::sqrt(n);
  return result;
}

std::int64_t way_from_text(std::string_view text) {
  std::int64_t way = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), way);
  const std::string_view rest = text.substr(stop - text.data());
  check<UsageError>(error == std::errc() && way >= 2 && (rest.empty() || rest == "-way"),
                    "few-shot: expected the number of classes of a task as 5-way, got '", text,
                    "'");
  return way;
}

}  // namespace proxent
