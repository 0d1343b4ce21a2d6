#include "train/op_table.h"

#include "autograd/ops.h"
#include "losses/arcface.h"
#include "losses/embedding_memory.h"
#include "losses/multi_proxy_entropy.h"
#include "losses/proxy_anchor.h"
#include "losses/proxy_gml.h"
#include "losses/soft_triple.h"
#include "losses/tuples.h"
#include "tensor/random.h"

namespace proxent {
namespace {
// An index or labels, where the op's inputs are.
Tensor index(const std::vector<std::int32_t>& values, const OpInputs& x) {
  return Tensor::from<std::int32_t>({static_cast<std::int64_t>(values.size())}, values)
      .to(x[0].device());
}
// x, gamma, beta and perhaps a residual, with running statistics (mean 0.1, variance 0.8) of its
// own.
Variable batch_norm_row(const OpInputs& x, const BatchNormOptions& options) {
  Tensor mean = Tensor::full(x[1].shape(), x[1].dtype(), 0.1, x[1].device());
  Tensor variance = Tensor::full(x[1].shape(), x[1].dtype(), 0.8, x[1].device());
  return batch_norm(x[0], x[1], x[2], mean, variance, options, x.size() > 3 ? x[3] : Variable());
}

// 5 embeddings of 6 dimensions (one of them ignored) and 7 classes of 3 proxies, uneven use.
using LossForm = MultiProxyEntropy (*)(const Variable&, const Variable&, const Tensor&,
                                       const MultiProxyEntropyOptions&, const Tensor&);
OpRow loss_row(const std::string& name, LossForm form, const MultiProxyEntropyOptions& options) {
  const auto call = [form, options](const OpInputs& x) {
    std::vector<double> usage;
    for (int j = 0; j < 21; ++j) usage.push_back(0.02 + 0.04 * j);
    return form(x[0], x[1], index({0, 6, kIgnoredLabel, 3, 6}, x), options,
                Tensor::from({7, 3}, usage).to(x[0].dtype()).to(x[0].device()))
        .loss;
  };
  // float32: a gradient sums 21 products of a softmax at scale 3 to 5 with the error of another.
  // The golden file of these rows is multi_proxy_entropy.safetensors: PyTorch has no such loss.
  return {name, {{5, 6}, {7, 3, 6}}, -1, 1, call, 1e-6, std::int64_t{21} * 5 * 5, false};
}

// A memory of 5 places after batches of 3 and 4 embeddings of 6 dimensions: whole numbers, which
// make_loss_golden.py gives the same.
Comparison compare_with_memory(const OpInputs& x, const Tensor& labels) {
  EmbeddingMemory memory(nullptr, "memory", {.size = 5, .dim = 6, .start = 2});
  memory.move_to(x[0].device());
  std::int64_t i = 0;
  for (const std::vector<std::int32_t>& batch :
       {std::vector<std::int32_t>{0, 1, 4}, std::vector<std::int32_t>{3, 4, 0, 1}}) {
    std::vector<double> rows;
    for (const std::int64_t end = i + std::ssize(batch); i < end; ++i)
      for (std::int64_t d = 0; d < 6; ++d)
        rows.push_back(static_cast<double>((5 * i + 3 * d + i * d) % 11 - 5));
    memory.push(Tensor::from({std::ssize(batch), 6}, rows).to(x[0].device()), index(batch, x));
  }
  return memory.compare(x[0], labels);
}

// 7 embeddings of 6 dimensions in 5 classes, of which one is not there, one has a single picture.
std::vector<OpRow> losses_of_the_literature() {
  const auto labels = [](const OpInputs& x) { return index({0, 4, 2, 0, 4, 1, 0}, x); };
  const auto proxies = [&](const char* name, std::int64_t K, auto loss) {
    const auto call = [=](const OpInputs& x) { return loss(x[0], x[1], labels(x)); };
    // float32: 7 x 5 K exponentials at scale 5 of cosines of 6 products.
    return OpRow{name, {{7, 6}, {5, K, 6}}, -1, 1, call, 1e-6, 35 * K * 5 * 6};
  };
  const auto pairs = [&](const char* name, auto loss) {
    const auto call = [=](const OpInputs& x) { return loss(compare(x[0], labels(x))); };
    // float32: 49 pairs, exponentials at scale 5; distances of near pairs lose digits.
    return OpRow{name, {{7, 6}}, -1, 1, call, 1e-6, 49 * 5 * 6};
  };
  const auto with_memory = [&](const char* name, auto loss) {
    const auto call = [=](const OpInputs& x) { return loss(compare_with_memory(x, labels(x))); };
    return OpRow{name, {{7, 6}}, -1, 1, call, 1e-6, 84 * 5 * 6};
  };
  const auto contrast = [](const Comparison& p) {
    return contrastive(p, {.positive_margin = 0.4, .negative_margin = 1.2});
  };
  const auto many_similarities = [](const Comparison& p) {
    return multi_similarity(p, {.alpha = 2, .beta = 5, .base = 0.5, .epsilon = 0.3});
  };
  const auto hardest = [](const Comparison& p) { return triplet(p, {.margin = 0.3}); };
  const auto semi_hard = [](const Comparison& p) {
    return triplet(p, {.margin = 0.5, .mining = TripletMining::semi_hard});
  };
  // Losses that are a case of the multi-proxy one, without its entropies.
  const auto as = [](MultiProxyEntropyOptions options) {
    options.weight_inter = options.weight_intra = 0;
    return [options](const Variable& z, const Variable& w, const Tensor& y) {
      return multi_proxy_entropy(z, w, y, options).loss;
    };
  };
  const auto arc = [](const Variable& z, const Variable& w, const Tensor& y) {
    return arcface(z, w, y, {.sigma = 5, .margin = 0.5});
  };
  return {
      proxies("proxy_anchor", 1,
              [](const Variable& z, const Variable& w, const Tensor& y) {
                return proxy_anchor(z, w, y, {.alpha = 5, .delta = 0.1});
              }),
      proxies("arcface", 1, arc),
      proxies("arcface_of_3_centres", 3, arc),
      proxies("proxy_gml", 2,
              [](const Variable& z, const Variable& w, const Tensor& y) {
                return proxy_gml(z, w, y, {.share = 0.45, .weight_proxies = 0.3});
              }),
      proxies("cosface", 1, as({.sigma = 5, .margin = 0.35})),
      proxies("norm_softmax", 1, as({.sigma = 20})),
      proxies("proxy_nca", 1, as({.sigma = 18})),
      proxies("soft_triple", 3,
              as({.sigma = 5, .gamma = 0.3, .margin = 0.05, .select = ProxySelect::soft})),
      {"merging_penalty",
       {{5, 3, 6}},
       -1,
       1,
       [](const OpInputs& x) { return merging_penalty(x[0]); },
       1e-6,
       std::int64_t{30} * 6},
      pairs("contrastive", contrast),
      with_memory("contrastive_with_memory", contrast),
      pairs("triplet_batch_hard", hardest),
      with_memory("triplet_batch_hard_with_memory", hardest),
      pairs("triplet_semi_hard", semi_hard),
      with_memory("triplet_semi_hard_with_memory", semi_hard),
      pairs("multi_similarity", many_similarities),
      with_memory("multi_similarity_with_memory", many_similarities),
  };
}

// `rows` and both forms of the loss in all its combinations of selection, entropy and negatives.
std::vector<OpRow> with_loss_rows(std::vector<OpRow> rows) {
  const std::pair<ProxySelect, const char*> selects[] = {
      {ProxySelect::lse, "_lse"}, {ProxySelect::max, "_max"}, {ProxySelect::soft, "_soft"}};
  const std::pair<InterClasses, const char*> inters[] = {{InterClasses::all, "_all"},
                                                         {InterClasses::complement, "_complement"}};
  const std::pair<ProxyNegatives, const char*> negatives[] = {
      {ProxyNegatives::selected, "_selected"}, {ProxyNegatives::all_proxies, "_all_proxies"}};
  for (const auto& [select, select_name] : selects)
    for (const auto& [inter, inter_name] : inters)
      for (const auto& [negative, negatives_name] : negatives) {
        const MultiProxyEntropyOptions options{.sigma = 5,
                                               .sigma_h = 4,
                                               .sigma_a = 3,
                                               .gamma = 0.3,
                                               .margin = 0.05,
                                               .select = select,
                                               .negatives = negative,
                                               .inter = inter,
                                               .weight_inter = 0.3,
                                               .weight_intra = 0.7};
        const std::string variant = detail::concat(select_name, inter_name, negatives_name);
        rows.push_back(loss_row("multi_proxy_entropy" + variant, multi_proxy_entropy, options));
        rows.push_back(loss_row("multi_proxy_entropy_composed" + variant,
                                multi_proxy_entropy_composed, options));
      }
  rows.push_back(loss_row("multi_proxy_entropy_defaults", multi_proxy_entropy, {.sigma = 5}));
  for (const OpRow& row : losses_of_the_literature()) rows.push_back(row);
  return rows;
}
}  // namespace

const std::vector<OpRow>& op_table() {
  // clang-format off
  static const std::vector<OpRow> table = with_loss_rows({
    // Elementwise. Ranges keep away from kinks by more than gradcheck's step.
    // There and back; in f64 and f32 the identity, which needs no golden values.
    {"cast",         {{3, 5}}, -1, 1,     [](const OpInputs& x) { return cast(cast(x[0], DType::f64), x[0].dtype()); }, 1e-6, 1, false},
    {"neg",          {{3, 5}}, -1, 1,     [](const OpInputs& x) { return neg(x[0]); }},
    {"relu",         {{3, 5}}, 0.1, 1,    [](const OpInputs& x) { return relu(x[0]); }},
    {"relu_below",   {{3, 5}}, -1, -0.1,  [](const OpInputs& x) { return relu(x[0]); }},
    {"is_positive",  {{3, 5}}, 0.1, 1,    [](const OpInputs& x) { return is_positive(x[0]); }},
    {"nan_to_zero",  {{3, 5}}, -1, 1,     [](const OpInputs& x) { return nan_to_zero(x[0]); }},
    {"exp",          {{3, 5}}, -1, 1,     [](const OpInputs& x) { return exp(x[0]); }},
    {"log",          {{3, 5}}, 0.5, 2,    [](const OpInputs& x) { return log(x[0]); }},
    {"sqrt",         {{3, 5}}, 0.5, 2,    [](const OpInputs& x) { return sqrt(x[0]); }},
    {"square",       {{3, 5}}, -1, 1,     [](const OpInputs& x) { return square(x[0]); }},
    {"reciprocal",   {{3, 5}}, 0.5, 2,    [](const OpInputs& x) { return reciprocal(x[0]); }},
    {"abs",          {{3, 5}}, -2, -0.1,  [](const OpInputs& x) { return abs(x[0]); }},
    {"tanh",         {{3, 5}}, -1, 1,     [](const OpInputs& x) { return tanh(x[0]); }},
    {"sigmoid",      {{3, 5}}, -4, 4,     [](const OpInputs& x) { return sigmoid(x[0]); }},
    {"softplus",     {{3, 5}}, -4, 4,     [](const OpInputs& x) { return softplus(x[0]); }},
    {"scale",        {{3, 5}}, -1, 1,     [](const OpInputs& x) { return scale(x[0], 2.5); }},
    {"shift",        {{3, 5}}, -1, 1,     [](const OpInputs& x) { return shift(x[0], 2.5); }},
    {"leaky_relu",   {{3, 5}}, 0.1, 1,    [](const OpInputs& x) { return leaky_relu(x[0], 0.1); }},
    {"leaky_relu_below", {{3, 5}}, -1, -0.1, [](const OpInputs& x) { return leaky_relu(x[0], 0.1); }},
    {"power",        {{3, 5}}, 0.5, 2,    [](const OpInputs& x) { return power(x[0], 3.0); }},
    {"power_0",      {{3, 5}}, 0.5, 2,    [](const OpInputs& x) { return power(x[0], 0.0); }},
    {"at_least",     {{3, 5}}, 0.1, 1,    [](const OpInputs& x) { return at_least(x[0], 0.0); }},
    {"at_most",      {{3, 5}}, 0.1, 1,    [](const OpInputs& x) { return at_most(x[0], 0.0); }},
    {"add",          {{3, 5}, {3, 5}}, -1, 1, [](const OpInputs& x) { return x[0] + x[1]; }},
    {"add_rows",     {{2, 3, 5}, {5}}, -1, 1, [](const OpInputs& x) { return x[0] + x[1]; }},
    {"sub",          {{3, 5}, {3, 1}}, -1, 1, [](const OpInputs& x) { return x[0] - x[1]; }},
    {"mul",          {{3, 5}, {3, 5}}, -1, 1, [](const OpInputs& x) { return x[0] * x[1]; }},
    {"mul_twice",    {{3, 5}}, -1, 1,         [](const OpInputs& x) { return x[0] * x[0]; }},
    {"div",          {{3, 1}, {1, 5}}, 0.5, 2, [](const OpInputs& x) { return x[0] / x[1]; }},
    {"maximum",      {{3, 5}, {3, 5}}, -1, 1, [](const OpInputs& x) { return maximum(x[0], x[1]); }},
    {"minimum",      {{3, 5}, {3, 5}}, -1, 1, [](const OpInputs& x) { return minimum(x[0], x[1]); }},

    // Reductions and shapes.
    {"sum_to",       {{4, 3, 5}}, -1, 1,  [](const OpInputs& x) { return sum_to(x[0], {3, 1}); }, 1e-6, 20},
    {"broadcast_to", {{3, 1}}, -1, 1,     [](const OpInputs& x) { return broadcast_to(x[0], {4, 3, 5}); }},
    {"sum",          {{3, 5}}, -1, 1,     [](const OpInputs& x) { return sum(x[0]); }, 1e-6, 15},
    {"mean",         {{3, 5}}, -1, 1,     [](const OpInputs& x) { return mean(x[0]); }, 1e-6, 15},
    {"reshape",      {{3, 5}}, -1, 1,     [](const OpInputs& x) { return reshape(x[0], {5, 3}); }},
    {"sum_last",     {{4, 3, 5}}, -1, 1,  [](const OpInputs& x) { return sum_last(x[0]); }, 1e-6, 5},
    {"mean_last",    {{4, 3, 5}}, -1, 1,  [](const OpInputs& x) { return mean_last(x[0]); }, 1e-6, 5},
    {"max_last",     {{4, 3, 5}}, -1, 1,  [](const OpInputs& x) { return max_last(x[0]); }},
    {"concatenate",  {{2, 3, 4}, {2, 1, 4}, {2, 2, 4}}, -1, 1, [](const OpInputs& x) { return concatenate({x[0], x[1], x[2]}, 1); }},
    {"concatenate_twice", {{2, 3}}, -1, 1, [](const OpInputs& x) { return concatenate({x[0], x[0]}, -1); }},
    {"slice_rows",   {{5, 3}}, -1, 1,     [](const OpInputs& x) { return slice_rows(x[0], 1, 3); }},

    // Matrix products: each combination of transposes.
    {"matmul",       {{3, 5}, {5, 4}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1]); }, 1e-6, 5},
    {"matmul_ta",    {{5, 3}, {5, 4}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1], {.transpose_a = true}); }, 1e-6, 5},
    {"matmul_tb",    {{3, 5}, {4, 5}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1], {.transpose_b = true}); }, 1e-6, 5},
    {"matmul_tab",   {{5, 3}, {4, 5}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1], {.transpose_a = true, .transpose_b = true}); }, 1e-6, 5},
    {"matmul_twice", {{5, 5}}, -1, 1,         [](const OpInputs& x) { return matmul(x[0], x[0], {.transpose_b = true}); }, 1e-6, 5},
    {"matmul_tiles", {{37, 19}, {19, 41}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1]); }, 1e-6, 41},
    {"matmul_one",   {{1, 1}, {1, 1}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1]); }},
    {"matmul_empty", {{0, 5}, {5, 4}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1]); }},
    {"matmul_of_nothing", {{3, 0}, {0, 4}}, -1, 1, [](const OpInputs& x) { return matmul(x[0], x[1]); }},

    // Rows.
    {"normalize_rows", {{4, 7}}, -1, 1,   [](const OpInputs& x) { return normalize_rows(x[0]); }, 1e-6, 7},
    {"softmax",      {{4, 7}}, -3, 3,     [](const OpInputs& x) { return softmax(x[0]); }, 1e-6, 7},
    {"softmax_one",  {{3, 1}}, -3, 3,     [](const OpInputs& x) { return softmax(x[0]); }},
    {"softmax_empty", {{0, 7}}, -3, 3,    [](const OpInputs& x) { return softmax(x[0]); }},
    {"softmax_prime", {{31, 37}}, -3, 3,  [](const OpInputs& x) { return softmax(x[0]); }, 1e-6, 37},
    {"log_softmax",  {{2, 3, 7}}, -3, 3,  [](const OpInputs& x) { return log_softmax(x[0]); }, 1e-6, 7},
    {"log_sum_exp",  {{2, 3, 7}}, -3, 3,  [](const OpInputs& x) { return log_sum_exp(x[0]); }, 1e-6, 7},
    {"layer_norm",   {{4, 7}, {7}, {7}}, -1, 1, [](const OpInputs& x) { return layer_norm(x[0], x[1], x[2]); }, 1e-6, 7},
    {"layer_norm_plain", {{4, 7}}, -1, 1, [](const OpInputs& x) { return layer_norm(x[0], {}, {}, {.eps = 1e-3}); }, 1e-6, 7},
    {"cross_entropy", {{4, 7}}, -3, 3,    [](const OpInputs& x) { return cross_entropy(x[0], index({3, 0, 6, 3}, x)); }, 1e-6, 7},
    {"cross_entropy_ignored", {{4, 7}}, -3, 3, [](const OpInputs& x) { return cross_entropy(x[0], index({3, -100, 6, -100}, x)); }, 1e-6, 7},

    // Picking by index.
    {"gather_rows",  {{4, 2, 3}}, -1, 1,  [](const OpInputs& x) { return gather_rows(x[0], index({2, 0, 2, 3, 2}, x)); }, 1e-6, 3},
    {"pick",         {{3, 5}}, -1, 1,     [](const OpInputs& x) { return pick(x[0], index({4, 0, 4}, x)); }},

    // Convolution, pooling, batch norm.
    {"conv2d_1x1",       {{2, 4, 3, 5}, {3, 1, 1, 5}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1]); }, 1e-6, 24},
    {"conv2d_1x1_s2",    {{2, 5, 4, 3}, {7, 1, 1, 3}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.stride = 2}); }, 1e-6, 12},
    {"conv2d_3x3",       {{2, 5, 4, 3}, {4, 3, 3, 3}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.padding = 1}); }, 1e-6, 40},
    {"conv2d_3x3_valid", {{1, 4, 5, 2}, {3, 3, 3, 2}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1]); }, 1e-6, 27},
    {"conv2d_3x3_s2",    {{2, 6, 5, 3}, {5, 3, 3, 3}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.stride = 2, .padding = 1}); }, 1e-6, 45},
    {"conv2d_7x7_s2",    {{1, 9, 8, 3}, {4, 7, 7, 3}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.stride = 2, .padding = 3}); }, 1e-6, 147},
    {"conv2d_2x5_s3",    {{1, 7, 8, 2}, {3, 2, 5, 2}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.stride = 3, .padding = 2}); }, 1e-6, 20},
    {"conv2d_prime",     {{1, 3, 3, 13}, {17, 3, 3, 13}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.padding = 1}); }, 1e-6, 153},
    {"conv2d_shared",    {{2, 5, 4, 3}, {4, 3, 3, 3}, {4, 1, 1, 3}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1], {.padding = 1}) + conv2d(x[0], x[2]); }, 1e-6, 43},
    {"conv2d_one",       {{1, 1, 1, 1}, {1, 1, 1, 1}}, -1, 1, [](const OpInputs& x) { return conv2d(x[0], x[1]); }},
    {"max_pool2d",       {{2, 4, 6, 3}}, -1, 1, [](const OpInputs& x) { return max_pool2d(x[0]); }},
    {"max_pool2d_3_s2",  {{2, 7, 6, 3}}, -1, 1, [](const OpInputs& x) { return max_pool2d(x[0], {.size = 3, .stride = 2, .padding = 1}); }, 1e-6, 4},
    {"max_pool2d_up",    {{2, 6, 7, 3}}, -1, 1, [](const OpInputs& x) { return max_pool2d(x[0], {.size = 3, .stride = 2, .rounds_up = true}); }, 1e-6, 4},
    {"max_pool2d_3_s1",  {{1, 5, 4, 2}}, -1, 1, [](const OpInputs& x) { return max_pool2d(x[0], {.size = 3, .stride = 1, .padding = 1}); }, 1e-6, 9},
    {"avg_pool2d",       {{2, 4, 6, 3}}, -1, 1, [](const OpInputs& x) { return avg_pool2d(x[0]); }, 1e-6, 4},
    {"avg_pool2d_3_s2",  {{2, 7, 6, 3}}, -1, 1, [](const OpInputs& x) { return avg_pool2d(x[0], {.size = 3, .stride = 2, .padding = 1}); }, 1e-6, 9},
    {"global_avg_pool",  {{2, 3, 4, 5}}, -1, 1, [](const OpInputs& x) { return global_avg_pool(x[0]); }, 1e-6, 12},
    {"global_max_pool",  {{2, 3, 4, 5}}, -1, 1, [](const OpInputs& x) { return global_max_pool(x[0]); }},
    {"gem_pool",         {{2, 3, 4, 5}, {1}}, 0.5, 3, [](const OpInputs& x) { return gem_pool(x[0], x[1]); }, 1e-6, 12, true, {1}},
    {"gem_pool_clamped", {{2, 3, 4, 5}, {1}}, -1, 3, [](const OpInputs& x) { return gem_pool(x[0], square(x[1]) + 1.5); }, 1e-6, 12, true, {1}},
    {"batch_norm",           {{2, 3, 4, 5}, {5}, {5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {}); }, 1e-6, 24, true, {1, 2}},
    {"batch_norm_rows",      {{7, 3}, {3}, {3}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {.eps = 1e-3}); }, 1e-6, 7, true, {1, 2}},
    {"batch_norm_relu",      {{2, 3, 4, 5}, {5}, {5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {.has_relu = true}); }, 1e-6, 24, true, {1, 2}},
    {"batch_norm_add",       {{2, 3, 4, 5}, {5}, {5}, {2, 3, 4, 5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {}); }, 1e-6, 24, true, {1, 2}},
    {"batch_norm_add_relu",  {{2, 3, 4, 5}, {5}, {5}, {2, 3, 4, 5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {.has_relu = true}); }, 1e-6, 24, true, {1, 2}},
    {"batch_norm_eval",      {{2, 3, 4, 5}, {5}, {5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {.uses_batch_statistics = false}); }, 1e-6, 24, true, {1, 2}},
    {"batch_norm_eval_add_relu", {{2, 3, 4, 5}, {5}, {5}, {2, 3, 4, 5}}, -1, 1, [](const OpInputs& x) { return batch_norm_row(x, {.uses_batch_statistics = false, .has_relu = true}); }, 1e-6, 24, true, {1, 2}},
  });
  // clang-format on
  return table;
}

std::vector<Tensor> op_inputs(const OpRow& row, DType dtype) {
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < row.inputs.size(); ++i) {
    Tensor x(row.inputs[i],
             DType::f32);  // drawn in f32, so that every dtype starts from the same values
    fill_uniform(x, Philox(0, stream_of(row.name, i)), row.low, row.high);
    inputs.push_back(x.to(dtype));
  }
  return inputs;
}

}  // namespace proxent
