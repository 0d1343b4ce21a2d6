#include "train/embed.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "autograd/ops.h"
#include "tensor/optimizer_step.h"
#include "tensor/upload.h"
#include "train/clock.h"

namespace proxent {
namespace {

// Embeddings as they come, on the model's device.
class Collector {
 public:
  Collector(const Dataset& dataset, Device device) : dataset_(dataset), device_(device) {}

  void add(const std::vector<std::int64_t>& pictures, const Tensor& rows) {
    check_rows(std::ssize(pictures), rows);
    if (!memory_.is_defined())
      memory_ = Tensor({dataset_.size(), rows.dim(1)}, DType::f32, device_);
    check(rows.dim(1) == memory_.dim(1), "embed: the model returned ", rows.dim(1),
          " features per picture after ", memory_.dim(1));
    memory_.slice(done(), rows.dim(0)).copy_from(rows);
    pictures_.insert(pictures_.end(), pictures.begin(), pictures.end());
    ++batches_;
    // After 1, 2, 4, ... batches: a broken model is found at once, and a GPU, which has to finish
    // before it can answer, is asked seldom.
    if (std::has_single_bit(batches_)) check_finite();
  }

  std::int64_t done() const { return std::ssize(pictures_); }

  // Rows and their pictures.
  std::pair<Tensor, std::vector<std::int64_t>> take() {
    check<DataError>(memory_.is_defined(), "embed: none of the ", dataset_.size(), " pictures of ",
                     dataset_.name, " could be read");
    check_finite();
    return {memory_.slice(0, done()), std::move(pictures_)};
  }

 private:
  void check_rows(std::int64_t pictures, const Tensor& rows) const {
    check(rows.shape().rank() == 2 && rows.dim(0) == pictures && rows.dtype() == DType::f32 &&
              rows.device() == device_,
          "embed: expected (", pictures, ", dim) f32 on ", device_, " from the model, got ", rows,
          " on ", rows.device());
  }

  // Of the rows that came since the last time.
  void check_finite() {
    const Tensor rows = memory_.slice(checked_, done() - checked_);
    if (!std::isfinite(sum_of_squares(rows))) fail_not_finite(rows.to(Device::cpu));
    checked_ = done();
  }
  [[noreturn]] void fail_not_finite(const Tensor& rows) const {
    const float *x = rows.data<float>(), *end = x + rows.numel();
    const float* bad = std::find_if_not(x, end, [](float v) { return std::isfinite(v); });
    const std::int64_t picture = pictures_[checked_ + (bad - x) / rows.dim(1)];
    const Sample& sample = dataset_.samples[picture];
    fail<NonFiniteError>("embed: the embedding of picture ", picture,
                         sample.path.empty() ? "" : " (" + sample.path + ")", " holds ", *bad,
                         "; the model's weights or the picture are broken");
  }

  const Dataset& dataset_;
  Device device_;
  Tensor memory_;  // a row for each picture of the data set
  std::vector<std::int64_t> pictures_;
  std::uint64_t batches_ = 0;
  std::int64_t checked_ = 0;  // rows known to be finite
};

// Batches of the loader, uploaded ahead of the model.
class Feed {
 public:
  struct Pictures {
    Tensor images;
    std::vector<std::int64_t> indices;
  };

  Feed(Loader& loader, const AugmentOptions& normalisation, Device device)
      : loader_(loader), normalisation_(normalisation), uploads_(device) {
    prepare();
  }

  // Puts the next batch on its way, if there is one.
  void prepare() {
    while (auto batch = loader_.next()) {
      if (batch->indices.empty()) continue;  // none of its pictures could be read
      uploads_.push({batch->pictures, batch->places});
      indices_ = std::move(batch->indices);
      return;
    }
  }
  // The batch that was prepared; nothing after the last. All work on the one before must have been
  // queued.
  std::optional<Pictures> take() {
    if (uploads_.waiting() == 0) return std::nullopt;
    const std::vector<Tensor> batch = uploads_.pop();
    return Pictures{.images = augment(batch[0], batch[1], normalisation_),
                    .indices = std::exchange(indices_, {})};
  }

 private:
  Loader& loader_;
  AugmentOptions normalisation_;
  Uploads uploads_;
  std::vector<std::int64_t> indices_;  // of the batch on its way
};

// Each picture minus its own mean: brightness tells little about what it shows.
void subtract_row_means(Tensor& x) {
  const std::int64_t columns = x.dim(1);
  for (std::int64_t r = 0; r < x.dim(0); ++r) {
    float* row = x.data<float>() + r * columns;
    const auto mean =
        static_cast<float>(std::accumulate(row, row + columns, 0.0) / static_cast<double>(columns));
    for (std::int64_t c = 0; c < columns; ++c) row[c] -= mean;
  }
}

void subtract_mean_row(Tensor& x) {
  const std::int64_t rows = x.dim(0), columns = x.dim(1);
  std::vector<double> mean(columns);
  float* values = x.data<float>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) mean[c] += values[r * columns + c];
  for (double& m : mean) m /= static_cast<double>(rows);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      values[r * columns + c] -= static_cast<float>(mean[c]);
}

}  // namespace

Embeddings embed(const Dataset& dataset, const EmbeddingFunction& function,
                 const EmbedOptions& options) {
  check<UsageError>(!dataset.is_empty(), "embed: the data set ", dataset.name, " has no pictures");
  const Stopwatch watch;
  Loader loader(dataset, options.batch, options.loader);
  Feed feed(loader, options.loader.transform.normalisation(), options.device);
  Collector collector(dataset, options.device);
  while (const auto pictures = feed.take()) {
    const Tensor rows = function(pictures->images).value();
    feed.prepare();  // while a GPU computes
    collector.add(pictures->indices, rows);
    if (options.on_progress) options.on_progress(collector.done(), dataset.size());
  }
  Embeddings found;
  std::tie(found.values, found.samples) = collector.take();
  for (const std::int64_t index : found.samples)
    found.labels.push_back(dataset.samples[index].label);
  found.bad_images = loader.bad_images();
  found.seconds = watch.seconds();
  found.seconds_waited = loader.seconds_waited();
  return found;
}

Embeddings embed_pixels(const Dataset& dataset, EmbedOptions options) {
  options.loader.transform.mean = {0, 0, 0};
  options.loader.transform.std = {1, 1, 1};
  const Device device = std::exchange(options.device, Device::cpu);
  const auto flatten = [](const Variable& images) {
    const std::int64_t pictures = images.dim(0);
    return reshape(images, {pictures, images.value().numel() / pictures});
  };
  Embeddings found = embed(dataset, flatten, options);
  subtract_row_means(found.values);
  subtract_mean_row(found.values);
  found.values = found.values.to(device);
  return found;
}

RetrievalOptions retrieval_options(const Dataset& dataset, const Embeddings& embeddings,
                                   RetrievalOptions options) {
  std::vector<std::int64_t> queries, gallery;
  std::map<std::string, std::int32_t> ids;
  options.groups.clear();
  for (std::int64_t row = 0; row < std::ssize(embeddings.samples); ++row) {
    const Sample& sample = dataset.samples[embeddings.samples[row]];
    if (sample.is_query) queries.push_back(row);
    if (sample.is_gallery) gallery.push_back(row);
    options.groups.push_back(
        sample.group.empty()
            ? -1
            : ids.try_emplace(sample.group, static_cast<std::int32_t>(ids.size())).first->second);
  }
  options.queries = std::move(queries);
  options.gallery = std::move(gallery);
  return options;
}

}  // namespace proxent
