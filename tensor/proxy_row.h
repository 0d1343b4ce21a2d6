// One row of the batch in the multi-proxy entropy loss, once the sums over the other classes are
// there: the four terms, and what the true class's proxies get for a gradient. The kernels of every
// device share it. It is K numbers, and differences of nearly equal logarithms: all in double.
//
// A Team works on a row, one thread or several lanes that all call: each(K, f) calls f(k) for every
// k in one of the lanes, all(x, op) combines the lanes' x for everybody, is_first() holds in one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tensor/device_code.h"
#include "tensor/proxy_loss.h"
#include "tensor/softmax_sums.h"

namespace proxent {

// The row's similarities to its own proxies.
template <class T, class Team>
struct OwnSimilarities {
  const T* s;
  std::int64_t K;
  Team team;

  // op over f(s_k, k); start leaves the result of op as it is.
  template <class F, class Op>
  PROXENT_DEVICE_CODE double reduce(double start, Op op, const F& f) const {
    double result = start;
    team.each(K, [&](std::int64_t k) { result = op(result, f(double(s[k]), k)); });
    return team.all(result, op);
  }
  template <class F>
  PROXENT_DEVICE_CODE double sum(const F& f) const {
    return reduce(
        0, [](double a, double b) { return a + b; }, f);
  }
  PROXENT_DEVICE_CODE double largest() const {
    return reduce(
        double(s[0]), [](double a, double b) { return std::max(a, b); },
        [](double x, std::int64_t) { return x; });
  }
  // The first k at which s_k = x; K for none.
  PROXENT_DEVICE_CODE double first(double x) const {
    return reduce(
        double(K), [](double a, double b) { return std::min(a, b); },
        [&](double y, std::int64_t k) { return double(y == x ? k : K); });
  }
};

// The score of the own class, and how it changes with a similarity.
template <class T, class Team>
struct OwnScore {
  double top, winner, per_sum, score;

  PROXENT_DEVICE_CODE OwnScore(const ProxyLossSettings& o, const OwnSimilarities<T, Team>& own)
      : top(own.largest()), winner(own.first(top)) {
    const auto weight = [&](double x) { return std::exp((x - top) / o.gamma); };
    const double sum = own.sum([&](double x, std::int64_t) { return weight(x); });
    const double weighted = own.sum([&](double x, std::int64_t) { return weight(x) * x; });
    per_sum = 1 / sum;
    score = o.select == ProxySelect::max   ? top
            : o.select == ProxySelect::lse ? top + o.gamma * std::log(sum)
                                           : weighted / sum;
  }

  PROXENT_DEVICE_CODE double slope(const ProxyLossSettings& o, double x, std::int64_t k) const {
    if (o.select == ProxySelect::max) return double(k) == winner;
    const double weight = std::exp((x - top) / o.gamma) * per_sum;
    if (o.select == ProxySelect::lse || o.detaches_selection) return weight;
    return weight * (1 + (x - score) / o.gamma);
  }
};

// The softmax over the own class's proxies at scale sigma_a, its entropy, and how far it is from
// even use. log_u(k) is the logarithm of how often proxy k was chosen so far.
template <class T, class Team>
struct OwnAssignment {
  double sigma_a, top, log_z, log_balance, intra, used;

  template <class LogUsage>
  PROXENT_DEVICE_CODE OwnAssignment(double sigma_a, double top, const LogUsage& log_u,
                                    const OwnSimilarities<T, Team>& own)
      : sigma_a(sigma_a), top(top) {
    log_z =
        std::log(own.sum([&](double x, std::int64_t) { return std::exp(sigma_a * (x - top)); }));
    intra = std::max(
        0.0, -own.sum([&](double x, std::int64_t) { return std::exp(log_q(x)) * log_q(x); }));
    log_balance =
        std::log(own.sum([&](double x, std::int64_t k) { return std::exp(log_q(x) - log_u(k)); }));
    used = std::max(0.0, own.sum([&](double x, std::int64_t k) {
      const double change = log_even(log_u(k));
      return std::exp(log_q(x) + change) * change;
    }));
  }

  PROXENT_DEVICE_CODE double log_q(double x) const { return sigma_a * (x - top) - log_z; }
  // log (r_k / q_k), by which even use would change the choice.
  PROXENT_DEVICE_CODE double log_even(double log_u) const { return -log_u - log_balance; }
};

// Cross-entropy and inter-class entropy.
struct ClassTerms {
  double ce_top, ce_log_z, ce, inter_top, inter_log_z, inter;
  double score_gradient;  // d loss / d score of the own class

  // `ce_rest` and `inter_rest` are the sums over c != y; weight_inter is the entropy's, scaled.
  PROXENT_DEVICE_CODE ClassTerms(const ProxyLossSettings& o, double score, double weight_inter,
                                 const SoftmaxSums<double>& ce_rest,
                                 const SoftmaxSums<double>& inter_rest)
      : ce_top(ce_rest.z == 0 ? 0 : ce_rest.top),
        inter_top(inter_rest.z == 0 ? 0 : inter_rest.top) {
    const double positive = score - o.margin, power = o.sigma * (ce_top - positive);
    // log(1 + rest / own), the larger of the two taken out.
    const double own = power > 0 ? std::exp(-power) : 1, others = power > 0 ? 1 : std::exp(power);
    ce = ce_rest.z == 0 ? 0
         : power > 0    ? power + std::log(others * ce_rest.z + own)
                        : std::log1p(others * ce_rest.z);
    ce_log_z = ce - power;
    score_gradient = o.sigma * std::expm1(-ce);  // sigma (p_y - 1)

    SoftmaxSums<double> all = inter_rest;
    if (o.inter == InterClasses::all) all.add(score, o.sigma_h);
    inter = all.entropy();
    inter_log_z = all.z == 0 ? 0 : std::log(all.z) + o.sigma_h * (all.top - inter_top);
    if (o.inter == InterClasses::complement) return;
    const double log_p = o.sigma_h * (score - all.top) - std::log(all.z);
    score_gradient += weight_inter * o.sigma_h * std::exp(log_p) * (log_p + inter);
  }
};

// What backward needs of a row, maxima taken over c != y: the posterior of the cross-entropy is
// p_c = exp(sigma (x_c - ce_max) - ce_log_z), and that of the inter-class entropy likewise.
template <class T>
struct SavedProxyRow {
  T ce_max, ce_log_z, inter_max, inter_log_z, inter_entropy;
};
static_assert(sizeof(SavedProxyRow<float>) == 5 * sizeof(float));

// 1 / log n where the entropies are normalised; 1 where log n is 0, as is the entropy.
PROXENT_DEVICE_CODE inline double entropy_scale(const ProxyLossSettings& o, std::int64_t n) {
  return o.normalises_entropy && n > 1 ? 1 / std::log(double(n)) : 1;
}

// Of ce, inter, intra and usage, scaled.
PROXENT_DEVICE_CODE inline double weighted_sum(const ProxyLossSettings& o, const double* terms) {
  return terms[0] - o.weight_inter * terms[1] + o.weight_intra * terms[2] +
         o.weight_usage * terms[3];
}

// A row and what becomes of it.
template <class T, class Team>
struct ProxyRow {
  T* own;         // (K): similarities, which become the loss's gradients
  T* assignment;  // (K)
  SavedProxyRow<T>* saved;
  double* terms;  // (4): ce, inter, intra, usage, scaled
  std::int64_t K;
  Team team;

  // A row that does not count.
  PROXENT_DEVICE_CODE void ignore() const {
    team.each(K, [&](std::int64_t k) { own[k] = assignment[k] = 0; });
    if (!team.is_first()) return;
    *saved = {};
    for (int j = 0; j < 4; ++j) terms[j] = 0;
  }

  // The sums are those over the C - 1 other classes; usage (K) is the own class's, or null.
  PROXENT_DEVICE_CODE void finish(const ProxyLossSettings& o, std::int64_t C,
                                  const SoftmaxSums<double>& ce_rest,
                                  const SoftmaxSums<double>& inter_rest, const T* usage) const {
    const double inter_scale = entropy_scale(o, C), intra_scale = entropy_scale(o, K);
    const auto log_u = [&](std::int64_t k) {
      return usage ? std::log(std::fmax(double(usage[k]), kSmallestUsage)) : 0.0;
    };
    const OwnSimilarities<T, Team> s{own, K, team};
    const OwnScore<T, Team> score(o, s);
    const ClassTerms row(o, score.score, o.weight_inter * inter_scale, ce_rest, inter_rest);
    const OwnAssignment<T, Team> chosen(o.sigma_a, score.top, log_u, s);

    const double intra = o.weight_intra * intra_scale, used = o.weight_usage * intra_scale;
    team.each(K, [&](std::int64_t k) {
      const double x = own[k], log_q = chosen.log_q(x), q = std::exp(log_q);
      const double within =
          -intra * (log_q + chosen.intra) - used * std::expm1(chosen.log_even(log_u(k)));
      assignment[k] = T(q);
      own[k] = T(row.score_gradient * score.slope(o, x, k) + o.sigma_a * q * within);
    });
    if (!team.is_first()) return;
    *saved = {T(row.ce_top), T(row.ce_log_z), T(row.inter_top), T(row.inter_log_z), T(row.inter)};
    terms[0] = row.ce, terms[1] = inter_scale * row.inter;
    terms[2] = intra_scale * chosen.intra, terms[3] = intra_scale * chosen.used;
  }
};

}  // namespace proxent
