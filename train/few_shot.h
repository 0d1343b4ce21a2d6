// Few-shot classification with frozen embeddings: tasks of some classes with one or a few labelled
// pictures each.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

struct FewShotOptions {
  std::int64_t way = 5;       // classes of a task
  std::int64_t shots = 1;     // labelled pictures of each class, the support
  std::int64_t queries = 15;  // pictures of each class to be recognised
  std::int64_t tasks = 600;
  std::uint64_t seed = 1;
};

struct FewShotResult {
  FewShotOptions options;
  double accuracy = 0;  // mean over tasks of the share of queries that were recognised
  // Half of the 95 % interval: 1.96 s / sqrt(tasks), s with tasks - 1; NaN for one task.
  double interval = std::numeric_limits<double>::quiet_NaN();
  std::int64_t classes = 0;          // with enough pictures
  std::int64_t skipped_classes = 0;  // fewer than shots + queries
};

// Each task draws `way` classes, and of each `shots` and `queries` different pictures, from numbers
// that the seed, the shots and the task alone decide. A prototype is the mean of the support's
// embeddings, each of length one; a query belongs to the prototype of the largest cosine (Snell et
// al. 2017 with cosine; of equal ones the class drawn first). Groups, which only rankings know, are
// not looked at: classes of few of them could not be divided, and numbers would be of other tasks
// than those of the papers. Embeddings (N, D) f32, labels (N).
// Throws UsageError for numbers that make no sense, DataError when fewer than `way` classes have
// shots + queries pictures, saying how many have and what to do.
FewShotResult few_shot(const Tensor& embeddings, std::span<const std::int32_t> labels,
                       const FewShotOptions& options);

// 5 of "5-way" or "5". Throws UsageError.
std::int64_t way_from_text(std::string_view text);

}  // namespace proxent
