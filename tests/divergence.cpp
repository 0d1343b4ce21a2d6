// Losses and gradients that are not finite or unusual, embeddings that collapse, evaluations that
// do not get better: what a run does about them.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/checkpoint.h"
#include "train/diagnostics.h"
#include "train/exit_code.h"
#include "train/run.h"
#include "train/running_spread.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

// Black pictures but for one, in a training class. Where pixels are divided by 1e-38 it overflows,
// and with it the batch that it is in: one of the three of each epoch.
Config config_with_an_overflowing_picture(const fs::path& folder, const std::string& on_nan) {
  const Image black(16, 16);
  Image bright = black;
  bright.pixels.assign(bright.pixels.size(), 255);
  for (int c = 0; c < 8; ++c) {
    const fs::path of_class = folder / "pictures" / ("class" + std::to_string(c));
    fs::create_directories(of_class);
    for (int i = 0; i < 6; ++i)
      write_png(of_class / (std::to_string(i) + ".png"), c == 1 && i == 2 ? bright : black);
  }
  Config config = small_config(folder / "pictures", folder / "run");
  config.data.mean = {0, 0, 0};
  config.data.stddev = {1e-38, 1e-38, 1e-38};
  config.loss.proxies = 1;  // more are judged by the training pictures, the bright one among them
  config.run.on_nan = on_nan;
  config.optim.sched = "const";  // so that half a run is the first half of a run
  config.log.log_every = {1, Duration::Unit::iterations};
  return config;
}

std::vector<nlohmann::json> lines_of(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

bool is_finite(const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors)
    for (const double value : tensor.to_vector<double>())
      if (!std::isfinite(value)) return false;
  return true;
}

std::int64_t bad_batches_in(const fs::path& run) {
  return std::distance(fs::directory_iterator(run / "nonfinite"), fs::directory_iterator());
}

TEST_SUITE("divergence") {
  TEST_CASE("weights that an evaluation finds broken: the run ends, or goes back") {
    for (const std::string on_nan : {"stop", "rollback"}) {
      const TempFolder temporary;
      Config config =
          small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
      config.run.on_nan = on_nan;
      config.optim.lr = 1e30;
      config.run.protocol = "paper";
      config.run.eval_every = {1, Duration::Unit::iterations};
      CHECK_THROWS_WITH_AS(run_training(config, {}), doctest::Contains("Try a lower --lr"),
                           NonFiniteError);
      const std::string log = text_of(temporary.path() / "run/log.txt");
      CHECK((log.find("after step 1: embed: ") != std::string::npos) == (on_nan == "rollback"));
      CHECK((log.find("back at step 0") != std::string::npos) == (on_nan == "rollback"));
    }
  }

  TEST_CASE("on_nan stop: the run ends, and its last checkpoint is finite") {
    const TempFolder temporary;
    Config config = config_with_an_overflowing_picture(temporary.path(), "stop");
    config.run.save_every = {1, Duration::Unit::iterations};
    CHECK_THROWS_WITH_AS(run_training(config, {}), doctest::Contains("not finite"), NonFiniteError);
    CHECK(bad_batches_in(temporary.path() / "run") == 1);
    const fs::path state = temporary.path() / "run/ckpt/last.state";
    REQUIRE(fs::exists(state));  // the bright picture is not in the first batch
    CHECK(is_finite(read_state(state).tensors));
  }

  TEST_CASE("on_nan skip: the batch leaves no trace but its file") {
    const TempFolder temporary;
    const Config config = config_with_an_overflowing_picture(temporary.path(), "skip");
    CHECK(run_training(config, {}) == kDone);
    const fs::path run = temporary.path() / "run";
    CHECK(bad_batches_in(run) == 2);  // of two epochs
    const TrainingState state = read_state(run / "ckpt/last.state");
    CHECK(is_finite(state.tensors));
    const Progress progress = progress_of(state.texts, "");
    CHECK(progress.skipped == 2);
    CHECK(progress.step == 6);
    const auto lines = lines_of(run / "train.jsonl");
    REQUIRE(lines.size() == 6);
    CHECK(lines.back()["skipped_steps"] == 2);
    const auto is_told = [](const auto& line) {  // not with the numbers of the step before
      return line["loss"]["total"].is_null() && line["grad_norm"].is_null() && line["nonfinite"];
    };
    CHECK(std::count_if(lines.begin(), lines.end(), is_told) == 2);
    const std::string log = text_of(run / "log.txt");
    CHECK(log.find("; skipped") != std::string::npos);
    CHECK(log.find("in resnet18 > ") != std::string::npos);
  }

  TEST_CASE("on_nan rollback: back to the checkpoint, on with other batches") {
    const TempFolder temporary;
    Config config = config_with_an_overflowing_picture(temporary.path(), "rollback");
    config.run.save_every = {2, Duration::Unit::iterations};
    CHECK(run_training(config, {}) == kDone);
    const fs::path run = temporary.path() / "run";
    const TrainingState state = read_state(run / "ckpt/last.state");
    CHECK(is_finite(state.tensors));
    const Progress progress = progress_of(state.texts, "");
    CHECK(progress.step == 6);  // all of them were taken, on later batches
    CHECK(progress.epoch * 3 + progress.batch > 6);
    CHECK(text_of(run / "log.txt").find("; back at step") != std::string::npos);
    std::vector<std::int64_t> steps;
    for (const auto& line : lines_of(run / "train.jsonl")) steps.push_back(line["step"]);
    CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});  // each once, in order
  }

  TEST_CASE("skipping and going back come to the same bits when the run is resumed") {
    for (const char* on_nan : {"skip", "rollback"}) {
      CAPTURE(std::string(on_nan));
      const TempFolder temporary;
      Config whole = config_with_an_overflowing_picture(temporary.path(), on_nan);
      whole.run.save_every = {1, Duration::Unit::iterations};
      Config half = whole;
      half.run.out = (temporary.path() / "half").string();
      half.run.steps = 3;
      CHECK(run_training(whole, {}) == kDone);
      CHECK(run_training(half, {}) == kDone);
      half.run.steps = 6;
      half.run.resume = half.run.out;
      CHECK(run_training(half, {}) == kDone);
      const TrainingState a = read_state(temporary.path() / "run/ckpt/last.state"),
                          b = read_state(temporary.path() / "half/ckpt/last.state");
      for (const auto& [name, tensor] : a.tensors)
        CHECK_MESSAGE(tensor.to_vector<double>() == b.tensors.at(name).to_vector<double>(), name);
    }
  }

  TEST_CASE("a run that cannot go on is stopped, whatever was asked") {
    for (const char* on_nan : {"skip", "rollback"}) {
      const TempFolder temporary;
      Config config =
          small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
      config.optim.lr = 1e30;  // every step after the first
      config.run.steps = 60;
      config.run.on_nan = on_nan;
      const char* text = std::string(on_nan) == "skip" ? "This was the 11th in a row"
                                                       : "This was the 11th from the same";
      CHECK_THROWS_WITH_AS(run_training(config, {}), doctest::Contains(text), NonFiniteError);
      // Of ten steps, so that the disk does not fill; of one and the same, again and again.
      CHECK(bad_batches_in(temporary.path() / "run") == (std::string(on_nan) == "skip" ? 10 : 1));
    }
  }

  TEST_CASE("z-scores: unusual among the steps before") {
    RunningSpread spread;
    for (int i = 0; i < 15; ++i) spread.add(i % 2 == 0 ? 1 : 3);
    CHECK_FALSE(spread.z_score(9).has_value());  // too few to tell
    spread.add(3);
    REQUIRE(spread.z_score(9).has_value());
    CHECK(*spread.z_score(9) == doctest::Approx(7));  // mean 2, standard deviation 1
    CHECK(RunningSpread::from_text(spread.text()) == spread);
    for (int i = 0; i < 1000; ++i) spread.add(i % 2 == 0 ? 11 : 13);
    CHECK(*spread.z_score(12) == doctest::Approx(0).epsilon(0.02));  // the old level is forgotten
    RunningSpread same;
    for (int i = 0; i < 100; ++i) same.add(5);
    CHECK_FALSE(same.z_score(6).has_value());
    for (const char* text : {"", "1 2", "1 2 x", "-1 2 3", "1 2 3 4"})
      CHECK_FALSE(RunningSpread::from_text(text).has_value());
  }

  TEST_CASE("lines carry the z-scores once there are enough steps") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.run.steps = 20;
    config.log.log_every = {1, Duration::Unit::iterations};
    CHECK(run_training(config, {}) == kDone);
    const auto lines = lines_of(temporary.path() / "run/train.jsonl");
    REQUIRE(lines.size() == 20);
    for (const char* key : {"loss", "grad_norm"}) {
      CHECK(lines[15]["z"][key].is_null());
      CHECK(lines[16]["z"][key].is_number());
    }
  }

  TEST_CASE("a collapsed embedding is told in words") {
    Tensor equal({20, 8}, DType::f32), line({20, 8}, DType::f32), spread({20, 8}, DType::f32);
    fill_normal(spread, Philox(1, 1), 0, 1);
    equal.fill(1);
    line.fill(0);
    for (int r = 0; r < 20; ++r) line.data<float>()[r * 8] = r % 2 == 0 ? 1.f : -1.f;
    CHECK(collapse_in_words(spread_of(spread), 8).empty());
    CHECK(collapse_in_words(spread_of(equal), 8).find("nearly equal") != std::string::npos);
    CHECK(collapse_in_words(spread_of(line), 8).find("use 1.0 of 8 directions") !=
          std::string::npos);
    // Fewer rows than features: the same spectrum from the smaller product.
    const std::vector<std::int32_t> labels(20, 0);
    CHECK(spread_of(spread).effective_rank ==
          doctest::Approx(diagnose_embeddings(spread, labels).effective_rank).epsilon(1e-9));

    const TempFolder temporary;
    Config config = config_with_an_overflowing_picture(temporary.path(), "skip");
    config.run.protocol = "paper";  // all test pictures are black
    config.run.eval_every = {2, Duration::Unit::iterations};
    CHECK(run_training(config, {}) == kDone);
    const std::string log = text_of(temporary.path() / "run/log.txt");
    const auto at = log.find("the embedding has collapsed");
    REQUIRE(at != std::string::npos);
    CHECK(log.find("the embedding has collapsed", at + 1) == std::string::npos);  // told once
    CHECK(lines_of(temporary.path() / "run/eval.jsonl").back()["effective_rank"] < 1.1);
  }

  TEST_CASE("early stopping ends the run, also when it is resumed") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.optim.lr = 0;  // no evaluation is better than the first
    config.loss.proxy_lr_mult = 0;
    config.data.hflip = 0;
    config.model.bn_mode = "eval-stats";
    config.run.steps = 40;
    config.run.protocol = "paper";
    config.run.eval_every = {2, Duration::Unit::iterations};
    config.run.early_stop = 3;
    CHECK(run_training(config, {}) == kDone);
    const fs::path run = temporary.path() / "run";
    CHECK(lines_of(run / "eval.jsonl").size() == 4);
    CHECK(text_of(run / "log.txt").find("ended at step 8 of 40: no better R@1 in 3 evaluations") !=
          std::string::npos);
    config.run.resume = run.string();
    CHECK(run_training(config, {}) == kDone);
    CHECK(lines_of(run / "eval.jsonl").size() == 4);
    config.run.protocol = "last";
    CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains("run.early_stop needs"),
                         UsageError);
  }

  TEST_CASE("the learning rate falls on plateaus, also when the run is resumed") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.loss.proxy_lr_mult = 0;
    config.data.hflip = 0;
    config.model.bn_mode = "eval-stats";
    config.run.protocol = "paper";
    config.run.eval_every = {2, Duration::Unit::iterations};
    config.log.log_every = {1, Duration::Unit::iterations};
    config.optim.lr = 1e-30;  // no evaluation is better than the first
    config.optim.sched = "plateau";
    config.optim.lr_gamma = 0.5;
    config.optim.lr_patience = 1;
    config.run.steps = 7;
    CHECK(run_training(config, {}) == kDone);
    config.run.steps = 12;
    config.run.resume = (temporary.path() / "run").string();
    CHECK(run_training(config, {}) == kDone);
    // Better at 2 and no more; not at 4 and 6, nor at 7, where the first sitting ends, and 8.
    const std::vector<double> expected = {1, 1, 1, 1, 1, 1, .5, .5, .25, .25, .25, .25};
    const auto lines = lines_of(temporary.path() / "run/train.jsonl");
    REQUIRE(lines.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(lines[i]["lr"]["backbone"] == doctest::Approx(expected[i] * 1e-30));
    const std::string log = text_of(temporary.path() / "run/log.txt");
    CHECK(log.find("the learning rate falls to 5e-31: no better R@1 in 2 evaluations") !=
          std::string::npos);
    CHECK(log.find("--sched step --lr-milestones ") != std::string::npos);
    config.run.protocol = "last";
    CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains("optim.sched = \"plateau\" needs"),
                         UsageError);
  }
}

}  // namespace
}  // namespace proxent
