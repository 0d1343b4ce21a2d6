// Results as the terminal and the logs write them.
#include "train/metrics_text.h"

#include <doctest/doctest.h>

TEST_SUITE("metrics_text") {
  using namespace proxent;

  const RetrievalResult kResult{
      .recall_at = {{.k = 1, .recall = 0.61444, .ties = 1}, {.k = 10, .recall = 1, .ties = 0}},
      .map_at_r = 0.21298,
      .r_precision = 0.32,
      .queries = 5921,
      .queries_without_match = 3,
      .gallery = 5924};

  TEST_CASE("metrics carry how they were chosen") {
    CHECK(metrics_text(kResult) == "R@1 61.44 R@10 100.00 | MAP@R 21.30 RP 32.00");
    CHECK(metrics_text(kResult, Selection::val_selected) ==
          "R@1 61.44 R@10 100.00 | MAP@R 21.30 RP 32.00 | val-selected");
    CHECK(metrics_text(kResult, Selection::last_epoch).ends_with(" | last-epoch"));
    CHECK(metrics_text(kResult, Selection::test_selected).ends_with(" | test-selected"));
    RetrievalResult no_recall = kResult;
    no_recall.recall_at.clear();
    CHECK(metrics_text(no_recall) == "MAP@R 21.30 RP 32.00");
  }

  TEST_CASE("counts name what is out of the ordinary") {
    CHECK(counts_text(kResult) ==
          "5921 queries, gallery 5924, 3 queries without a match skipped, 1 tie at R@1");
    RetrievalResult plain = kResult;
    plain.queries_without_match = 0;
    plain.recall_at[0].ties = 0;
    CHECK(counts_text(plain) == "5921 queries, gallery 5924");
    CHECK(metrics_text(RetrievalResult{}) == "there are no queries");
    CHECK(metrics_text(RetrievalResult{.queries_without_match = 2}) == "no query has a match");
    CHECK(counts_text(RetrievalResult{}) == "0 queries, gallery 0");
  }
}
