// What a run shows: lines, the live bar and tables, compared as text.
#include "train/progress_view.h"

#include <doctest/doctest.h>

#include <limits>

#include "tensor/check.h"
#include "tests/recorder.h"
#include "train/table.h"
#include "train/text.h"

using namespace proxent;

namespace {

StepRecord example() {
  return {.epoch = 2.41,
          .epochs = 60,
          .step = 1200,
          .steps = 21300,
          .images = 144000,
          .loss = 1.83417,
          .terms = {{"ce", 1.702}, {"intra", 0.132}},
          .gradient_norm = 3.2149,
          .loss_z = 4.5,
          .lr = 9.8e-5,
          .proxy_lr = 9.8e-3,
          .images_per_second = 2450.4,
          .step_seconds = 0.05,
          .wait_seconds = 0.0005,
          .memory_bytes = 14'890'000'000,
          .process_bytes = 512 << 20,
          .seconds_left = 6720};
}

}  // namespace

TEST_SUITE("progress") {
  TEST_CASE("the line of a step") {
    CHECK(without_codes(step_line(example())) ==
          "ep  3/60 │ it  1200/21300 │ loss 1.8342 +4.5z (ce 1.702 intra 0.132) │ |g| 3.21 │ lr "
          "9.8e-5 │ "
          "2450 img/s │ wait 1% │ 13.9G │ eta 1h52m");
    StepRecord half = example();
    half.loss_scale = 32768;
    half.skipped = 2;
    CHECK(without_codes(step_line(half)).find("wait 1% │ scale 32768, 2 skipped │ 13.9G") !=
          std::string::npos);
    for (const auto& [rate, text] : {std::pair{1e-3, "lr 1e-3 │"},
                                     {9.619e-4, "lr 9.62e-4 │"},
                                     {0.01, "lr 0.0100 │"},
                                     {5e-7, "lr 5e-7 │"}}) {
      StepRecord record = example();
      record.lr = rate;
      CHECK(without_codes(step_line(record)).find(text) != std::string::npos);
    }
    StepRecord calm = example();
    calm.loss_z = -2.9;
    calm.skipped = 1;  // by --on-nan skip
    CHECK(without_codes(step_line(calm)).find("loss 1.8342 (ce") != std::string::npos);
    CHECK(without_codes(step_line(calm)).find("wait 1% │ 1 skipped │ 13.9G") != std::string::npos);
    StepRecord odd;  // zeros and a loss that is no number must not break it
    odd.loss = std::numeric_limits<double>::quiet_NaN();
    CHECK(without_codes(step_line(odd)) ==
          "ep 1/0 │ it 0/0 │ loss nan │ |g| 0 │ lr 0 │ 0.0 img/s │ wait 0% │ 0M │ eta 0.0s");
  }

  TEST_CASE("the bar gives up parts as the terminal narrows") {
    const auto bar = [](int width) { return without_codes(bar_line(example(), width)); };
    CHECK(
        bar(140) ==
        "▕█                ▏   6% │ ep  3/60 │ loss 1.8342 │ (ce 1.702 intra 0.132) │ lr 9.8e-5 │ "
        "|g| 3.21 │ 2450 img/s │ wait 1% │ 13.9G │ eta 1h52m");
    CHECK(bar(120).find("1.8342 │ lr 9.8e-5 │ |g| 3.21 │ 2450 img/s") != std::string::npos);
    CHECK(bar(80) ==
          "▕▊            ▏   6% │ ep  3/60 │ loss 1.8342 │ 2450 img/s │ wait 1% │ eta 1h52m");
    CHECK(bar(50) == "▕█                ▏   6% │ loss 1.8342 │ eta 1h52m");
    for (int width = 0; width <= 200; ++width) CHECK(display_width(bar(width)) <= width);
    StepRecord done = example();
    done.step = done.steps;
    CHECK(without_codes(bar_line(done, 50)) ==
          "▕█████████████████▏ 100% │ loss 1.8342 │ eta 1h52m");
  }

  TEST_CASE("the line of an evaluation") {
    EvalRecord record{.epoch = 3,
                      .step = 1065,
                      .split = "val",
                      .metrics = {{"R@1", 0.6144}, {"R@2", 0.729}, {"MAP@R", 0.213}, {"RP", 0.32}},
                      .chosen_by = "R@1",
                      .best = 0.6144,
                      .is_best = true,
                      .label = {},
                      .seconds = 6.1};
    CHECK(without_codes(eval_line(record)) ==
          "eval ep 3.00 val │ R@1 61.44 (best 61.44 ▲)  R@2 72.90 │ MAP@R 21.30  RP 32.00 │ 6.1s");
    record.label = "test-selected";
    record.is_best = false;
    record.best = 0.7;
    CHECK(without_codes(eval_line(record)) ==
          "eval ep 3.00 val │ R@1 61.44 (best 70.00)  R@2 72.90 │ MAP@R 21.30  RP 32.00 │ 6.1s │ "
          "test-selected");
    CHECK(to_json(record)["selection"].plain() == "test-selected");
  }

  TEST_CASE("records as JSON") {
    CHECK(to_json(example()).text() ==
          R"({"step": 1200, "epoch": 2.41, "images": 144000, )"
          R"("loss": {"total": 1.83417, "ce": 1.702, "intra": 0.132}, )"
          R"("lr": {"backbone": 9.8e-5, "proxy": 0.0098}, "grad_norm": 3.2149, )"
          R"("z": {"loss": 4.5, "grad_norm": null}, "img_s": 2450.4, "step_ms": 50, )"
          R"("data_wait_ms": 0.5, "mem_mib": 14200.210571289062, "process_mib": 512})");
  }

  TEST_CASE("pace forgets a slow start") {
    Pace pace;
    CHECK(pace.images_per_second() == 0);
    CHECK(pace.seconds_left(10) == 0);
    pace.step(100, 50, 10);
    CHECK(pace.images_per_second() == doctest::Approx(0.1));
    for (int i = 0; i < 200; ++i) pace.step(1, 0.25, 10);
    CHECK(pace.images_per_second() == doctest::Approx(10).epsilon(0.01));
    CHECK(pace.wait_seconds() == doctest::Approx(0.25).epsilon(0.01));
    CHECK(pace.seconds_left(60) == doctest::Approx(60).epsilon(0.01));
  }

  TEST_CASE("a slow loader is told once, after three lines") {
    std::string out;
    Log log(recorder(out, false));
    ProgressView view(log, ProgressMode::none);
    StepRecord record = example();
    record.wait_seconds = 0.02;
    for (int i = 0; i < 2; ++i) view.line(record);
    CHECK(out.empty());
    for (int i = 0; i < 5; ++i) view.line(record);
    CHECK(out ==
          "warning: 40% of the time goes into waiting for pictures. More --workers, --cache "
          "decoded or smaller files would help.\n");
  }
}

TEST_SUITE("table") {
  TEST_CASE("boxes") {
    Table table("title");
    table.row({"seed", "1"}).line().row({"name", "a long text that is broken"});
    CHECK(without_codes(table.text(24)) ==
          "┌ title ───────────────┐\n"
          "│ seed  1              │\n"
          "├──────────────────────┤\n"
          "│ name  a long text    │\n"
          "│       that is broken │\n"
          "└──────────────────────┘\n");
    Table numbers;
    numbers.head({"what", "n"}).align_right(1).row({"a", "5"}).row({"bb", "1000"});
    CHECK(without_codes(numbers.text(80)) ==
          "┌────────────┐\n"
          "│ what     n │\n"
          "├────────────┤\n"
          "│ a        5 │\n"
          "│ bb    1000 │\n"
          "└────────────┘\n");
    CHECK(without_codes(Table("nothing").text(80)) == "┌ nothing ┐\n└─────────┘\n");
  }

  TEST_CASE("beside each other where there is room") {
    Table a, b;
    a.row({"x", "1"}).row({"y", "2"});
    b.row({"z", "3"});
    CHECK(without_codes(Table::beside({a, b}, 80)) ==
          "┌──────┐ ┌──────┐\n"
          "│ x  1 │ │ z  3 │\n"
          "│ y  2 │ └──────┘\n"
          "└──────┘\n");
    CHECK(without_codes(Table::beside({a, b}, 10)) == without_codes(a.text(10) + b.text(10)));
  }
}
