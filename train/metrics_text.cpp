#include "train/metrics_text.h"

#include <fmt/format.h>

namespace proxent {

std::string_view name_of(Selection selection) {
  switch (selection) {
    case Selection::val_selected:
      return "val-selected";
    case Selection::last_epoch:
      return "last-epoch";
    case Selection::test_selected:
      break;
  }
  return "test-selected";
}

Selection selection_of(std::string_view protocol) {
  if (protocol == "val") return Selection::val_selected;
  if (protocol == "paper") return Selection::test_selected;
  return Selection::last_epoch;
}

std::string metrics_text(const RetrievalResult& result, std::optional<Selection> selection) {
  std::string text;
  if (result.queries == 0) {
    text = "no query has a match";
  } else {
    for (const RecallAtK& at : result.recall_at)
      text += fmt::format("R@{} {:.2f} ", at.k, 100 * at.recall);
    text += fmt::format("{}MAP@R {:.2f} RP {:.2f}", text.empty() ? "" : "| ", 100 * result.map_at_r,
                        100 * result.r_precision);
  }
  if (selection) text += fmt::format(" | {}", name_of(*selection));
  return text;
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
  return R"(How retrieval is measured

  Every query is ranked against the gallery: the most similar first, equally similar
  ones by their place in the data set. Similarity is the cosine of the embeddings
  (--distance euclidean: minus the distance). Without a query/gallery split every
  picture is a query and all others are its gallery. A query never meets itself,
  recognised by its index and not by ranking first, so copies of a picture count as
  any other picture. Where pictures have groups (the design families of glyphs), a
  query never meets its own group. A match is a gallery picture of the query's class.

  R@K (Recall@K)   share of queries with at least one match among the first K.
  RP (R-precision) share of matches among the first R, where R is the number of
                   matches that the query has in the gallery.
  MAP@R            the mean over the first R ranks of P(i) where rank i is a match and
                   0 where it is not; P(i) is the share of matches among the first i.
                   It also asks for the order among the first R, so MAP@R <= RP.

  All are averages over queries, in percent. Queries without any match (classes of
  one picture) are skipped and counted. 'ties at R@K' counts queries that another
  order of equally similar pictures would turn from hit to miss or back.

  val-selected     the weights were chosen on held-out training classes.
  last-epoch       the weights at the end of training.
  test-selected    the weights were chosen on the set that is reported: too good to be
                   compared with the others.

  Musgrave, Belongie, Lim: A Metric Learning Reality Check, ECCV 2020, section 3.2.
)";
}

}  // namespace proxent
