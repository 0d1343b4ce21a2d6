// What became of the proxies: whether they are in use, and what they came to stand for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "losses/proxies.h"
#include "train/embed.h"
#include "train/json.h"

namespace proxent {

struct ProxyDiagnostics {
  ProxyReport report;  // of q = softmax_k(scale s_yk) of every picture
  std::int64_t pictures = 0;
  std::vector<std::string> class_names;  // of report.entropy_of_class
  double spread = 0;                     // proxy_spread()
  // Where pictures have hidden finer labels: the share of pictures whose fine label is the most
  // frequent one among the pictures nearest to the same proxy of their class, and the same with one
  // proxy per class, which is what finding nothing gives.
  std::optional<double> purity, purity_of_one;
  std::int64_t judged = 0;  // pictures with a finer label, of which the two are
  // Mean over the classes with two fine labels or more of the NMI (arithmetic) between nearest
  // proxy and fine label; 0 where a class uses one proxy.
  std::optional<double> nmi;
};

// Of training pictures' embeddings (N, D), one by one against the proxies of their class. Throws
// Error for a loss without proxies, and for one over another number of classes.
ProxyDiagnostics diagnose_proxies(const MetricLoss& loss, const Dataset& dataset,
                                  const Embeddings& embeddings);

// "4 per class, 3.35 used, 2.90 effective, 11 of 68 dead, spread 0.74, entropy 0.03, purity 0.78
// (0.50 with one) of 4096 pictures".
std::string to_text(const ProxyDiagnostics& diagnostics);
Json to_json(const ProxyDiagnostics& diagnostics);

}  // namespace proxent
