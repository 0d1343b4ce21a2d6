// One row of the batch in the multi-proxy entropy loss, once the sums over its classes are there:
// the four terms, and what the true class's proxies get for a gradient. A warp works on a row, in
// double: it is K numbers, and differences of nearly equal logarithms.
#pragma once

#include "tensor/cuda/block_reduce.cuh"
#include "tensor/cuda/proxy_score.cuh"

namespace proxent::cuda {

// The row's similarities to its own proxies, lane by lane.
template <class T>
struct OwnSimilarities {
  const T* s;
  int K;

  // op over f(s_k, k), which all lanes get; `start` where a lane has no k.
  template <class F, class Op>
  __device__ double reduce(double start, Op op, const F& f) const {
    double result = start;
    for (int k = threadIdx.x % 32; k < K; k += 32) result = op(result, f(double(s[k]), k));
    return warp_reduce(result, op);
  }
  template <class F>
  __device__ double sum(const F& f) const {
    return reduce(0, Plus{}, f);
  }
};

struct Smaller {
  __device__ double operator()(double a, double b) const { return min(a, b); }
};

// The score of the own class and its slopes, as ClassScore's.
template <class T>
struct OwnScore {
  double top, score, per_sum;
  int winner;  // of equal maxima the first

  __device__ OwnScore(const OwnSimilarities<T>& own, const ProxyLossSettings& o)
      : top(own.reduce(double(own.s[0]), Larger{}, [](double x, int) { return x; })) {
    const auto weight = [&](double x) { return exp((x - top) / o.gamma); };
    const double first =
        own.reduce(own.K, Smaller{}, [&](double x, int k) { return double(x == top ? k : own.K); });
    const double sum = own.sum([&](double x, int) { return weight(x); });
    const double weighted = own.sum([&](double x, int) { return weight(x) * x; });
    winner = static_cast<int>(first);
    per_sum = 1 / sum;
    score = o.select == ProxySelect::max   ? top
            : o.select == ProxySelect::lse ? top + o.gamma * log(sum)
                                           : weighted / sum;
  }

  __device__ double slope(double x, int k, const ProxyLossSettings& o) const {
    if (o.select == ProxySelect::max) return k == winner;
    const double weight = exp((x - top) / o.gamma) * per_sum;
    if (o.select == ProxySelect::lse || o.detaches_selection) return weight;
    return weight * (1 + (x - score) / o.gamma);
  }
};

// The softmax over the own class's proxies at scale sigma_a, its entropy, and how far it is from
// even use.
template <class T>
struct OwnAssignment {
  double top, log_z, log_balance, intra, used;

  template <class LogUsage>
  __device__ OwnAssignment(const OwnSimilarities<T>& own, double top, double sigma_a,
                           const LogUsage& log_u)
      : top(top) {
    log_z = log(own.sum([&](double x, int) { return exp(sigma_a * (x - top)); }));
    const auto log_q = [&](double x) { return sigma_a * (x - top) - log_z; };
    intra = max(0.0, -own.sum([&](double x, int) { return exp(log_q(x)) * log_q(x); }));
    log_balance = log(own.sum([&](double x, int k) { return exp(log_q(x) - log_u(k)); }));
    used = max(0.0, own.sum([&](double x, int k) {
      const double change = log_even(log_u(k));
      return exp(log_q(x) + change) * change;
    }));
  }

  // log (r_k / q_k), by which even use would change the choice.
  __device__ double log_even(double log_u) const { return -log_u - log_balance; }
};

// What backward needs of a row, maxima taken over c != y: the posterior of the cross-entropy is
// p_c = exp(sigma (x_c - ce_max) - ce_log_z), and that of the inter-class entropy likewise.
template <class T>
struct SavedRow {
  T ce_max, ce_log_z, inter_max, inter_log_z, inter_entropy;
};

// Cross-entropy and inter-class entropy: what all lanes know.
struct RowTerms {
  double ce, ce_log_z, inter, inter_log_z;
  double score_gradient;  // d loss / d score of the own class

  // `ce_rest` and `inter_rest` are the sums over c != y; weight_inter is the entropy's, scaled.
  __device__ RowTerms(const ProxyLossSettings& o, double score, double weight_inter,
                      const SoftmaxSums<double>& ce_rest, const SoftmaxSums<double>& inter_rest) {
    const double positive = score - o.margin, power = o.sigma * (ce_rest.top - positive);
    // log(1 + rest / own), the larger of the two taken out.
    const double own = power > 0 ? exp(-power) : 1, others = power > 0 ? 1 : exp(power);
    ce = ce_rest.z == 0 ? 0
         : power > 0    ? power + log(others * ce_rest.z + own)
                        : log1p(others * ce_rest.z);
    ce_log_z = ce - power;
    score_gradient = o.sigma * expm1(-ce);  // sigma (p_y - 1)

    SoftmaxSums<double> all = inter_rest;
    if (o.inter == InterClasses::all) all.add(score, o.sigma_h);
    inter = all.entropy();
    inter_log_z = all.z == 0 ? 0 : log(all.z) + o.sigma_h * (all.top - inter_rest.top);
    if (o.inter == InterClasses::complement) return;
    const double log_p = o.sigma_h * (score - all.top) - log(all.z);
    score_gradient += weight_inter * o.sigma_h * exp(log_p) * (log_p + inter);
  }
};

}  // namespace proxent::cuda
