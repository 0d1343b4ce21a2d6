// What two runs differ in.
#include "train/run_difference.h"

#include <doctest/doctest.h>

#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "train/command.h"
#include "train/exit_code.h"
#include "train/run.h"
#include "train/text.h"

using namespace proxent;
namespace fs = std::filesystem;

TEST_SUITE("report") {
  TEST_CASE("two runs differ in what was set and what was there, and in what came of it") {
    const TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    const auto run = [&](const std::string& name, double lr, const std::string& protocol) {
      Config config = small_config(pictures, temporary.path() / name);
      config.optim.lr = lr;
      config.run.protocol = protocol;
      config.log.progress = lr > 0.01 ? "lines" : "none";
      CHECK(run_training(config, {"train"}) == kDone);
      return temporary.path() / name;
    };
    const fs::path a = run("a", 1e-3, "last"), b = run("b", 0.5, "last"),
                   c = run("c", 1e-3, "none");
    const auto has = [](const std::string& text, std::string_view part) {
      return text.find(part) != text.npos;
    };
    const auto told = [](const fs::path& first, const fs::path& second) {
      return without_codes(run_difference(first, second, 100));
    };
    const std::string difference = told(a, b);
    CHECK(has(difference, "│ optim.lr  0.001  0.5    │"));
    CHECK(has(difference, "data, build, machine: the same"));
    CHECK(has(difference, "│ R@1 "));
    CHECK_FALSE(has(difference, "log.progress"));
    CHECK_FALSE(has(difference, "run.out"));
    CHECK(has(told(a, a), "settings: the same"));
    CHECK(has(told(a, a), "+0.00 │"));
    CHECK(has(told(a, c), "results: " + c.string() + " has none yet"));
    CHECK(report_command({"diff", a.string(), b.string()}) == kDone);
    CHECK_THROWS_WITH_AS(report_command({"diff", a.string()}), doctest::Contains("two runs, got 1"),
                         UsageError);
    CHECK_THROWS_WITH_AS(report_command({"diff", a.string(), b.string(), "--format", "md"}),
                         doctest::Contains("report diff: --format is for table"), UsageError);
    CHECK_THROWS_WITH_AS(run_difference(a, pictures, 100),
                         doctest::Contains("no run of proxent lies here"), DataError);
  }
}
