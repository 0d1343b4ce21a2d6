// Batches for training and evaluation, prepared ahead by threads. What is in a batch depends on the
// data, the seed and the batch's position only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/dataset.h"
#include "data/sampler.h"
#include "data/transform.h"
#include "tensor/tensor.h"

namespace proxent {

// augment(pictures, places, transform.normalisation()) makes a network's input of it, wherever the
// tensors have been taken.
struct Batch {
  Tensor pictures;                    // (B, image_size, image_size, 3) u8
  Tensor places;                      // (B, 3) i32: 0, 0, 1 where a picture is to be flipped
  Tensor labels;                      // (B) i32
  std::vector<std::int64_t> indices;  // of the pictures in the data set
  BatchPosition position;
};

struct BadImage {
  std::int64_t index = 0;  // in the data set
  std::string reason;      // names the file
};

enum class OnBadImage : std::uint8_t {
  stop,  // next() throws the DataError
  skip   // training takes another picture, if possible of the same class; evaluation leaves it out
};
OnBadImage on_bad_image_from_name(std::string_view name);  // stop | skip, else UsageError

// Decoded pictures by index, up to a number of bytes: the first that come stay, since a random
// order would push every picture out again before it is asked for. Any number of threads may use
// it.
class ImageCache {
 public:
  explicit ImageCache(std::int64_t max_bytes) : max_bytes_(max_bytes) {}
  std::shared_ptr<const Image> find(std::int64_t index) const;  // null when absent
  void add(std::int64_t index, std::shared_ptr<const Image> image);
  std::int64_t bytes() const;

 private:
  mutable std::mutex mutex_;
  std::int64_t max_bytes_, bytes_ = 0;
  std::map<std::int64_t, std::shared_ptr<const Image>> images_;
};

struct LoaderOptions {
  Transform transform;
  std::uint64_t seed = 1;  // of the augmentation
  int threads = 0;         // 0: as many as the machine has
  // Batches in memory or in the making, beside the one handed out; at least one for each thread.
  int prefetch = 4;
  OnBadImage on_bad_image = OnBadImage::stop;
  std::shared_ptr<ImageCache> cache = nullptr;  // of this data set; null: decode every time
};

class Loader {
 public:
  // Training batches from `start` on, without end. Data set and sampler must outlive the loader.
  Loader(const Dataset& dataset, const Sampler& sampler, LoaderOptions options,
         BatchPosition start = {});
  // All pictures once, in order; the last batch may be smaller.
  Loader(const Dataset& dataset, std::int64_t batch, LoaderOptions options);
  // Stops and joins the threads, whatever they are doing.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch; nothing after the last one of an evaluation. Throws what went wrong while
  // preparing it, and the same again when called again.
  std::optional<Batch> next();

  // Time that next() spent waiting for a batch.
  double seconds_waited() const { return seconds_waited_; }
  // The pictures skipped in the batches handed out so far, each once, by index.
  std::vector<BadImage> bad_images() const;

 private:
  struct Task {  // one batch to prepare
    std::int64_t ticket = 0;
    BatchPosition position;
    std::vector<std::int64_t> indices;
  };
  struct Result {
    bool is_ready = false;
    std::optional<Batch> batch;  // empty: the end
    std::exception_ptr error;
    std::vector<BadImage> bad;
  };

  void start_threads();
  void work(const std::stop_token& stop);
  void plan(Task& task);  // position and pictures of the next batch; the caller holds mutex_
  Result prepare(const Task& task) const;
  void fill_training(const Task& task, Batch& batch, std::vector<BadImage>& bad) const;
  void fill_evaluation(const Task& task, Batch& batch, std::vector<BadImage>& bad) const;
  bool try_write(std::int64_t index, const BatchPosition& position, std::int64_t place,
                 Batch& batch, std::vector<BadImage>& bad) const;
  std::shared_ptr<const Image> load(std::int64_t index) const;

  const Dataset& dataset_;
  const Sampler* sampler_ = nullptr;  // null: in order
  LoaderOptions options_;
  std::int64_t eval_batch_ = 0, tickets_ = -1;       // tickets_: batches in all, -1 without end
  std::vector<std::vector<std::int64_t>> by_class_;  // where replacements come from

  std::mutex mutex_;
  std::condition_variable_any room_, ready_;  // for workers, for the consumer
  std::int64_t claimed_ = 0, consumed_ = 0;
  BatchPosition claim_position_;
  std::optional<std::int64_t> order_epoch_;  // the epoch that order_ is of
  std::vector<std::int64_t> order_;
  std::vector<Result> results_;  // ring of `prefetch`, by ticket
  std::exception_ptr error_;

  double seconds_waited_ = 0;
  std::map<std::int64_t, std::string> bad_;
  std::vector<std::jthread> threads_;  // last: joined before anything else goes
};

}  // namespace proxent
