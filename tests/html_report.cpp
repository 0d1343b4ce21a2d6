// The page about runs and what it is drawn with.
#include "train/html_report.h"

#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/command.h"
#include "train/exit_code.h"
#include "train/finished_run.h"
#include "train/html.h"
#include "train/plot.h"
#include "train/run.h"
#include "train/run_folder.h"

using namespace proxent;
namespace fs = std::filesystem;

namespace {

std::int64_t count_of(std::string_view text, std::string_view part) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// The first tag that closes another one than the last opened, or stays open; empty: all is well.
std::string misplaced_tag(std::string_view html) {
  std::vector<std::string> open;
  for (std::size_t at = html.find('<'); at != html.npos; at = html.find('<', at + 1)) {
    const std::size_t end = html.find('>', at);
    const std::string tag(html.substr(at + 1, end - at - 1));
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name == "!DOCTYPE" || name == "meta" || name == "img" || tag.ends_with('/')) continue;
    if (!name.starts_with('/')) {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != name.substr(1)) return name;
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back();
}

}  // namespace

TEST_SUITE("report") {
  TEST_CASE("base64 is RFC 4648's") {
    const auto url = [](std::string_view text) {
      return data_url("text/plain",
                      {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
    };
    CHECK(url("") == "data:text/plain;base64,");
    CHECK(url("f") == "data:text/plain;base64,Zg==");
    CHECK(url("fo") == "data:text/plain;base64,Zm8=");
    CHECK(url("foo") == "data:text/plain;base64,Zm9v");
    CHECK(url("foobar") == "data:text/plain;base64,Zm9vYmFy");
    CHECK(url("\xff\xfe\xfd") == "data:text/plain;base64,//79");
  }

  TEST_CASE("a plot takes any numbers") {
    for (const std::vector<std::pair<double, double>>& points :
         std::vector<std::vector<std::pair<double, double>>>{{},
                                                             {{3, 7}},
                                                             {{0, 0}, {0, 0}},
                                                             {{1, 5}, {2, 5}, {3, 5}},
                                                             {{1, -1e300}, {1e18, 1e300}},
                                                             {{1, 1e-300}, {2, 2e-300}},
                                                             {{-5, -2e-9}, {5, 1e9}}}) {
      const std::string svg = to_svg({.title = "t", .x_label = "x", .curves = {{"a", points}}});
      CHECK(misplaced_tag(svg) == "");
      CHECK_FALSE(has(svg, "nan"));
      CHECK_FALSE(has(svg, "inf"));
      CHECK(count_of(svg, "<line") < 40);  // ticks are few
    }
  }

  TEST_CASE("ticks are round numbers, and the axis of values ends at them") {
    const std::string svg =
        to_svg({.title = "loss", .x_label = "step", .curves = {{"", {{0, 0.93}, {10000, 4.17}}}}});
    for (const char* tick : {">0<", ">1<", ">2<", ">4<", ">5<", ">2,000<", ">10,000<"})
      CHECK_MESSAGE(has(svg, tick), tick);
    CHECK_FALSE(has(svg, ">6<"));
  }

  TEST_CASE("a long curve is thinned but keeps its extremes") {
    Curve curve{.name = "", .points = {}};
    for (int i = 0; i < 100'000; ++i) curve.points.emplace_back(i, i == 54'321 ? 8 : (i % 7) * 0.1);
    const std::string svg = to_svg({.title = "t", .x_label = "x", .curves = {curve}});
    CHECK(svg.size() < 20'000);
    CHECK(has(svg, ">8<"));     // the axis reaches it
    CHECK(has(svg, " 30.0L"));  // and so does the curve: the plot's upper edge
  }

  TEST_CASE("a finished run's page holds everything, and text is only text") {
    const TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    fs::rename(pictures / "class0", pictures / "<script>&\"");
    Config config = small_config(pictures, temporary.path() / "a<b");
    config.log.log_every = {1, Duration::Unit::iterations};
    config.run.protocol = "paper";
    config.run.eval_every = {3, Duration::Unit::iterations};
    config.run.baselines = true;
    CHECK(run_training(config, {"train"}) == kDone);
    const std::string page = text_of(temporary.path() / "a<b" / kReportFile);
    CHECK(misplaced_tag(page) == "");
    for (const char* part :
         {"<title>a&lt;b</title>", "plain pixels", "untrained network", "trained", "data:image/png",
          "aria-label=\"loss\"", "aria-label=\"Recall@K, percent\"", "test test-selected R@1",
          "aria-label=\"proxies per class\"", "&lt;script&gt;&amp;&quot;", "proxy_lr_mult = 10.0",
          "<th>status</th><td>done</td>"})
      CHECK_MESSAGE(has(page, part), part);
    CHECK_FALSE(has(page, "<script"));
    CHECK(count_of(page, "http") == count_of(page, "http://www.w3.org/2000/svg"));  // no network
  }

  TEST_CASE("a run is done, whether its page can be written or not") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.log.report = false;
    config.run.steps = 3;
    CHECK(run_training(config, {"train"}) == kDone);
    fs::create_directory(temporary.path() / "run" / kReportFile);  // in the page's place
    config.log.report = true;
    config.run.steps = 6;
    config.run.resume = config.run.out;
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(status_of_run(config.run.out) == "done");
    CHECK(has(text_of(temporary.path() / "run/log.txt"), "no page was written: "));
  }

  TEST_CASE("runs share their plots; one that is under way has a page too") {
    const TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    const fs::path first = temporary.path() / "first", second = temporary.path() / "second";
    for (const fs::path& out : {first, second}) {
      Config config = small_config(pictures, out);
      config.log.log_every = {1, Duration::Unit::iterations};
      config.log.report = false;
      config.run.protocol = out == first ? "last" : "none";
      CHECK(run_training(config, {"train"}) == kDone);
      CHECK_FALSE(fs::exists(out / kReportFile));
    }
    std::ofstream(second / "train.jsonl", std::ios::app) << R"({"step": 7, "loss": {"tot)";
    const std::string page = html_report({first, second});
    CHECK(misplaced_tag(page) == "");
    CHECK(has(page, "loss: total"));
    CHECK(has(page, "first: trained"));
    CHECK_FALSE(has(page, "second: trained"));
    CHECK(has(html_report({second}), "No test result yet"));
    const fs::path file = temporary.path() / "page.html";
    CHECK(report_command({"html", first.string(), second.string(), "-o", file.string()}) == kDone);
    CHECK(text_of(file) == page);
    CHECK_THROWS_WITH_AS(report_command({"html", first.string(), second.string()}),
                         doctest::Contains("-o FILE"), UsageError);
    CHECK(report_command({"html", first.string()}) == kDone);
    CHECK(fs::exists(first / kReportFile));
    CHECK_THROWS_WITH_AS(report_command({"table", first.string(), "-o", file.string()}),
                         doctest::Contains("report table: -o is for html"), UsageError);
    CHECK_THROWS_WITH_AS(html_report({pictures}), doctest::Contains("no run of proxent lies here"),
                         DataError);
  }
}
