#include "train/embed.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "autograd/ops.h"

namespace proxent {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void check_rows(const Dataset& dataset, const Batch& batch, const Tensor& rows) {
  const std::int64_t pictures = std::ssize(batch.indices);
  check(rows.shape().rank() == 2 && rows.dim(0) == pictures && rows.dtype() == DType::f32,
        "embed: expected (", pictures, ", dim) f32 from the model, got ", rows);
  const float* x = rows.data<float>();
  const float* bad =
      std::find_if_not(x, x + rows.numel(), [](float v) { return std::isfinite(v); });
  if (bad == x + rows.numel()) return;
  const std::int64_t picture = batch.indices[(bad - x) / rows.dim(1)];
  const Sample& sample = dataset.samples[picture];
  fail<NonFiniteError>("embed: the embedding of picture ", picture,
                       sample.path.empty() ? "" : " (" + sample.path + ")", " holds ", *bad,
                       "; the model's weights or the picture are broken");
}

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
  const auto start = std::chrono::steady_clock::now();
  Embeddings found;
  Loader loader(dataset, options.batch, options.loader);
  Tensor memory;
  std::int64_t done = 0;
  while (const auto batch = loader.next()) {
    if (batch->indices.empty()) continue;  // none of its pictures could be read
    const Tensor rows = function(batch->images.to(options.device)).value().to(Device::cpu);
    check_rows(dataset, *batch, rows);
    if (!memory.is_defined()) memory = Tensor({dataset.size(), rows.dim(1)}, DType::f32);
    check(rows.dim(1) == memory.dim(1), "embed: the model returned ", rows.dim(1),
          " features per picture after ", memory.dim(1));
    memory.slice(done, rows.dim(0)).copy_from(rows);
    done += rows.dim(0);
    for (const std::int64_t index : batch->indices) {
      found.samples.push_back(index);
      found.labels.push_back(dataset.samples[index].label);
    }
    if (options.on_progress) options.on_progress(done, dataset.size());
  }
  found.bad_images = loader.bad_images();
  check<DataError>(memory.is_defined(), "embed: none of the ", dataset.size(), " pictures of ",
                   dataset.name, " could be read");
  found.values = memory.slice(0, done);
  found.seconds = seconds_since(start);
  found.seconds_waited = loader.seconds_waited();
  return found;
}

Embeddings embed_pixels(const Dataset& dataset, EmbedOptions options) {
  options.loader.transform.mean = {0, 0, 0};
  options.loader.transform.std = {1, 1, 1};
  options.device = Device::cpu;
  const auto flatten = [](const Variable& images) {
    const std::int64_t pictures = images.dim(0);
    return reshape(images, {pictures, images.value().numel() / pictures});
  };
  Embeddings found = embed(dataset, flatten, options);
  subtract_row_means(found.values);
  subtract_mean_row(found.values);
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
