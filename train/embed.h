// From pictures to embeddings: a whole data set through a model, or plain pixels as a floor to
// beat.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/variable.h"
#include "data/loader.h"
#include "train/retrieval.h"

namespace proxent {

// Pictures (B, size, size, 3) f32 to embeddings (B, D) f32. A model must be in evaluation mode.
using EmbeddingFunction = std::function<Variable(const Variable& images)>;

struct EmbedOptions {
  LoaderOptions loader;
  std::int64_t batch = 128;
  Device device = Device::cpu;  // of the model: pictures are taken there, embeddings stay there
  // Called after each batch with the pictures done and all of them.
  std::function<void(std::int64_t done, std::int64_t all)> on_progress = {};
};

struct Embeddings {
  Tensor values;                      // (N, D) f32, on EmbedOptions::device
  std::vector<std::int32_t> labels;   // (N)
  std::vector<std::int64_t> samples;  // (N) index into the data set; unreadable pictures are absent
  std::vector<BadImage> bad_images;   // those
  double seconds = 0, seconds_waited = 0;  // in all, and of these waiting for pictures
};

// All pictures of the data set in its order. Nothing is recorded for gradients. While a GPU works
// on one batch the next one is uploaded; it is waited for a few times only. Throws what the loader
// throws, UsageError for an empty data set, Error when the function returns something else than one
// row per picture, NonFiniteError naming the first picture whose embedding is not finite.
Embeddings embed(const Dataset& dataset, const EmbeddingFunction& function,
                 const EmbedOptions& options);

// The transformed pictures themselves, each minus its own mean and all minus the mean picture: what
// any trained model must beat. D is size * size * 3, so choose a small size for a large set.
Embeddings embed_pixels(const Dataset& dataset, EmbedOptions options);

// `options` with the queries, gallery and groups that the data set's samples name, as rows of
// `embeddings`.
RetrievalOptions retrieval_options(const Dataset& dataset, const Embeddings& embeddings,
                                   RetrievalOptions options = {});

}  // namespace proxent
