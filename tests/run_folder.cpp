// The run folder: never overwritten, readable at any moment, cut to the checkpoint on resume.
#include "train/run_folder.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tensor/check.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"

using namespace proxent;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

RunFolderOptions options_in(const TempFolder& temp) {
  return {.root = temp.path() / "runs", .name = "cub r50", .metrics = {"R@1", "MAP@R"}};
}

}  // namespace

TEST_SUITE("run folder") {
  TEST_CASE("a new run never takes an old one's place") {
    const TempFolder temp;
    const RunFolder first = RunFolder::create(options_in(temp));
    const RunFolder second = RunFolder::create(options_in(temp));
    CHECK(first.path() != second.path());
    CHECK(second.path() == first.path() + "-2");
    CHECK(first.path().ends_with("_cub-r50"));
    CHECK(fs::is_directory(first.path() + "/ckpt"));
  }

  TEST_CASE("--out is taken as it is, once") {
    const TempFolder temp;
    RunFolderOptions options = options_in(temp);
    options.out = temp.path() / "deep/er/mine";
    RunFolder folder = RunFolder::create(options);
    CHECK(folder.path() == options.out);
    folder.save_record();
    try {
      RunFolder::create(options);
      FAIL("a folder that holds a run was accepted");
    } catch (const UsageError& error) {
      CHECK(error.message() == "'" + options.out + "' holds a run already, which has no " +
                                   "checkpoint to go on from. Start over in it by --resume auto " +
                                   "--out " + options.out + " or choose another --out.");
    }
    std::ofstream(folder.file("ckpt/last.state")) << "x";
    try {
      RunFolder::create(options);
      FAIL("a folder that holds a run was accepted");
    } catch (const UsageError& error) {
      CHECK(error.message() == "'" + options.out + "' holds a run already. Go on with it by " +
                                   "--resume " + options.out + " or choose another --out.");
    }
    options.out = temp.path() / "file";
    std::ofstream(options.out) << "x";
    CHECK_THROWS_AS(RunFolder::create(options), UsageError);
    options.out = temp.path() / "file/below";
    CHECK_THROWS_AS(RunFolder::create(options), Error);
  }

  TEST_CASE("nothing of the user's is replaced") {
    for (const char* name :
         {"config.toml", "log.txt", "metrics.csv", "report.html", "table.csv", "cv.json", "lock",
          "retrieval.png", "cat.jpg", "tb/events", "nonfinite/batch", "ckpt/last.state"}) {
      const TempFolder temp;
      temp.write(name, "mine");
      RunFolderOptions options = options_in(temp);
      options.out = temp.path();
      const std::string first = *fs::path(name).begin();
      CHECK_THROWS_WITH_AS(RunFolder::create(options),
                           doctest::Contains(("holds " + first + ", and a run lies").c_str()),
                           UsageError);
      CHECK(text_of(temp.path() / name) == "mine");
      CHECK(std::distance(fs::directory_iterator(temp.path()), {}) == 1);
    }
    const TempFolder temp;  // as a cluster gives it
    temp.write("slurm-1.out", "");
    temp.write(".cache/x", "");
    RunFolderOptions options = options_in(temp);
    options.out = temp.path();
    CHECK(RunFolder::create(options).path() == options.out);
  }

  TEST_CASE("lines are there at once, and are JSON whatever the numbers") {
    const TempFolder temp;
    RunFolder folder = RunFolder::create(options_in(temp));
    folder.add_step(Json::object({{"step", 1}, {"loss", Json::object({{"total", 0.5}})}}));
    folder.add_step(
        Json::object({{"step", 2}, {"loss", std::numeric_limits<double>::quiet_NaN()}}));
    const auto lines = lines_of(folder.file("train.jsonl"));
    REQUIRE(lines.size() == 2);
    const auto first = nlohmann::json::parse(lines[0]), second = nlohmann::json::parse(lines[1]);
    CHECK(first["loss"]["total"] == 0.5);
    CHECK_FALSE(first.contains("nonfinite"));
    CHECK(first["t"].get<std::string>().size() == std::string("2026-11-23T08:39:51.123Z").size());
    CHECK(second["loss"].is_null());
    CHECK(second["nonfinite"] == true);

    folder.add_metrics(2, 0.25, "val", {0.5, std::numeric_limits<double>::quiet_NaN()});
    CHECK(text_of(folder.file("metrics.csv")) == "step,epoch,split,R@1,MAP@R\n2,0.25,val,0.5,\n");
    CHECK_THROWS_AS(folder.add_metrics(3, 0.5, "val", {0.5}), Error);
  }

  TEST_CASE("TensorBoard gets the numbers of the lines, tagged by their place") {
    const TempFolder temp;
    RunFolder folder = RunFolder::create(options_in(temp));
    folder.add_step(Json::object({{"step", 3},
                                  {"loss", Json::object({{"total", 0.5}, {"ce", 0.25}})},
                                  {"z", Json()},
                                  {"name", "text"}}));
    folder.add_eval(Json::object({{"step", 4},
                                  {"split", "val"},
                                  {"metrics", Json::object({{"R@1", 0.75}})},
                                  {"entropy_of_class", Json::object({{"cat", 1}})}}));
    folder.add_eval(Json::object({{"step", 5},
                                  {"split", "test"},
                                  {"metrics", Json::object({{"R@1", 0.5}})},
                                  {"selection", "test-selected"}}));
    const auto events = read_events(event_file_in(folder.file("tb")));
    REQUIRE(events.size() == 3);
    using Values = std::vector<std::pair<std::string, double>>;
    CHECK(events[0].step == 3);
    CHECK(events[0].values == Values{{"train/loss/total", 0.5}, {"train/loss/ce", 0.25}});
    CHECK(events[1].step == 4);
    CHECK(events[1].values == Values{{"val/R@1", 0.75}});
    CHECK(events[2].values == Values{{"test test-selected/R@1", 0.5}});

    RunFolderOptions without = options_in(temp);
    without.has_events = false;
    RunFolder plain = RunFolder::create(without);
    plain.add_step(Json::object({{"step", 1}}));
    CHECK_FALSE(fs::exists(plain.file("tb")));
  }

  TEST_CASE("run.json") {
    const TempFolder temp;
    RunFolder folder = RunFolder::create(options_in(temp));
    folder.record()["seed"] = 7;
    folder.set_status("failed", "a \"reason\"\n");
    const auto json = nlohmann::json::parse(text_of(folder.file("run.json")));
    CHECK(json["name"] == "cub r50");
    CHECK(json["status"] == "failed");
    CHECK(json["reason"] == "a \"reason\"\n");
    folder.set_status("done");
    CHECK(nlohmann::json::parse(text_of(folder.file("run.json")))["reason"].is_null());
    CHECK(json["seed"] == 7);
    for (const auto& entry : fs::directory_iterator(folder.path()))
      CHECK(entry.path().extension() != ".tmp");
  }

  TEST_CASE("resuming cuts what came after the checkpoint") {
    const TempFolder temp;
    std::string path;
    {
      RunFolder folder = RunFolder::create(options_in(temp));
      path = folder.path();
      folder.write_command_line({"proxent", "train", "--name", "it's"});
      for (int step = 1; step <= 5; ++step) {
        folder.add_step(Json::object({{"step", step}}));
        folder.add_eval(Json::object({{"step", step}, {"split", "val"}, {"seconds", 1}}));
        folder.add_metrics(step, step, "val", {0.5, 0.25});
      }
      folder.record()["metrics"]["val"] = Json::array({0.5, Json(), true, "x"});
      folder.set_status("killed");
    }
    std::ofstream(path + "/train.jsonl", std::ios::app) << "{\"step\": 3, \"lo";  // killed mid-line
    const std::vector<std::string> metrics = options_in(temp).metrics;
    CHECK_THROWS_WITH_AS(
        RunFolder::resume(path, {"R@1"}),
        doctest::Contains("has the columns step,epoch,split,R@1,MAP@R, and --metrics "
                          "asks for step,epoch,split,R@1; go on with the same"),
        UsageError);

    RunFolder folder = RunFolder::resume(path, metrics);
    folder.go_on_after(3);
    CHECK(lines_of(path + "/train.jsonl").size() == 3);
    CHECK(lines_of(path + "/eval.jsonl").size() == 3);
    CHECK(lines_of(path + "/metrics.csv").size() == 4);
    // An evaluation that the state still owes is written once more.
    const std::size_t events = read_events(event_file_in(path + "/tb")).size();
    folder.go_on_after(3, true);
    CHECK(lines_of(path + "/train.jsonl").size() == 3);
    CHECK(lines_of(path + "/eval.jsonl").size() == 2);
    CHECK(lines_of(path + "/metrics.csv").size() == 3);
    CHECK(read_events(event_file_in(path + "/tb")).size() == events - 1);
    folder.add_step(Json::object({{"step", 4}}));
    CHECK(lines_of(path + "/train.jsonl").size() == 4);
    folder.add_metrics(4, 4, "val", {1, 1});
    CHECK(lines_of(path + "/metrics.csv").back() == "4,4,val,1,1");
    CHECK(folder.record()["metrics"].text() == "{\"val\": [0.5, null, true, \"x\"]}");
    folder.write_command_line({"proxent", "train", "--resume", path});
    const auto commands = lines_of(path + "/cmdline.txt");
    REQUIRE(commands.size() == 2);
    CHECK(commands[0] == "proxent train --name 'it'\\''s'");

    CHECK_THROWS_AS(RunFolder::resume(temp.path() / "nowhere", metrics), UsageError);
    try {
      RunFolder::resume(path, metrics);
      FAIL("two runs in one folder");
    } catch (const UsageError& error) {
      CHECK(error.message().find("is in use: process " + std::to_string(getpid())) !=
            std::string::npos);
    }
  }

  TEST_CASE("a run without a state starts over with empty logs, and other metrics if asked") {
    const TempFolder temp;
    std::string path;
    {
      RunFolder folder = RunFolder::create(options_in(temp));
      path = folder.path();
      folder.add_step(Json::object({{"step", 1}}));
      folder.add_metrics(1, 1, "val", {0.5, 0.25});
      folder.save_record();
    }
    RunFolder folder = RunFolder::start_over({.out = path, .metrics = {"R@1"}});
    CHECK(lines_of(path + "/train.jsonl").empty());
    folder.add_metrics(2, 1, "val", {0.5});
    CHECK(text_of(path + "/metrics.csv") == "step,epoch,split,R@1\n2,1,val,0.5\n");
  }

  TEST_CASE("a damaged run.json is told") {
    const TempFolder temp;
    const std::string path = RunFolder::create(options_in(temp)).path();
    std::ofstream(path + "/run.json") << "{";
    CHECK_THROWS_AS(RunFolder::resume(path, options_in(temp).metrics), DataError);
  }
}

TEST_SUITE("json") {
  TEST_CASE("text that a JSON reader takes back") {
    Json json;
    json["a"] = 1;
    json["b"]["c"] = 0.1;
    json["b"]["d"] = "tab\t \"quoted\" \\ \x01 é";
    json["e"] = Json::array({Json(), false, std::int64_t{1} << 60, 1e-300});
    json["f"] = Json::object();
    json["g"] = Json::array();
    json["h"] = "broken \xff\xc0\xaf UTF-8";
    json["a"] = 2;
    for (const int indent : {-1, 2}) {
      const auto parsed = nlohmann::ordered_json::parse(json.text(indent));
      CHECK(parsed["a"] == 2);
      CHECK(parsed["b"]["c"] == 0.1);
      CHECK(parsed["b"]["d"] == "tab\t \"quoted\" \\ \x01 é");
      CHECK(parsed["e"].dump() == "[null,false,1152921504606846976,1e-300]");
      CHECK(parsed["f"].empty());
      CHECK(parsed["h"] == "broken \xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD UTF-8");
      CHECK(parsed.begin().key() == "a");
    }
    CHECK_THROWS_AS(json["a"]["x"], Error);
    CHECK_THROWS_AS(json["b"].push_back(1), Error);
  }

  TEST_CASE("text is read back as it was written, or not at all") {
    const auto text = [](const char* big) {
      return R"({"a": 1, "b": {"c": [null, true, -0.5, "x\"y", [], {}]}, "big": )" +
             std::string(big) + R"(, "d": [[1], [2]]})";
    };
    const std::optional<Json> json = parse_json(text("18446744073709551615"));
    REQUIRE(json.has_value());
    CHECK(json->text() == text("18446744073709551616"));  // a double
    CHECK(json->find("a")->integer() == 1);
    CHECK(json->find("a")->number() == 1.0);
    CHECK_FALSE(json->find("big")->integer().has_value());
    CHECK(json->find("b")->find("c")->string() == nullptr);
    CHECK(json->find("z") == nullptr);
    CHECK(json->find("a")->find("b") == nullptr);
    CHECK(*parse_json("\"alone\"")->string() == "alone");
    for (const char* broken : {"", "{", "[1,]", "{\"a\":1} x", "nul", "1e999", "\"\xff\"", "[1}"})
      CHECK_MESSAGE(!parse_json(broken).has_value(), broken);
    const auto nested = [](std::size_t depth) {
      return std::string(depth, '[') + std::string(depth, ']');
    };
    CHECK(parse_json(nested(64)).has_value());
    CHECK_FALSE(parse_json(nested(65)).has_value());
    CHECK_FALSE(parse_json(std::string(1 << 20, '[')).has_value());
  }
}
