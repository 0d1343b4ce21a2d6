// The multi-proxy entropy loss in one op: every class c has K proxies w_c1 .. w_cK, an embedding z
// is compared with all of them, and neither probabilities nor logits are ever stored. What the
// terms mean is said in losses/multi_proxy_entropy.h, where the same loss stands as plain ops.
//
//   s_ck = z . w_ck / (|z| |w_ck|)          similarity (B x C x K numbers, the only large memory)
//   S_c  = select over k of s_ck            class score
//   ce    = -log p_y,  p = softmax(sigma (S - margin [c = y]))
//   inter = entropy of softmax(sigma_h S)
//   intra = entropy of q = softmax over k of sigma_a s_yk
//   usage = sum_k r_k log (r_k / q_k)       r_k ~ q_k / u_yk, sum 1, constant in the gradient;
//                                           u: how often each proxy was chosen so far
//   loss  = mean over rows of ce - weight_inter inter + weight_intra intra + weight_usage usage
//
// Gradients: docs/derivations/multi_proxy_entropy.md.
#pragma once

#include "tensor/launch.h"
#include "tensor/tensor.h"

namespace proxent {

// How K similarities make one class score.
enum class ProxySelect {
  lse,   // gamma log sum_k exp(s_k / gamma)
  max,   // the nearest proxy; of equal ones the first
  soft,  // sum_k softmax_k(s / gamma) s_k, as SoftTriple
};
// What stands in the denominator of ce for the classes c != y.
enum class ProxyNegatives { selected, all_proxies };  // S_c, or every s_ck
// Which classes the inter-class entropy runs over.
enum class InterClasses { all, complement };  // complement: without y

// All numbers final: what is optional in MultiProxyEntropyOptions is filled in.
struct ProxyLossSettings {
  double sigma, sigma_h, sigma_a, gamma, margin;
  ProxySelect select;
  ProxyNegatives negatives;
  InterClasses inter;
  double weight_inter, weight_intra, weight_usage;
  bool
      normalises_entropy;  // inter is divided by log C, intra and usage by log K (unless that is 0)
  bool detaches_selection;  // soft: the weights of the s_k are constants in the gradient
};

inline constexpr std::int32_t kIgnoredLabel = -100;  // rows that add nothing and are not counted
inline constexpr double kSmallestUsage = 1e-6;       // log u is taken of at least this

// What forward leaves behind.
struct ProxyLoss {
  Tensor terms;       // (5): loss, ce, inter, intra, usage; averaged over the rows that count, or 0
  Tensor assignment;  // (B, K): q; 0 in ignored rows

  // For backward alone.
  Tensor unit, length;   // (B padded, D) and (B): normalize_rows(embeddings)
  Tensor proxy_scale;    // (C * K): 1 / max(|w|, kMinLength)
  Tensor similarities;   // (C * K, B padded): s, later its gradient; undefined if not kept
  Tensor rows;           // (B, 5): what a kernel saves of a row
  Tensor own_gradients;  // (B, K): of a row's loss by s_yk
};

// B as the similarities hold it: up to the next multiple of 32, a whole number of vectors.
constexpr std::int64_t padded_rows(std::int64_t B) { return (B + 31) / 32 * 32; }

namespace kernel {
// Fills every defined tensor of `out`. usage (C, K) may be undefined if weight_usage is 0.
KERNEL(proxy_loss, const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
       const Tensor& usage, const ProxyLossSettings& settings, ProxyLoss& out);
// dz (B, D) = dy d(loss)/d(embeddings) and dw (C, K, D) = dy d(loss)/d(proxies), each unless it is
// undefined. Overwrites forward.similarities.
KERNEL(proxy_loss_backward, const Tensor& dy, const Tensor& proxies, const Tensor& labels,
       const ProxyLossSettings& settings, ProxyLoss& forward, Tensor& dz, Tensor& dw);
// usage[c] += rate (mean of assignment over the rows of class c - usage[c]) for the classes that
// have rows, all of them finite: a step that fp16 skips must leave nothing behind.
KERNEL(update_proxy_usage, const Tensor& assignment, const Tensor& labels, double rate,
       Tensor& usage);
}  // namespace kernel

// embeddings (B, D), proxies (C, K, D) and i32 labels (B), each in 0 .. C-1 or kIgnoredLabel.
// Memory: one (B, CK) matrix if `keeps_similarities` for backward, otherwise a tile of it.
ProxyLoss proxy_loss(const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                     const Tensor& usage, const ProxyLossSettings& settings,
                     bool keeps_similarities);

struct ProxyLossGradients {
  Tensor dz, dw;  // undefined where unwanted
};
// Uses the kept similarities up: once per forward.
ProxyLossGradients proxy_loss_backward(const Tensor& dy, const Tensor& proxies,
                                       const Tensor& labels, const ProxyLossSettings& settings,
                                       ProxyLoss forward, bool wants_dz, bool wants_dw);

// The running average of the proxies' use, edited in place. rate is in [0, 1].
void update_proxy_usage(const Tensor& assignment, const Tensor& labels, double rate, Tensor& usage);

// Throws unless embeddings, proxies, labels and usage (where it is needed) belong together.
void check_proxy_loss(const Tensor& embeddings, const Tensor& proxies, const Tensor& labels,
                      const Tensor& usage, const ProxyLossSettings& settings);

}  // namespace proxent
