// Folds, seeds and what they say together: the statistics, the tables, and a whole small
// cross-validation that is stopped, goes on, and is read back.
#include "train/cross_validation.h"

#include <doctest/doctest.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/run_binary.h"
#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/exit_code.h"
#include "train/experiment.h"
#include "train/finished_run.h"
#include "train/provenance.h"
#include "train/result_table.h"
#include "train/run.h"
#include "train/statistics.h"

using namespace proxent;
namespace fs = std::filesystem;

namespace {

nlohmann::json json_of(const fs::path& path) { return nlohmann::json::parse(text_of(path)); }

ResultTable example_table() {
  ResultTable table{.title = "K", .metrics = {"R@1", "MAP@R"}};
  table.rows.push_back({.name = "loss.proxies = 1",
                        .provenance = "a",
                        .seeds = {1, 2, 3},
                        .values = {{0.5, 0.6, 0.7}, {0.25, 0.25, 0.25}}});
  ResultRow one{.name = "K_4 | x", .provenance = "b"};
  one.add(7, {{"R@1", 0.625}, {.name = "MAP@R", .reason = "no query, no match"}});
  table.rows.push_back(std::move(one));
  return table;
}

std::string run_name(int seed, int fold) {
  return "seed" + std::to_string(seed) + "_fold" + std::to_string(fold);
}

Config small_cv(const TempFolder& temp) {
  Config config = small_config(draw_pictures(temp.path() / "pictures"), temp.path() / "cv");
  config.run.steps = 2;
  config.run.eval_every = {1, Duration::Unit::iterations};
  config.run.save_every = {1, Duration::Unit::iterations};
  return config;
}

}  // namespace

TEST_SUITE("cross validation") {
  TEST_CASE("Student's t quantiles agree with tables") {
    // scipy.stats.t.ppf
    const std::array<std::pair<std::int64_t, double>, 7> at_975 = {{{1, 12.706204736432095},
                                                                    {2, 4.302652729911275},
                                                                    {3, 3.182446305284263},
                                                                    {4, 2.7764451051977987},
                                                                    {9, 2.2621571627409915},
                                                                    {30, 2.0422724563012373},
                                                                    {599, 1.963932248945269}}};
    for (const auto& [degrees, t] : at_975) {
      CAPTURE(degrees);
      CHECK(student_t_quantile(0.975, degrees) == doctest::Approx(t).epsilon(1e-9));
      CHECK(student_t_quantile(0.025, degrees) == doctest::Approx(-t).epsilon(1e-9));
    }
    CHECK(student_t_quantile(0.9, 5) == doctest::Approx(1.4758840487820273).epsilon(1e-9));
    CHECK_THROWS_AS(student_t_quantile(0.9, 0), Error);
    CHECK_THROWS_AS(student_t_quantile(1, 3), Error);
  }

  TEST_CASE("mean, deviation and interval") {
    const std::vector<double> values = {0.5, 0.6, 0.7};
    const Statistic all = statistic_of(values);
    CHECK(all.n == 3);
    CHECK(all.mean == doctest::Approx(0.6));
    CHECK(*all.deviation == doctest::Approx(0.1));
    CHECK(*all.half_width == doctest::Approx(4.302652729911275 * 0.1 / std::sqrt(3.0)));
    const Statistic one = statistic_of(std::span(values).first(1));
    CHECK(one.mean == 0.5);
    CHECK_FALSE(one.deviation);
    CHECK_FALSE(one.half_width);
    CHECK_THROWS_AS(statistic_of({}), Error);
  }

  TEST_CASE("a table is the same in every format, and one run has no interval") {
    const ResultTable table = example_table();
    CHECK(to_markdown(table) ==
          "| | n | R@1 | MAP@R |\n"
          "|---|---:|---:|---:|\n"
          "| loss.proxies = 1 | 3 | 60.00 ± 24.84 (10.00) | 25.00 ± 0.00 (0.00) |\n"
          "| K_4 \\| x | 1 | 62.50 | - |\n\n"
          "In percent: mean ± half of the 95 % interval (Student's t, n - 1 degrees of freedom), "
          "in brackets the standard deviation; n=1: one run, no interval.\n\n"
          "- loss.proxies = 1: a\n- K_4 | x: b\n"
          "- no value for MAP@R of K_4 | x: no query, no match (seed 7)\n");
    const std::string csv = to_csv(table);
    CHECK(
        csv.starts_with("row,metric,n,mean,sd,low,high,seeds,provenance,reason\n"
                        "loss.proxies = 1,R@1,3,0.6"));
    CHECK(csv.find("\nK_4 | x,R@1,1,0.625,,,,seed 7,b,\n") != std::string::npos);
    CHECK(csv.find("\nK_4 | x,MAP@R,1,,,,,seed 7,b,\"no query, no match (seed 7)\"\n") !=
          std::string::npos);
    const std::string tex = to_latex(table);
    CHECK(tex.find("K\\_4 | x & 1 & 62.50 & - \\\\\n") != std::string::npos);
    CHECK(tex.find("60.00 $\\pm$ 24.84 (10.00)") != std::string::npos);
    CHECK(tex.find("95 \\% interval") != std::string::npos);
    CHECK(tex.find("x: no query, no match (seed 7).}") != std::string::npos);
    const auto json = nlohmann::json::parse(to_json(table).text());
    CHECK(json["rows"][0]["metrics"]["R@1"]["high"].get<double>() ==
          doctest::Approx(0.6 + 0.24841377));
    CHECK(json["rows"][1]["metrics"]["R@1"]["sd"].is_null());
    CHECK(json["rows"][1]["metrics"]["MAP@R"]["mean"].is_null());
    CHECK(json["rows"][1]["metrics"]["MAP@R"]["reason"] == "no query, no match (seed 7)");
    CHECK_FALSE(json["rows"][1]["metrics"]["R@1"].contains("reason"));
    const std::string text = terminal_text(table, 100);
    CHECK(text.find("n=1") != std::string::npos);
    CHECK(text.ends_with("\nno value for MAP@R of K_4 | x: no query, no match (seed 7)\n"));
    CHECK_THROWS_WITH_AS(formatted(table, "xls"),
                         doctest::Contains("expected md, tex, csv or json, got 'xls'"), UsageError);
  }

  TEST_CASE("every number says how it came about") {
    Config config;
    CHECK(provenance(config, Selection::val_selected, {3}) ==
          "val-selected (protocol val), resize 256, center crop 224, pool avg, 512 features, "
          "batch norm train, seed 3, n=1");
    config.run.protocol = "mlrc";
    config.run.fold = "1/4";
    config.data.crop = "none";
    CHECK(provenance(config, Selection::val_selected, {2, 1, 3, 7}, FoldUse::concatenated) ==
          "val-selected (protocol mlrc, 4 folds concatenated), whole picture at 224x224, pool avg, "
          "2048 features, batch norm train, seeds 1-3,7, n=4");
    config.run.choose_by = "map@r";
    CHECK(provenance(config, Selection::val_selected, {1}).starts_with("val-selected by MAP@R ("));
    CHECK(provenance(config, Selection::last_epoch, {1}).starts_with("last-epoch ("));
    CHECK(provenance(config, Selection::val_selected, {1}).find("mlrc, fold 1/4") !=
          std::string::npos);
  }

  TEST_CASE("folds and seeds: stopped, gone on with, and judged together") {
    const TempFolder temp;
    Config config = small_cv(temp);
    config.run.protocol = "val";
    const CrossValidationOptions options{.folds = 2, .seeds = 2};
    config.run.time_limit = {1e-3, Duration::Unit::seconds};
    CHECK(run_cross_validation(config, options, {"cv"}) == kStoppedEarly);
    const fs::path folder = temp.path() / "cv";
    CHECK_FALSE(fs::exists(folder / "table.md"));
    config.run.time_limit = {};
    CHECK(run_cross_validation(config, options, {"cv"}) == kDone);
    for (const char* name : {"seed1_fold0", "seed1_fold1", "seed2_fold0", "seed2_fold1"})
      CHECK_MESSAGE(status_of_run(folder / name) == "done", name);

    // Separated is the mean over the folds of each seed, n the number of seeds.
    const auto json = json_of(folder / "cv.json");
    REQUIRE(json["rows"].size() == 2);
    const auto& separated = json["rows"][0]["metrics"]["MAP@R"];
    CHECK(separated["n"] == 2);
    for (int seed : {1, 2}) {
      double mean = 0;
      for (int fold : {0, 1})
        mean += json_of(folder / run_name(seed, fold) / "run.json")["test"]["MAP@R"].get<double>();
      CHECK(separated["values"][seed - 1].get<double>() == doctest::Approx(mean / 2));
    }
    const auto& concatenated = json["rows"][1]["metrics"]["MAP@R"];
    for (int seed : {1, 2})
      CHECK(concatenated["values"][seed - 1] ==
            json_of(folder / ("seed" + std::to_string(seed) + "_concatenated.json"))["MAP@R"]);
    CHECK(text_of(folder / "table.md").find("16 features") != std::string::npos);

    // Given again, nothing is trained; with another setting it is refused.
    const auto written = fs::last_write_time(folder / "seed2_fold1" / "run.json");
    CHECK(run_cross_validation(config, options, {"cv"}) == kDone);
    CHECK(fs::last_write_time(folder / "seed2_fold1" / "run.json") == written);
    config.optim.lr = 2e-3;
    CHECK_THROWS_WITH_AS(run_cross_validation(config, options, {"cv"}),
                         doctest::Contains("holds another experiment: optim.lr = 0.001, not 0.002"),
                         UsageError);
  }

  TEST_CASE("why a metric has no value stands below the table of finished runs") {
    const TempFolder temp;
    Config config = small_cv(temp);
    config.run.metrics = {"r@1", "tar@1e-1", "tar@1e-9"};
    CHECK(run_cross_validation(config, {.folds = 1, .seeds = 2}, {"cv"}) == kDone);
    const auto metrics = json_of(temp.path() / "cv" / "cv.json")["rows"][0]["metrics"];
    CHECK(metrics["TAR@1e-1"]["mean"].is_number());
    CHECK(metrics["TAR@1e-9"]["mean"].is_null());
    const auto reason = metrics["TAR@1e-9"]["reason"].get<std::string>();
    CHECK(reason.ends_with("pairs of different classes cannot tell such a rate (seeds 1-2)"));
    CHECK(text_of(temp.path() / "cv" / "table.md").find("- no value for TAR@1e-9: " + reason) !=
          std::string::npos);
  }

  TEST_CASE("seeds alone keep the protocol; their runs make the same table later") {
    const TempFolder temp;
    const Config config = small_cv(temp);
    CHECK(run_cross_validation(config, {.folds = 1, .seeds = 2}, {"cv"}) == kDone);
    const fs::path folder = temp.path() / "cv";
    const auto json = json_of(folder / "cv.json");
    REQUIRE(json["rows"].size() == 1);
    CHECK(json["rows"][0]["provenance"].get<std::string>().starts_with("last-epoch"));
    const std::vector<FinishedRun> runs = {read_finished_run(folder / "seed1"),
                                           read_finished_run(folder / "seed2")};
    const ResultTable again = table_of_runs(runs, "again");
    REQUIRE(again.rows.size() == 1);
    CHECK(again.rows[0].seeds == std::vector<std::int64_t>{1, 2});
    CHECK(again.rows[0].name == experiment_name(config));  // not the first seed's name
    CHECK(again.rows[0].provenance == json["rows"][0]["provenance"].get<std::string>());
    CHECK(again.rows[0].values[0][1] == json["rows"][0]["metrics"]["R@1"]["values"][1]);

    std::vector<FinishedRun> others = runs;
    others[1].config.loss.proxies = 3;
    const ResultTable two = table_of_runs(others, "two");
    REQUIRE(two.rows.size() == 2);
    CHECK(two.rows[0].name == "loss.proxies = 2");
    CHECK(two.rows[1].name == "loss.proxies = 3");
    others = runs;
    others[0].selection = Selection::val_selected;  // and in the other nothing could be chosen
    CHECK(table_of_runs(others, "mixed").rows[0].provenance.starts_with("last-epoch"));
    others[1].selection = Selection::val_selected;
    CHECK(table_of_runs(others, "chosen").rows[0].provenance.starts_with("val-selected"));
    others[1] = runs[0];
    CHECK_THROWS_WITH_AS(table_of_runs(others, "twice"), doctest::Contains("count it twice"),
                         UsageError);
  }

  TEST_CASE("cv and report, as a user gives them") {
    const TempFolder folder;
    draw_pictures(folder.path() / "pictures");
    const std::string out = " --out '" + (folder.path() / "cv").string() + "'";
    const std::string flags =
        "cv --seeds 2 --data '" + (folder.path() / "pictures").string() +
        "' --image-size 16 --resize 16 --crop none --stem compact --width 8 --embed-dim 8 "
        "--batch 8 --steps 2 --protocol last --no-baselines --workers 1 --progress none --quiet";
    CHECK(run_binary(flags + out + " --proxies 2 2>&1").code == 0);
    const Outcome report =
        run_binary("report table '" + (folder.path() / "cv").string() + "' --format json");
    CHECK(report.code == 0);
    const auto json = nlohmann::json::parse(report.out);
    REQUIRE(json["rows"].size() == 1);
    CHECK(json["rows"][0]["seeds"] == nlohmann::json({1, 2}));
    CHECK(run_binary("report table '" + (folder.path() / "pictures").string() + "' 2>&1").code ==
          kDataError);
  }

  TEST_CASE("what cannot be judged is refused") {
    const TempFolder temp;
    Config config = small_cv(temp);
    config.run.protocol = "paper";
    CHECK_THROWS_WITH_AS(run_cross_validation(config, {.folds = 2, .seeds = 1}, {}),
                         doctest::Contains("contradicts --protocol paper"), UsageError);
    config.run.protocol = "none";
    CHECK_THROWS_AS(run_cross_validation(config, {.folds = 1, .seeds = 1}, {}), UsageError);
    config.run.protocol = "mlrc";
    CHECK_THROWS_WITH_AS(run_cross_validation(config, {.folds = 1, .seeds = 1}, {}),
                         doctest::Contains("needs --folds 2 or more"), UsageError);
    CHECK_THROWS_WITH_AS(run_cross_validation(config, {.folds = 3, .seeds = 1}, {}),
                         doctest::Contains("3 folds need at least 6, two classes each"),
                         UsageError);
    CHECK_FALSE(fs::exists(temp.path() / "cv"));  // no folder is left of what cannot run
    CHECK_THROWS_WITH_AS(read_finished_run(temp.path()), doctest::Contains("no run of proxent"),
                         DataError);
  }

  TEST_CASE("a folder that was only begun is gone on with, the user's is not") {
    const TempFolder temp;
    const Config config = small_cv(temp);
    const CrossValidationOptions options{.folds = 1, .seeds = 1};
    temp.write("cv/config.toml", "mine");
    CHECK_THROWS_WITH_AS(run_cross_validation(config, options, {"cv"}),
                         doctest::Contains("holds config.toml, and a run lies"), UsageError);
    CHECK(text_of(temp.path() / "cv/config.toml") == "mine");
    fs::remove(temp.path() / "cv/config.toml");
    temp.write("cv/cv.json", "{}\n");  // killed after its first file
    CHECK(run_cross_validation(config, options, {"cv"}) == kDone);
    CHECK(fs::exists(temp.path() / "cv/table.md"));
  }

  TEST_CASE("a run killed before its first checkpoint starts over in its folder") {
    const TempFolder temp;
    Config config = small_cv(temp);
    CHECK(run_training(config, {"train"}) == kDone);
    const fs::path run = temp.path() / "cv";
    for (const auto& file : fs::directory_iterator(run / "ckpt")) fs::remove(file.path());
    std::string record = text_of(run / "run.json");
    record.replace(record.find("\"done\""), 6, "\"running\"");
    std::ofstream(run / "run.json") << record;
    config.run.resume = config.run.out;
    CHECK_THROWS_WITH_AS(run_training(config, {"train"}),
                         doctest::Contains("Start over in its folder by --resume auto --out"),
                         DataError);
    config.run.resume = "auto";
    CHECK(run_training(config, {"train"}) == kDone);
    std::ifstream steps(temp.path() / "cv" / "train.jsonl");
    std::string first;
    std::getline(steps, first);
    CHECK(first.find("\"step\": 2") != std::string::npos);
    CHECK_FALSE(std::getline(steps, first));
  }
}
