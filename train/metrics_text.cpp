#include "train/metrics_text.h"

#include <fmt/format.h>

#include "train/evaluation.h"
#include "train/text.h"

namespace proxent {

std::string metrics_text(const std::vector<MetricValue>& metrics,
                         std::optional<Selection> selection) {
  std::vector<std::string> recalls, others, reasons;
  bool is_any_known = false;
  for (const MetricValue& metric : metrics) {
    is_any_known |= metric.is_known();
    (metric.name.starts_with("R@") ? recalls : others)
        .push_back(metric.name + " " + percent_text(metric));
    if (!metric.is_known() && (reasons.empty() || reasons.back() != metric.reason))
      reasons.push_back(metric.reason);
  }
  std::vector<std::string> parts;
  if (is_any_known)
    for (const auto* group : {&recalls, &others})
      if (!group->empty()) parts.push_back(join(*group, " "));
  if (!reasons.empty()) parts.push_back((is_any_known ? "-: " : "") + join(reasons, ", "));
  if (selection) parts.emplace_back(name_of(*selection));
  return join(parts, " | ");
}

std::string metrics_text(const RetrievalResult& result, std::optional<Selection> selection) {
  EvaluationResult alone;
  alone.retrieval = result;
  return metrics_text(metric_values(alone), selection);
}

std::string counts_text(const RetrievalResult& result) {
  std::string text =
      counted(result.queries, "query", "queries") + fmt::format(", gallery {}", result.gallery);
  if (result.queries_without_match > 0)
    text += ", " + counted(result.queries_without_match, "query", "queries") +
            " without a match skipped";
  for (const RecallAtK& at : result.recall_at)
    if (at.ties > 0) text += ", " + counted(at.ties, "tie", "ties") + fmt::format(" at R@{}", at.k);
  return text;
}

std::string_view metrics_explanation() {
  return R"(How embeddings are measured

  Every query is ranked against the gallery: the most similar first, equally similar
  ones by their place in the data set. Similarity is the cosine of the embeddings
  (--distance euclidean: minus the distance). Without a query/gallery split every
  picture is a query and all others are its gallery. A query never meets itself,
  recognised by its index and not by ranking first, so copies of a picture count as
  any other picture. Where pictures have groups (the design families of glyphs), a
  query never meets its own group. A match is a gallery picture of the query's class;
  R is their number. P(i) is the share of matches among the first i, m(i) is 1 where
  place i holds a match and else 0.

Always

  R@K    Recall@K: 1 if a match is among the first K, else 0.
  RP     R-precision: P(R).
  MAP@R  (1/R) sum over i = 1..R of P(i) m(i). It also asks for the order among the
         first R, so MAP@R <= RP. (Musgrave, Belongie, Lim: A Metric Learning Reality
         Check, ECCV 2020, section 3.2)

With --metrics, or all

  P@K    P(K); K is the divisor also where the gallery is smaller.
  mAP    (1/R) sum over all places i of P(i) m(i).
  MRR    1 / place of the first match.
  nDCG@K sum over i = 1..K of m(i) / log2(1 + i), divided by the same sum of a ranking
         that begins with all matches.

  All are averages over queries, in percent. Queries without any match (classes of
  one picture) are skipped and counted. 'ties' counts queries that another order of
  equally similar pictures would turn from hit to miss or back.

  NMI    The embeddings (of length one, unless --distance euclidean) are clustered by
         k-means with as many clusters as there are classes: greedy k-means++ starts
         from a fixed seed, of which the one with the smallest inertia counts. With
         entropies H and mutual information MI of classes Y and clusters C:
           NMI = MI / ((H(Y) + H(C)) / 2)    NMI-geometric = MI / sqrt(H(Y) H(C))
         Papers use either. NMI grows with the number of clusters even by chance:
  AMI    (MI - E[MI]) / ((H(Y) + H(C)) / 2 - E[MI]), E[MI] of random clusters of the
         same sizes: 0 by chance, 100 for perfect clusters. (Vinh, Epps, Bailey 2010)
           AMI-geometric has sqrt(H(Y) H(C)) in the place of the mean.

  TAR@F  Over all pairs of pictures: the share of pairs of one class that a threshold
         on their similarity accepts (true accept rate), where it is the lowest one
         that accepts at most the share F of the pairs of two classes (false accept
         rate). Needs 1 / F pairs of two classes. The threshold is printed.
  AUC    The chance that a pair of one class is more similar than a pair of two; equal
         ones count half: the area under the ROC curve, which --json gives under roc:
         TAR, FAR and threshold, 20 points to a decade of FAR.

  A metric that cannot be computed is '-' (null in JSON) with the reason beside it.

The embeddings x, of length one

  effective rank  exp(H(p)), p the singular values of the centred embeddings divided
                  by their sum: how many directions are in use. (Roy, Vetterli 2007)
  spectrum        v_1 >= v_2 >= ... are the eigenvalues of the covariance of x, the
                  squared singular values; the variance in k directions is
                  (v_1 + ... + v_k) / (v_1 + ... + v_D). All shares: --json, spectrum.
  std deviation   root of the mean variance of a feature; 1 / sqrt(D) if spread evenly.
  intra           mean over classes of the mean of 1 - cos over pairs of the class.
  inter           mean of 1 - cos over pairs of the classes' mean directions.
  intra/inter     the density of Roth et al. 2020.
  alignment       mean of |x - y|^2 over pairs of one class.
  uniformity      log of the mean of exp(-2 |x - y|^2) over all pairs.
                  (both: Wang, Isola 2020)

The proxies w of a class, of length one (in the log of training; of a run)

  spread          mean over classes of the mean of 1 - cos over pairs of the class's
                  proxies, in brackets the least and the greatest class. closest pair:
                  the least 1 - cos of any such pair; near 0 two proxies are one.

  With --split train also, over pictures of the classes that the proxies stand for,
  where q_k = softmax over k of (the loss's scale) cos(x, w_k):
  used            proxies per class that are the nearest of some picture; the others
                  are dead.
  effective       mean over classes of exp(H(mean of q)).
  entropy         mean of H(q): 0 where every picture has decided, at most log K.
  purity          with --fine-labels: the share of pictures whose fine label is the
                  most frequent one of their nearest proxy; in brackets with one proxy
                  per class. NMI: of nearest proxy and fine label, mean over classes.

Beside the plain scores and never instead, each alone

  flip       --flip: the mean of the embeddings of a picture and of the mirrored one,
             each of length one, and so the mean.
  expanded   --query-expansion N,ALPHA: a query q becomes q + sum over the N gallery
             pictures x nearest to it of max(0, q.x)^ALPHA x. (Radenovic et al. 2019)
  re-ranked  --rerank=K1,K2,LAMBDA,N: the first N of a ranking are ordered anew by
             (1 - LAMBDA) Jaccard distance of their K1-reciprocal neighbourhoods,
             averaged over K2 neighbours, + LAMBDA (1 - cos). (Zhong et al. 2017)

  The last two look at the whole gallery before they rank: never compare them with
  plain scores.

Few-shot (--few-shot 5-way)

  A task draws 5 classes and of each some pictures with a label, the shots, and some
  without, the queries. A prototype is the mean of the shots' embeddings, each of
  length one; a query belongs to the prototype of the largest cosine. Accuracy is the
  mean over tasks of the share that was recognised, with 1.96 s / sqrt(tasks) on both
  sides, s the standard deviation over tasks. Every picture may be a shot or a query:
  who is a query, in the gallery or of which group is not looked at.

Where the weights come from

  val-selected   they were chosen on held-out training classes.
  last-epoch     the weights at the end of training.
  test-selected  they were chosen on the set that is reported: too good to be compared
                 with the others.
)";
}

}  // namespace proxent
