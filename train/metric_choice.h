// Which metrics an evaluation computes: the names of run.metrics and eval --metrics.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

struct MetricChoice {
  std::vector<std::int64_t> recall_at = {1};        // the K, ascending, 1 among them
  std::vector<std::int64_t> precision_at, ndcg_at;  // the K of P@K and nDCG@K, ascending
  bool wants_map = false, wants_mrr = false;        // map@r and rp are always computed
  bool wants_nmi = false, wants_ami = false;        // cluster the embeddings
  bool wants_auc = false;                           // look at all pairs, as does:
  std::vector<double> tar_at;                       // the FAR of TAR@FAR, descending

  bool wants_clustering() const { return wants_nmi || wants_ami; }
  bool wants_verification() const { return wants_auc || !tar_at.empty(); }
};

// "r@1,2" arrives as the items "r@1" and "2", which means r@2; so with p@, ndcg@ and tar@.
void spell_out_metrics(std::vector<std::string>& metrics);

// r@K, p@K, ndcg@K, map@r, rp, map, mrr, nmi, ami, auc, tar@FAR, all; R@1, MAP@R and R-precision
// are in every choice. `all` is everything, P@K and nDCG@K at the K of Recall@K (but 1, where all
// three are the same), TAR at 1e-1, 1e-2, 1e-3 and 1e-4. Throws UsageError, beginning with
// `setting`, for any other name (with the nearest) and for a K or FAR out of range.
MetricChoice metric_choice(const std::vector<std::string>& metrics,
                           std::string_view setting = "run.metrics");
// The name by which evaluations report what run.choose_by names: "R@1" for r@1, "MAP@R" for map@r,
// "RP" for rp. Throws UsageError for another.
std::string chooser_name(const std::string& choose_by);
// What run.metrics and --metrics accept, for help texts.
inline constexpr std::string_view kMetricNames =
    "r@K, p@K, ndcg@K, tar@FAR (lists as r@1,2,4,8), map, mrr, nmi, ami, auc or all; r@1, map@r "
    "and rp are always reported";

}  // namespace proxent
