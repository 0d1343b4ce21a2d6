// What became of the proxies: whether they are in use, and what they came to stand for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "losses/metric_loss.h"
#include "losses/proxy_statistics.h"
#include "train/embed.h"
#include "train/json.h"

namespace proxent {

struct ProxyDiagnostics {
  std::int64_t classes = 0, per_class = 0;
  ProxySpread spread;
  // The rest is of pictures, of which there may be none.
  std::int64_t pictures = 0;
  ProxyReport report = {};                    // of q = softmax_k(scale s_yk) of every picture
  std::vector<std::string> class_names = {};  // of report.entropy_of_class and spread.of_class
  // Where pictures have hidden finer labels: the share of pictures whose fine label is the most
  // frequent one among the pictures nearest to the same proxy of their class, and the same with one
  // proxy per class, which is what finding nothing gives.
  std::optional<double> purity = {}, purity_of_one = {};
  std::int64_t judged = 0;  // pictures with a finer label, of which the two are
  // Mean over the classes with two fine labels or more of the NMI (arithmetic) between nearest
  // proxy and fine label; 0 where a class uses one proxy.
  std::optional<double> nmi = {};
};

// Whether there is anything to tell: several proxies per class, or pictures with finer labels.
bool has_proxies_to_diagnose(const MetricLoss& loss, const Dataset& dataset);
// Of the proxies alone. Throws Error for a loss without proxies.
ProxyDiagnostics diagnose_proxies(const MetricLoss& loss);
// And of training pictures' embeddings (N, D), one by one against the proxies of their class. Also
// throws Error for proxies of another number of classes.
ProxyDiagnostics diagnose_proxies(const MetricLoss& loss, const Dataset& dataset,
                                  const Embeddings& embeddings);

// "4 per class, spread 0.74 (0.31 .. 1.02), closest pair 0.12; of 4096 pictures: 3.35 used, 2.90
// effective, 11 of 68 dead, entropy 0.03, purity 0.78 (0.50 with one) of 4096".
std::string to_text(const ProxyDiagnostics& diagnostics);
Json to_json(const ProxyDiagnostics& diagnostics);

}  // namespace proxent
