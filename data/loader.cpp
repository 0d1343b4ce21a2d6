#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "data/parallel.h"

namespace proxent {
namespace {

// The colours of each pixel in the order of the network's input.
void write_pixels(const Image& picture, const Transform& transform, std::uint8_t* to) {
  for (std::size_t pixel = 0; pixel < picture.pixels.size(); pixel += 3)
    for (int channel = 0; channel < 3; ++channel)
      *to++ = picture.pixels[pixel + transform.colour_at(channel)];
}

}  // namespace

OnBadImage on_bad_image_from_name(std::string_view name) {
  if (name == "stop") return OnBadImage::stop;
  if (name == "skip") return OnBadImage::skip;
  fail<UsageError>("on-bad-image must be stop or skip, got ", name);
}

std::shared_ptr<const Image> ImageCache::find(std::int64_t index) const {
  const std::lock_guard lock(mutex_);
  const auto found = images_.find(index);
  return found == images_.end() ? nullptr : found->second;
}

void ImageCache::add(std::int64_t index, std::shared_ptr<const Image> image) {
  const std::lock_guard lock(mutex_);
  const auto size = static_cast<std::int64_t>(image->pixels.size());
  if (bytes_ + size <= max_bytes_ && images_.emplace(index, std::move(image)).second)
    bytes_ += size;
}

std::int64_t ImageCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Loader::Loader(const Dataset& dataset, const Sampler& sampler, LoaderOptions options,
               BatchPosition start)
    : dataset_(dataset),
      sampler_(&sampler),
      options_(std::move(options)),
      by_class_(dataset.samples_by_class()),
      claim_position_(start) {
  check(start.epoch >= 0 && start.batch >= 0 && start.batch < sampler.batches_per_epoch(),
        "loader: cannot start at batch ", start.batch, " of epoch ", start.epoch, "; an epoch has ",
        sampler.batches_per_epoch(), " batches");
  start_threads();
}

Loader::Loader(const Dataset& dataset, std::int64_t batch, LoaderOptions options)
    : dataset_(dataset), options_(std::move(options)), eval_batch_(batch) {
  check<UsageError>(batch >= 1, "the batch must be at least 1 picture, got ", batch);
  tickets_ = (dataset.size() + batch - 1) / batch;
  start_threads();
}

Loader::~Loader() {
  for (std::jthread& thread : threads_) thread.request_stop();  // all before the first is joined
}

void Loader::start_threads() {
  check<UsageError>(options_.prefetch >= 1, "prefetch must be at least 1 batch, got ",
                    options_.prefetch);
  options_.transform.validate();
  const int count = detail::thread_count(options_.threads);
  results_.resize(std::max(options_.prefetch, count));
  for (int i = 0; i < count; ++i)
    threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
}

// A ticket's slot in the ring is free once the ticket before it in that slot was consumed.
void Loader::work(const std::stop_token& stop) {
  while (true) {
    Task task;
    Result result;
    {
      std::unique_lock lock(mutex_);
      const bool may_go_on = room_.wait(lock, stop, [this] {
        return claimed_ < consumed_ + std::ssize(results_) && (tickets_ < 0 || claimed_ < tickets_);
      });
      if (!may_go_on) return;
      task.ticket = claimed_++;
      try {
        plan(task);
      } catch (...) {
        result.error = std::current_exception();
      }
    }
    if (!result.error) result = prepare(task);
    result.is_ready = true;
    const std::lock_guard lock(mutex_);
    results_[task.ticket % std::ssize(results_)] = std::move(result);
    ready_.notify_one();
  }
}

void Loader::plan(Task& task) {
  task.position = claim_position_;
  if (!sampler_) {
    const std::int64_t first = task.position.batch * eval_batch_;
    task.indices.resize(std::min(eval_batch_, dataset_.size() - first));
    std::iota(task.indices.begin(), task.indices.end(), first);
    ++claim_position_.batch;
    return;
  }
  if (order_epoch_ != task.position.epoch) {
    order_ = sampler_->epoch_order(task.position.epoch);
    order_epoch_ = task.position.epoch;
  }
  task.indices = sampler_->batch(order_, task.position.batch);
  claim_position_ = sampler_->next(claim_position_);
}

Loader::Result Loader::prepare(const Task& task) const {
  Result result;
  try {
    const auto count = static_cast<std::int64_t>(task.indices.size());
    const std::int64_t side = options_.transform.image_size;
    Batch batch{.pictures = Tensor({count, side, side, Image::kChannels}, DType::u8),
                .places = Tensor::zeros({count, 3}, DType::i32),
                .labels = Tensor({count}, DType::i32),
                .indices = task.indices,
                .position = task.position};
    sampler_ ? fill_training(task, batch, result.bad) : fill_evaluation(task, batch, result.bad);
    result.batch = std::move(batch);
  } catch (...) {
    result.error = std::current_exception();
  }
  return result;
}

void Loader::fill_training(const Task& task, Batch& batch, std::vector<BadImage>& bad) const {
  const auto count = static_cast<std::int64_t>(task.indices.size());
  for (std::int64_t place = 0; place < count; ++place) {
    const std::int64_t wanted = task.indices[place];
    if (try_write(wanted, task.position, place, batch, bad)) continue;
    // Its class from a random picture on, then all pictures; which is fixed by the position.
    Philox random(options_.seed, stream_of("replacement", static_cast<std::uint64_t>(wanted)));
    random.seek(4 * static_cast<std::uint64_t>(task.position.epoch));
    const auto& own = by_class_[dataset_.samples[wanted].label];
    const auto own_count = static_cast<std::int64_t>(own.size());
    const std::int64_t first_own = random.below(own_count), first = random.below(dataset_.size());
    bool is_replaced = false;
    for (std::int64_t i = 0; i < own_count && !is_replaced; ++i)
      is_replaced = try_write(own[(first_own + i) % own_count], task.position, place, batch, bad);
    for (std::int64_t i = 0; i < dataset_.size() && !is_replaced; ++i)
      is_replaced = try_write((first + i) % dataset_.size(), task.position, place, batch, bad);
    check<DataError>(is_replaced, "data set ", dataset_.name, ": none of its ", dataset_.size(),
                     " pictures can be read; the last one: ", bad.back().reason);
  }
}

void Loader::fill_evaluation(const Task& task, Batch& batch, std::vector<BadImage>& bad) const {
  std::int64_t kept = 0;
  for (const std::int64_t index : task.indices)
    kept += try_write(index, task.position, kept, batch, bad);
  batch.pictures = batch.pictures.slice(0, kept);
  batch.places = batch.places.slice(0, kept);
  batch.labels = batch.labels.slice(0, kept);
  batch.indices.resize(kept);
}

// Puts a picture at a place of the batch. False when it cannot be read and bad pictures are
// skipped.
bool Loader::try_write(std::int64_t index, const BatchPosition& position, std::int64_t place,
                       Batch& batch, std::vector<BadImage>& bad) const {
  const std::int64_t batch_size = sampler_ ? sampler_->options().batch : eval_batch_;
  const auto place_in_epoch = static_cast<std::uint64_t>(position.batch * batch_size + place);
  Philox random(options_.seed,
                stream_of("augment epoch " + std::to_string(position.epoch), place_in_epoch));
  std::shared_ptr<const Image> image;
  Image picture;
  bool is_flipped = false;
  try {
    image = load(index);
    picture = options_.transform.apply_but_flip(*image, random, is_flipped);
  } catch (const DataError& error) {
    // What was read names its file, what was transformed does not.
    const std::string reason =
        (image ? "picture " + dataset_.samples[index].path + ": " : "") + error.message();
    if (options_.on_bad_image == OnBadImage::stop)
      fail<DataError>(reason, " (--on-bad-image skip leaves it out)");
    const auto is_same = [index](const BadImage& known) { return known.index == index; };
    if (std::none_of(bad.begin(), bad.end(), is_same)) bad.push_back({index, reason});
    return false;
  }
  write_pixels(picture, options_.transform, batch.pictures.slice(place, 1).data<std::uint8_t>());
  batch.places.data<std::int32_t>()[3 * place + 2] = is_flipped;
  batch.labels.data<std::int32_t>()[place] = dataset_.samples[index].label;
  batch.indices[place] = index;
  return true;
}

std::shared_ptr<const Image> Loader::load(std::int64_t index) const {
  const bool is_cached = options_.cache && dataset_.samples[index].stored < 0;
  if (is_cached)
    if (auto found = options_.cache->find(index)) return found;
  auto image = std::make_shared<const Image>(dataset_.load(index));
  if (is_cached) options_.cache->add(index, image);
  return image;
}

std::optional<Batch> Loader::next() {
  if (error_) std::rethrow_exception(error_);
  if (consumed_ == tickets_) return std::nullopt;
  std::unique_lock lock(mutex_);
  Result& slot = results_[consumed_ % std::ssize(results_)];
  const auto start = std::chrono::steady_clock::now();
  ready_.wait(lock, [&] { return slot.is_ready; });
  seconds_waited_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Result result = std::exchange(slot, {});
  ++consumed_;
  lock.unlock();
  room_.notify_one();
  for (const BadImage& bad : result.bad) bad_.emplace(bad.index, bad.reason);
  error_ = result.error;
  if (error_) std::rethrow_exception(error_);
  return result.batch;
}

std::vector<BadImage> Loader::bad_images() const {
  std::vector<BadImage> bad;
  for (const auto& [index, reason] : bad_) bad.push_back({index, reason});
  return bad;
}

}  // namespace proxent
