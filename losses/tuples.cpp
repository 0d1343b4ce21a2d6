#include "losses/tuples.h"

#include "losses/masks.h"
#include "tensor/concat.h"

namespace proxent {
namespace {

// The root's slope is infinite at 0; at_least() makes it 0 there.
Variable distances(const Variable& cosines) { return sqrt(at_least(-2 * cosines + 2, 1e-12)); }

// The greatest and the least x of each row where the mask is 1; -kMaskDepth and kMaskDepth without
// any.
Variable greatest(const Variable& x, const Tensor& mask) { return max_last(masked(x, mask)); }
Variable least(const Variable& x, const Tensor& mask) { return -greatest(-x, mask); }

// Sum of x / number of ones in the mask, 0 without any; x is 0 outside of it.
Variable mean_over(const Variable& x, const Tensor& mask) {
  const Tensor count = sum_to(mask, {});
  return sum(x) / Variable(at_least(count, 1));
}
Variable mean_of_positive(const Variable& x) { return mean_over(x, is_positive(x.value())); }

Variable batch_hard(const Variable& d, const Comparison& pairs, double margin) {
  const Variable farthest = greatest(d, pairs.positive);
  const Variable nearest = least(d, pairs.negative);
  const Tensor counts = mul(has_any(pairs.positive), has_any(pairs.negative));
  // What has no positive or negative is masked before it is subtracted: kMaskDepth leaves no
  // digits.
  const Variable gap = farthest * Variable(counts) - nearest * Variable(counts);
  return mean_over(relu(gap + margin) * Variable(counts), counts);
}

Variable semi_hard(const Variable& d, const Comparison& pairs, double margin) {
  const std::int64_t B = d.dim(0), N = d.dim(1);
  constexpr std::int64_t kMost = std::int64_t{1} << 27;
  check<UsageError>(
      B * N <= kMost / N, "triplet: semi-hard mining of ", B, " anchors among ", N,
      " pictures looks at more than 2^27 triplets; take a smaller batch or memory, or "
      "batch-hard mining");
  const Variable gap = reshape(d, {B, N, 1}) - reshape(d, {B, 1, N});  // d_ap - d_an
  const Tensor of_one_anchor =
      mul(pairs.positive.reshape({B, N, 1}), pairs.negative.reshape({B, 1, N}));
  const Tensor is_between =
      mul(is_positive(neg(gap.value())), is_positive(shift(gap.value(), margin)));
  const Tensor mask = mul(of_one_anchor, is_between);
  return mean_over((gap + margin) * Variable(mask), mask);
}

}  // namespace

Comparison compare(const Variable& embeddings, const Tensor& labels, const References& more) {
  check(embeddings.shape().rank() == 2 && embeddings.dim(0) >= 1 &&
            labels.shape() == Shape{embeddings.dim(0)} && labels.dtype() == DType::i32,
        "compare: embeddings must be (rows, dim) and labels i32 (rows), got ", embeddings.value(),
        " and ", labels);
  const std::int64_t B = embeddings.dim(0);
  const Variable z = normalize_rows(embeddings);
  // Labels as numbers: up to 2^24 classes are exact in f32.
  const Tensor label = labels.to(z.dtype()).reshape({B, 1});
  const auto differs_from = [&](const Tensor& others) {
    return is_positive(abs(sub(label, others.reshape({1, others.numel()}))));
  };
  const Tensor differs = differs_from(label);
  const Tensor self = identity(B, z.dtype(), labels.device());
  Comparison batch{matmul(z, z, {.transpose_b = true}), sub(inverted(differs), self), differs};
  if (!more.embeddings.is_defined()) return batch;
  const Tensor differs_more = differs_from(more.labels);
  const Tensor used = more.are_used.reshape({1, more.are_used.numel()});
  const Variable cosines = matmul(z, Variable(more.embeddings), {.transpose_b = true});
  const auto beside = [](const Tensor& a, const Tensor& b) {
    return concatenate(std::vector<Tensor>{a, b}, 1);
  };
  return {concatenate(std::vector<Variable>{batch.cosines, cosines}, 1),
          beside(batch.positive, mul(inverted(differs_more), used)),
          beside(batch.negative, mul(differs_more, used))};
}

Variable contrastive(const Comparison& pairs, const ContrastiveOptions& options) {
  const Variable d = distances(pairs.cosines);
  const Variable pull = relu(d - options.positive_margin) * Variable(pairs.positive);
  const Variable push = relu(-d + options.negative_margin) * Variable(pairs.negative);
  return mean_of_positive(pull) + mean_of_positive(push);
}

Variable triplet(const Comparison& pairs, const TripletOptions& options) {
  const Variable d = distances(pairs.cosines);
  return options.mining == TripletMining::batch_hard ? batch_hard(d, pairs, options.margin)
                                                     : semi_hard(d, pairs, options.margin);
}

Variable multi_similarity(const Comparison& pairs, const MultiSimilarityOptions& options) {
  const auto& [alpha, beta, base, epsilon] = options;
  const std::int64_t B = pairs.cosines.dim(0);
  const Variable s = pairs.cosines;
  const Tensor least_alike = least(s.value(), pairs.positive).value();
  const Tensor most_alike = greatest(s.value(), pairs.negative).value();
  const Tensor near = is_positive(shift(sub(s.value(), least_alike.reshape({B, 1})), epsilon));
  const Tensor far = is_positive(shift(sub(most_alike.reshape({B, 1}), s.value()), epsilon));
  const Variable pull = log_one_plus_sum_exp(-alpha * (s - base), mul(pairs.positive, far));
  const Variable push = log_one_plus_sum_exp(beta * (s - base), mul(pairs.negative, near));
  return mean(pull / alpha + push / beta);
}

}  // namespace proxent
