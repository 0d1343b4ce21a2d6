#include "data/sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

namespace proxent {
namespace {

// A data set without pictures: class c has sizes[c] samples.
Dataset with_sizes(const std::vector<int>& sizes) {
  Dataset dataset;
  dataset.name = "t";
  for (std::size_t c = 0; c < sizes.size(); ++c) {
    dataset.class_names.push_back(std::to_string(c));
    for (int i = 0; i < sizes[c]; ++i) {
      Sample sample;
      sample.label = static_cast<std::int32_t>(c);
      dataset.samples.push_back(sample);
    }
  }
  return dataset;
}

std::string reason(const Dataset& dataset, const SamplerOptions& options) {
  try {
    const Sampler sampler(dataset, options);
  } catch (const UsageError& error) {
    return error.message();
  }
  return "no error";
}

TEST_SUITE("sampler") {
  TEST_CASE("random: a permutation per epoch, another one each epoch and seed") {
    const Dataset dataset = with_sizes({50, 53});
    const Sampler sampler(dataset, {.batch = 10, .drop_last = false, .seed = 5});
    CHECK(sampler.batches_per_epoch() == 11);
    std::set<std::vector<std::int64_t>> orders;
    for (const std::int64_t epoch : {0, 1, 2}) {
      auto order = sampler.epoch_order(epoch);
      CHECK(sampler.batch(order, 10).size() == 3);
      orders.insert(order);
      CHECK(order == sampler.epoch_order(epoch));
      std::sort(order.begin(), order.end());
      for (std::int64_t i = 0; i < 103; ++i) REQUIRE(order[i] == i);
    }
    orders.insert(Sampler(dataset, {.batch = 10, .drop_last = false, .seed = 6}).epoch_order(0));
    CHECK(orders.size() == 4);
    const Sampler dropping(dataset, {.batch = 10, .seed = 5});
    CHECK(dropping.batches_per_epoch() == 10);
    CHECK(dropping.epoch_order(0).size() == 100);
    CHECK(dropping.batch(dropping.epoch_order(0), 9).size() == 10);
    CHECK_THROWS_AS(dropping.batch(dropping.epoch_order(0), 10), Error);
  }

  TEST_CASE("random: every place is equally likely") {
    const Dataset dataset = with_sizes({4});
    const Sampler sampler(dataset, {.batch = 4});
    std::map<std::vector<std::int64_t>, int> seen;
    for (std::int64_t epoch = 0; epoch < 4800; ++epoch) ++seen[sampler.epoch_order(epoch)];
    CHECK(seen.size() == 24);
    for (const auto& [order, count] : seen) CHECK(std::abs(count - 200) < 70);  // 5 sigma of 200
  }

  TEST_CASE("m-per-class: distinct classes, distinct pictures, all equally often") {
    const Dataset dataset = with_sizes({20, 7, 2, 0, 30, 11});
    const Sampler sampler(dataset, {.kind = SamplerKind::m_per_class, .batch = 12, .per_class = 4});
    CHECK(sampler.batches_per_epoch() == 5);
    std::map<std::int32_t, int> class_count;
    std::map<std::int64_t, int> picture_count;
    for (std::int64_t epoch = 0; epoch < 40; ++epoch) {
      const auto order = sampler.epoch_order(epoch);
      CHECK(order == sampler.epoch_order(epoch));
      REQUIRE(order.size() == 60);
      for (std::int64_t b = 0; b < 5; ++b) {
        const auto batch = sampler.batch(order, b);
        std::map<std::int32_t, std::set<std::int64_t>> members;
        std::map<std::int32_t, int> counts;
        for (const std::int64_t i : batch) {
          members[dataset.samples[i].label].insert(i);
          ++counts[dataset.samples[i].label];
          ++picture_count[i];
        }
        REQUIRE(members.size() == 3);
        for (const auto& [label, pictures] : members) {
          CHECK(counts[label] == 4);
          CHECK(pictures.size() == (label == 2 ? 2 : 4));
          ++class_count[label];
        }
      }
    }
    for (const auto& [label, count] : class_count) {
      CAPTURE(label);
      CHECK(count == 120);  // 40 epochs of 15 class draws over 5 classes: whole decks
    }
    CHECK(picture_count.size() == 70);
  }

  TEST_CASE("positions run through batches and epochs") {
    const Dataset dataset = with_sizes({5});
    const Sampler sampler(dataset, {.batch = 2});
    BatchPosition position;
    position = sampler.next(position);
    CHECK(position == BatchPosition{0, 1});
    CHECK(sampler.next(position) == BatchPosition{1, 0});
  }

  TEST_CASE("sizes that cannot work are named; 1 works") {
    const Dataset dataset = with_sizes({3, 2});
    CHECK(reason(dataset, {.batch = 6}) ==
          "a batch of 6 pictures is larger than the data set t with 5; choose a smaller batch");
    CHECK(reason(dataset, {.batch = 0}) == "the batch must be at least 1 picture, got 0");
    CHECK(reason(with_sizes({}), {.batch = 1}) == "data set t is empty: nothing to sample from");
    const SamplerKind kind = SamplerKind::m_per_class;
    CHECK(reason(dataset, {.kind = kind, .batch = 5, .per_class = 2}) ==
          "a batch of 5 pictures cannot be made of whole classes with 2 pictures each");
    CHECK(reason(dataset, {.kind = kind, .batch = 3, .per_class = 1}) ==
          "a batch of 3 classes with 1 pictures each needs more classes than the 2 of data set t");
    CHECK(reason(dataset, {.kind = kind, .batch = 4, .per_class = 0}) != "no error");
    CHECK(Sampler(with_sizes({1}), {.batch = 1}).epoch_order(3) == std::vector<std::int64_t>{0});
    CHECK(Sampler(with_sizes({1}), {.kind = kind, .batch = 1, .per_class = 1}).epoch_order(0) ==
          std::vector<std::int64_t>{0});
    CHECK(sampler_from_name("m-per-class") == kind);
    CHECK_THROWS_AS(sampler_from_name("mperclass"), UsageError);
  }
}
}  // namespace
}  // namespace proxent
