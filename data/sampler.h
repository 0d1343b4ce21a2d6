// Which pictures make up which batch: a pure function of (seed, epoch, batch), so that a run
// resumes exactly and nothing depends on threads.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace proxent {

enum class SamplerKind : std::uint8_t {
  random,      // every picture once per epoch, in random order
  m_per_class  // batch / per_class classes with per_class pictures each
};
SamplerKind sampler_from_name(std::string_view name);  // random | m-per-class, else UsageError
std::string_view name_of(SamplerKind kind);

struct SamplerOptions {
  SamplerKind kind = SamplerKind::random;
  std::int64_t batch = 120;    // pictures
  std::int64_t per_class = 4;  // m_per_class
  bool drop_last = true;       // random: leave out the last batch when it would be smaller
  std::uint64_t seed = 1;
};

// A batch within a run.
struct BatchPosition {
  std::int64_t epoch = 0, batch = 0;
  bool operator==(const BatchPosition&) const = default;
};

class Sampler {
 public:
  // UsageError when the data set is empty or smaller than a batch, or the batch cannot be made of
  // whole classes.
  Sampler(const Dataset& dataset, const SamplerOptions& options);

  const SamplerOptions& options() const { return options_; }
  std::int64_t batches_per_epoch() const;
  BatchPosition next(BatchPosition position) const;

  // Indices into the data set of all batches of an epoch, one after the other.
  //   random       a permutation, without the rest that drop_last leaves out
  //   m_per_class  classes and the pictures of each are dealt from shuffled decks, so that all come
  //                equally often; within a batch classes are distinct, and pictures too where a
  //                class has enough
  std::vector<std::int64_t> epoch_order(std::int64_t epoch) const;
  // The part of an epoch's order that is one batch.
  std::vector<std::int64_t> batch(const std::vector<std::int64_t>& epoch_order,
                                  std::int64_t batch) const;

 private:
  std::vector<std::int64_t> random_order(std::int64_t epoch) const;
  std::vector<std::int64_t> class_order(std::int64_t epoch) const;

  SamplerOptions options_;
  std::int64_t size_;
  std::vector<std::vector<std::int64_t>> by_class_;  // without empty classes
};

}  // namespace proxent
