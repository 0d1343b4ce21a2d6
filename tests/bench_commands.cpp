// proxent bench: every benchmark runs, does the work it says, and prints what it measured.
#include "tests/run_binary.h"

TEST_SUITE("bench commands") {
  using namespace proxent;

  TEST_CASE("bench step trains") {
    const auto found = run_json(
        "bench step --arch resnet18 --size 32 --batch 4 --classes 5 --steps 2 --warm-up 1");
    CHECK(found["batch"] == 4);
    CHECK(found["ms_step"].get<double>() > 0);
    CHECK(found["img_s"].get<double>() ==
          doctest::Approx(4000 / found["ms_step"].get<double>()).epsilon(0.01));
    CHECK(found["peak_bytes"].get<std::int64_t>() > 11'000'000 * 4 * 2);  // weights and gradients
    CHECK(found["loss"].get<double>() > 0);
  }

  TEST_CASE("bench loss compares equal gradients") {
    const auto found =
        run_json("bench loss --batch 8 --classes 50 --proxies 3 --dim 16 --rounds 2");
    CHECK(found["gradient_difference"].get<double>() < 1e-5);
    CHECK(found["fused"]["loss"].get<double>() ==
          doctest::Approx(found["composed"]["loss"].get<double>()).epsilon(1e-5));
    CHECK(found["ratio_min"] <= found["ratio"]);
    CHECK(found["matrix_bytes"] == 8 * 50 * 3 * 4);
  }

  TEST_CASE("bench knn reports what it did") {
    const auto found = run_json("bench knn --rows 300 --dim 8 --classes 30 --recall-at 1,5");
    CHECK(found["rows"] == 300);
    CHECK(found["seconds"].get<double>() > 0);
    CHECK(found["peak_bytes"].get<std::int64_t>() > 300 * 8 * 4);
    CHECK(found["r@5"] >= found["r@1"]);
  }

  TEST_CASE("sizes of 0 are refused") {
    for (const char* arguments : {"step --batch 0", "loss --classes 0", "knn --rows 0"}) {
      const Outcome outcome = run_binary("bench " + std::string(arguments) + " 2>&1");
      CHECK_MESSAGE(outcome.code == 2, arguments);
      CHECK_MESSAGE(outcome.out.find("at least 1, got '0'") != std::string::npos, outcome.out);
    }
  }
}
