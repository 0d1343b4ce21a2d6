#include "losses/embedding_memory.h"

#include <algorithm>

#include "tensor/concat.h"
#include "tensor/normalize.h"

namespace proxent {
namespace {

Tensor unset(const MemoryOptions& o) {
  check<UsageError>(o.size >= 1 && o.dim >= 1 && o.start >= 0,
                    "memory: size and dim must be 1 or more and start not negative, got ", o.size,
                    ", ", o.dim, " and ", o.start);
  return Tensor::zeros({o.size, o.dim}, DType::f32);
}

}  // namespace

EmbeddingMemory::EmbeddingMemory(Module* parent, std::string name, const MemoryOptions& options)
    : Module(parent, std::move(name)),
      options_(options),
      embeddings_(this, "embeddings", unset(options)),
      labels_(this, "labels", Tensor::full({options.size}, DType::f32, -1)),
      pushes_(this, "pushes", Tensor::zeros({1}, DType::f32)) {}

Comparison EmbeddingMemory::compare(const Variable& embeddings, const Tensor& labels) const {
  const DType dtype = embeddings.dtype();
  const Tensor label = labels_.value().to(dtype), pushes = pushes_.value().to(dtype);
  const Tensor has_started = is_positive(shift(pushes, 0.5 - static_cast<double>(options_.start)));
  return proxent::compare(embeddings, labels,
                          {.embeddings = embeddings_.value().to(dtype),
                           .labels = label,
                           .are_used = mul(is_positive(shift(label, 0.5)), has_started)});
}

void EmbeddingMemory::push(const Tensor& embeddings, const Tensor& labels) {
  const std::int64_t M = options_.size, B = std::min(embeddings.dim(0), M);
  const auto put_in_front = [&](Buffer& queue, const Tensor& rows) {
    const Tensor old = queue.value().slice(0, M - B);
    queue.mutable_value().copy_from(concatenate(std::vector<Tensor>{rows.slice(0, B), old}, 0));
  };
  // A row with a NaN, of a step that fp16 skips, becomes an empty place: remembered, it would make
  // every loss NaN until it falls out.
  const Tensor unit = normalize_rows(embeddings).y.to(DType::f32);
  const Tensor is_finite = is_positive(shift(sum_last(square(unit)), -0.5));
  put_in_front(embeddings_, nan_to_zero(unit));
  put_in_front(labels_, shift(mul(shift(labels.to(DType::f32), 1), is_finite), -1));
  pushes_.mutable_value().copy_from(shift(pushes_.value(), 1));
}

}  // namespace proxent
