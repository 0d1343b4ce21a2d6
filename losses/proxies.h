// The trained side of losses over proxies: the proxies as a module, and how they are used.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "losses/metric_loss.h"
#include "losses/multi_proxy_entropy.h"

namespace proxent {

// How proxies start, each drawn on its own: equal proxies of a class would get equal gradients and
// stay equal for ever.
enum class ProxyInit {
  normal,   // randn / 8, as ProxyNCA++
  kaiming,  // normal with deviation sqrt(2 / (C K)), as Proxy-Anchor:
            // kaiming_normal_(mode="fan_out")
};
enum class LossForm { fused, composed };

struct ProxyOptions {
  std::int64_t classes = 0, per_class = 4, dim = 512;  // C, K, D; each 1 or more
  ProxyInit init = ProxyInit::normal;
  std::uint64_t seed = 0;
  LossForm form = LossForm::fused;
  double usage_rate = 0.1;  // of the running average of each proxy's use, in [0, 1]
  // A proxy in less use than this share of an even one, 1 / K, is moved: see revive_proxies(). 0:
  // never.
  double revive_below = 0;
};

// A loss against proxies of its own.
class LossWithProxies : public MetricLoss {
 public:
  // Throws UsageError for options that are out of range.
  LossWithProxies(Module* parent, std::string name, const ProxyOptions& shape);

  Parameter proxies;  // (C, K, D) f32, not normalised

  const Parameter* proxy_parameter() const override { return &proxies; }
  void initialize(Philox random) override;

 protected:
  const ProxyOptions& shape() const { return shape_; }

 private:
  ProxyOptions shape_;
};

// A loss of embeddings, proxies and labels as it stands in its formula. The function must work as
// a recording repeats it: see MetricLoss::is_recordable().
class PlainProxyLoss : public LossWithProxies {
 public:
  using Function = std::function<Variable(const Variable& embeddings, const Variable& proxies,
                                          const Tensor& labels)>;
  PlainProxyLoss(Module* parent, std::string name, const ProxyOptions& shape, Function function,
                 double assignment_scale);

  Variable operator()(const Variable& embeddings, const Tensor& labels) override;
  double assignment_scale() const override { return assignment_scale_; }
  bool is_recordable() const override { return true; }

 private:
  Function function_;
  double assignment_scale_;
};

// multi_proxy_entropy(), with the running average behind its usage term.
class MultiProxyEntropyLoss : public LossWithProxies {
 public:
  MultiProxyEntropyLoss(Module* parent, std::string name, const ProxyOptions& shape,
                        const MultiProxyEntropyOptions& options = {});

  // (C, K): average of q per class; only with weight_usage or revive_below above 0.
  std::optional<Buffer> usage;

  // While training it also moves `usage` towards this batch's assignments, after they were used.
  Variable operator()(const Variable& embeddings, const Tensor& labels) override;

  // Moves proxies out of use to embeddings of the batch before: see revive_proxies(). That waits
  // for the device.
  void begin_step() override;
  // "ce", "inter", "intra" and, where it is on, "usage".
  std::vector<Term> terms() const override;
  const Tensor& assignment() const { return last_.assignment; }  // of the last call
  double assignment_scale() const override { return options_.settings().sigma_a; }
  // The composed form looks at its labels, reviving at the use of the proxies.
  bool is_recordable() const override {
    return shape().form == LossForm::fused && shape().revive_below == 0;
  }

  void initialize(Philox random) override;

 private:
  MultiProxyEntropyOptions options_;
  MultiProxyEntropy last_;
  struct {
    Tensor embeddings, labels;
  } seen_;  // by the last call, kept for revive_proxies()
};

// Moves the least used proxy of each class in the batch, where its use is below `least`, to the
// embedding of the class that is farthest from all of its proxies, at the class's mean length, and
// calls it evenly used from then on: k-means' way with empty clusters. embeddings (B, D), labels
// (B), proxies (C, K, D), usage (C, K). Returns how many moved. Throws Error on other shapes.
std::int64_t revive_proxies(const Tensor& embeddings, const Tensor& labels, double least,
                            Tensor& proxies, Tensor& usage);

// What a set of assignments says about the proxies.
struct ProxyReport {
  std::int64_t classes = 0;       // that had a row
  std::int64_t proxies = 0;       // of those classes
  std::int64_t dead = 0;          // of those: never the nearest of its class
  double used_per_class = 0;      // mean number of proxies that were the nearest at least once
  double effective = 0;           // mean over classes of exp H(mean q): 1 .. K
  double assignment_entropy = 0;  // mean over rows of H(q): 0 (decided) .. log K
  std::vector<double> entropy_of_class;  // the same within each class; NaN where it had no row
};

// Gathers assignments over many batches, an epoch's say.
class ProxyStatistics {
 public:
  ProxyStatistics(std::int64_t classes, std::int64_t per_class);
  // assignment (B, K) and labels (B) of one batch; ignored rows are left out.
  void add(const Tensor& assignment, const Tensor& labels);
  ProxyReport report() const;

 private:
  std::int64_t per_class_;
  std::vector<std::int64_t> rows_, wins_;  // per class; per proxy
  std::vector<double> share_;              // per proxy: sum of q
  std::vector<double> entropy_;            // per class: sum of H(q)
};

// How far apart the proxies of a class are, in cosine distances: 0 (collapsed) .. 2.
struct ProxySpread {
  std::vector<double> of_class;  // mean over pairs of the class's proxies
  double closest = 0;            // of all pairs within a class: how near two proxies came

  double mean() const;  // over classes
  double least() const;
  double greatest() const;
};
// Of proxies (C, K, D), f32 or f64; all zeros if K is one. Throws Error for another shape.
ProxySpread proxy_spread(const Tensor& proxies);

}  // namespace proxent
