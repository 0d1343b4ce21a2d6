#include "losses/multi_proxy_entropy.h"

#include <cmath>
#include <string_view>
#include <vector>

#include "losses/masks.h"
#include "tensor/gather.h"
#include "tensor/proxy_row.h"

namespace proxent {
namespace {

void check_range(std::string_view option, double value, double low, double high) {
  check<UsageError>(value >= low && value <= high, "multi_proxy_entropy: ", option,
                    " must lie in [", low, ", ", high, "], got ", value);
}

}  // namespace

ProxyLossSettings MultiProxyEntropyOptions::settings() const {
  const ProxyLossSettings out{
      .sigma = sigma,
      .sigma_h = sigma_h.value_or(sigma),
      .sigma_a = sigma_a.value_or(sigma / 2),
      .gamma = gamma.value_or(select == ProxySelect::soft ? 0.1 : 1 / sigma),
      .margin = margin,
      .select = select,
      .negatives = negatives,
      .inter = inter,
      .weight_inter = weight_inter,
      .weight_intra = weight_intra,
      .weight_usage = weight_usage,
      .normalises_entropy = normalise_entropy,
      .detaches_selection = detach_selection,
  };
  check_range("sigma", out.sigma, 1e-6, 1e6);
  check_range("sigma_h", out.sigma_h, 1e-6, 1e6);
  check_range("sigma_a", out.sigma_a, 1e-6, 1e6);
  check_range("gamma", out.gamma, 1e-6, 1e6);
  check_range("margin", out.margin, 0, 1e6);
  check_range("weight_inter", out.weight_inter, 0, 1e6);
  check_range("weight_intra", out.weight_intra, 0, 1e6);
  check_range("weight_usage", out.weight_usage, 0, 1e6);
  return out;
}

namespace {

// Five numbers of one tensor as scalars.
MultiProxyEntropyTerms terms_of(const Tensor& values) {
  const auto scalar = [&](std::int64_t i) { return values.view(i, {}); };
  return {scalar(1), scalar(2), scalar(3), scalar(4)};
}

}  // namespace

MultiProxyEntropy multi_proxy_entropy(const Variable& embeddings, const Variable& proxies,
                                      const Tensor& labels, const MultiProxyEntropyOptions& options,
                                      const Tensor& usage) {
  const ProxyLossSettings settings = options.settings();
  const bool is_recorded = Tape::wants({embeddings, proxies});
  const ProxyLoss forward =
      proxy_loss(embeddings.value(), proxies.value(), labels, usage, settings, is_recorded);
  // All gradients together: they are made from the same tiles.
  const auto backward = [forward, labels, settings, w = proxies.value()](
                            const Tensor& dy, const std::vector<bool>& wanted) {
    auto [dz, dw] = proxy_loss_backward(dy, w, labels, settings, forward, wanted[0], wanted[1]);
    return std::vector<Tensor>{dz, dw};
  };
  return {record("multi_proxy_entropy", forward.terms.view(0, {}), {embeddings, proxies}, backward),
          terms_of(forward.terms), forward.assignment};
}

namespace {

// The composed form. B rows, C classes, K proxies per class, D dimensions.

// The numbers and labels of the rows that count.
struct CountedRows {
  Tensor index, labels;
};

CountedRows counted_rows(const Tensor& labels) {
  std::vector<std::int32_t> index, kept;
  const std::vector<std::int32_t> all = labels.to_vector<std::int32_t>();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] == kIgnoredLabel) continue;
    index.push_back(static_cast<std::int32_t>(i));
    kept.push_back(all[i]);
  }
  const Shape shape{static_cast<std::int64_t>(kept.size())};
  return {Tensor::from(shape, index).to(labels.device()),
          Tensor::from(shape, kept).to(labels.device())};
}

// s (B, C, K) -> class scores S (B, C).
Variable class_scores(const Variable& s, const ProxyLossSettings& o) {
  if (o.select == ProxySelect::max) return max_last(s);
  if (o.select == ProxySelect::lse) return o.gamma * log_sum_exp(s / o.gamma);
  const Variable weights = softmax(s / o.gamma);
  return sum_last((o.detaches_selection ? Variable(weights.value()) : weights) * s);
}

// Entropy of softmax(x) along the last axis. A masked entry (-infinity) has probability 0 and adds
// 0; a finite stand-in for its logarithm keeps 0 * infinity out.
Variable entropy_last(const Variable& x) {
  const Variable log_p = at_least(log_softmax(x), -kMaskDepth);
  return -sum_last(exp(log_p) * log_p);
}

// -log p_y per row.
Variable cross_entropy_rows(const Variable& s, const Variable& S, const Tensor& labels,
                            const ProxyLossSettings& o) {
  const std::int64_t B = s.dim(0), C = s.dim(1), K = s.dim(2);
  const Variable own = o.sigma * (pick(S, labels) - o.margin);
  if (o.negatives == ProxyNegatives::selected) {
    const Variable with_margin = o.margin == 0 ? S : S - one_hot(labels, C, s.dtype(), o.margin);
    return log_sum_exp(o.sigma * with_margin) - own;
  }
  const Tensor mask = one_hot(labels, C, s.dtype(), -INFINITY).reshape({B, C, 1});
  const Variable foreign = reshape(o.sigma * s + Variable(mask), {B, C * K});
  return log_sum_exp(concatenate({reshape(own, {B, 1}), foreign}, 1)) - own;
}

// Entropy of the class posterior per row.
Variable inter_entropy_rows(const Variable& S, const Tensor& labels, const ProxyLossSettings& o) {
  const Variable b = o.sigma_h * S;
  if (o.inter == InterClasses::all) return entropy_last(b);
  if (S.dim(1) == 1) return 0 * sum_last(S);  // no other class: nothing to be undecided about
  return entropy_last(b + Variable(one_hot(labels, S.dim(1), S.dtype(), -INFINITY)));
}

// The similarities (B, K) to the row's own class's proxies.
Variable own_similarities(const Variable& s, const Tensor& labels) {
  const std::int64_t B = s.dim(0), C = s.dim(1), K = s.dim(2);
  check(B * C <= INT32_MAX, "multi_proxy_entropy_composed: ", B, " rows of ", C,
        " classes are more than an i32 index can number");
  std::vector<std::int32_t> rows = labels.to_vector<std::int32_t>();
  for (std::int64_t i = 0; i < B; ++i) rows[i] += static_cast<std::int32_t>(i * C);
  return gather_rows(reshape(s, {B * C, K}), Tensor::from({B}, rows).to(s.device()));
}

// (n, K) at the rows of index in zeros (B, K).
Tensor scattered(const Tensor& x, const Tensor& index, std::int64_t B) {
  return gather_rows_backward(x, index, {B, x.dim(1)});
}

}  // namespace

MultiProxyEntropy multi_proxy_entropy_composed(const Variable& embeddings, const Variable& proxies,
                                               const Tensor& labels,
                                               const MultiProxyEntropyOptions& options,
                                               const Tensor& usage) {
  Scope scope("multi_proxy_entropy_composed");
  const ProxyLossSettings o = options.settings();
  check_proxy_loss(embeddings.value(), proxies.value(), labels, usage, o);
  const std::int64_t C = proxies.dim(0), K = proxies.dim(1), D = proxies.dim(2);
  const CountedRows rows = counted_rows(labels);
  const std::int64_t B = rows.labels.numel();
  if (B == 0) {
    const Tensor zero = Tensor::zeros({}, embeddings.dtype(), embeddings.device());
    return {0 * (sum(embeddings) + sum(proxies)),
            {zero, zero, zero, zero},
            Tensor::zeros({labels.numel(), K}, embeddings.dtype(), embeddings.device())};
  }

  const Variable z = normalize_rows(gather_rows(embeddings, rows.index));
  const Variable w = normalize_rows(reshape(proxies, {C * K, D}));
  const Variable s = reshape(matmul(z, w, {.transpose_b = true}), {B, C, K});
  const Variable S = class_scores(s, o);
  const Variable log_q = log_softmax(o.sigma_a * own_similarities(s, rows.labels));
  const Variable q = exp(log_q);

  const Variable ce = mean(cross_entropy_rows(s, S, rows.labels, o));
  const Variable inter = entropy_scale(o, C) * mean(inter_entropy_rows(S, rows.labels, o));
  const Variable intra = entropy_scale(o, K) * mean(-sum_last(q * log_q));
  Variable loss = ce - o.weight_inter * inter + o.weight_intra * intra;

  Variable used = Tensor::zeros({}, loss.dtype(), loss.device());
  if (usage.is_defined()) {
    const Variable log_u = log(at_least(gather_rows(usage, rows.labels), kSmallestUsage));
    const Variable log_r = log_softmax(log_q - log_u).value();  // a target: no gradient
    used = entropy_scale(o, K) * mean(sum_last(exp(log_r) * (log_r - log_q)));
    loss = loss + o.weight_usage * used;
  }
  return {loss,
          {ce.value(), inter.value(), intra.value(), used.value()},
          scattered(q.value(), rows.index, labels.numel())};
}

}  // namespace proxent
