#include "data/sampler.h"

#include <algorithm>
#include <numeric>

#include "tensor/random.h"

namespace proxent {
namespace {

// Deals its values in random order and starts over when they run out.
class Deck {
 public:
  explicit Deck(std::vector<std::int64_t> values) : values_(std::move(values)) {}

  // Appends `count` values: distinct ones, as long as there are enough.
  void deal(std::int64_t count, Philox& random, std::vector<std::int64_t>& out) {
    for (std::int64_t left = count; left > 0;) {
      const auto round = std::min(left, static_cast<std::int64_t>(values_.size()));
      deal_distinct(round, random, out);
      left -= round;
    }
  }

 private:
  void deal_distinct(std::int64_t count, Philox& random, std::vector<std::int64_t>& out) {
    const auto first = static_cast<std::ptrdiff_t>(out.size());
    std::vector<std::int64_t> held;  // came up again after the deck was shuffled anew
    while (static_cast<std::int64_t>(out.size()) - first < count) {
      if (rest_.empty()) {
        rest_ = values_;
        shuffle(rest_, random);
      }
      const std::int64_t value = rest_.back();
      rest_.pop_back();
      const bool is_dealt = std::find(out.begin() + first, out.end(), value) != out.end();
      (is_dealt ? held : out).push_back(value);
    }
    rest_.insert(rest_.end(), held.begin(), held.end());
  }

  std::vector<std::int64_t> values_, rest_;
};

}  // namespace

SamplerKind sampler_from_name(std::string_view name) {
  for (const SamplerKind kind : {SamplerKind::random, SamplerKind::m_per_class})
    if (name == name_of(kind)) return kind;
  fail<UsageError>("sampler must be random or m-per-class, got ", name);
}

std::string_view name_of(SamplerKind kind) {
  return kind == SamplerKind::random ? "random" : "m-per-class";
}

Sampler::Sampler(const Dataset& dataset, const SamplerOptions& options)
    : options_(options), size_(dataset.size()) {
  check<UsageError>(options.batch >= 1, "the batch must be at least 1 picture, got ",
                    options.batch);
  check<UsageError>(size_ > 0, "data set ", dataset.name, " is empty: nothing to sample from");
  check<UsageError>(options.batch <= size_, "a batch of ", options.batch,
                    " pictures is larger than the data set ", dataset.name, " with ", size_,
                    "; choose a smaller batch");
  for (auto& members : dataset.samples_by_class())
    if (!members.empty()) by_class_.push_back(std::move(members));
  if (options.kind == SamplerKind::random) return;
  check<UsageError>(options.per_class >= 1 && options.batch % options.per_class == 0, "a batch of ",
                    options.batch, " pictures cannot be made of whole classes with ",
                    options.per_class, " pictures each");
  const std::int64_t classes = options.batch / options.per_class;
  check<UsageError>(classes <= static_cast<std::int64_t>(by_class_.size()), "a batch of ", classes,
                    " classes with ", options.per_class, " pictures each needs more classes than ",
                    "the ", by_class_.size(), " of data set ", dataset.name);
}

std::int64_t Sampler::batches_per_epoch() const {
  const bool keeps_rest = options_.kind == SamplerKind::random && !options_.drop_last;
  return (size_ + (keeps_rest ? options_.batch - 1 : 0)) / options_.batch;
}

BatchPosition Sampler::next(BatchPosition position) const {
  if (++position.batch < batches_per_epoch()) return position;
  return {position.epoch + 1, 0};
}

std::vector<std::int64_t> Sampler::epoch_order(std::int64_t epoch) const {
  return options_.kind == SamplerKind::random ? random_order(epoch) : class_order(epoch);
}

std::vector<std::int64_t> Sampler::batch(const std::vector<std::int64_t>& epoch_order,
                                         std::int64_t batch) const {
  check(batch >= 0 && batch < batches_per_epoch(), "sampler: batch ", batch, " of ",
        batches_per_epoch());
  const auto first = epoch_order.begin() + batch * options_.batch;
  return {first, first + std::min<std::int64_t>(options_.batch, epoch_order.end() - first)};
}

std::vector<std::int64_t> Sampler::random_order(std::int64_t epoch) const {
  std::vector<std::int64_t> order(size_);
  std::iota(order.begin(), order.end(), 0);
  Philox random(options_.seed, stream_of("random sampler", static_cast<std::uint64_t>(epoch)));
  shuffle(order, random);
  order.resize(std::min(size_, batches_per_epoch() * options_.batch));
  return order;
}

std::vector<std::int64_t> Sampler::class_order(std::int64_t epoch) const {
  Philox random(options_.seed, stream_of("class sampler", static_cast<std::uint64_t>(epoch)));
  std::vector<std::int64_t> all(by_class_.size());
  std::iota(all.begin(), all.end(), 0);
  Deck classes(all);
  std::vector<Deck> pictures(by_class_.begin(), by_class_.end());
  std::vector<std::int64_t> order;
  for (std::int64_t b = 0; b < batches_per_epoch(); ++b) {
    std::vector<std::int64_t> chosen;
    classes.deal(options_.batch / options_.per_class, random, chosen);
    for (const std::int64_t c : chosen) pictures[c].deal(options_.per_class, random, order);
  }
  return order;
}

}  // namespace proxent
