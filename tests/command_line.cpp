// The binary as users meet it: exit codes, help, errors, and settings from every source.
#include "train/command_line.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tensor/allocator.h"
#include "tensor/gpu.h"
#include "tests/run_binary.h"
#include "tests/temp_folder.h"
#include "train/command.h"
#include "train/exit_code.h"
#include "train/presets.h"

using namespace proxent;

namespace {

std::string error_of(const std::string& arguments, const std::string& before = "") {
  const Outcome outcome = run_binary(arguments + " 2>&1 >/dev/null", before);
  CHECK_MESSAGE(outcome.code == kUsageError, arguments);
  return outcome.out;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE("command line") {
  TEST_CASE("help teaches and succeeds") {
    const Outcome overview = run_binary("--help");
    CHECK(overview.code == kDone);
    for (const Command& command : commands()) {
      CHECK(contains(overview.out, command.name));
      const Outcome help = run_binary(std::string(command.name) + " --help");
      CHECK_MESSAGE(help.code == kDone, command.name);
      CHECK_MESSAGE(contains(help.out, "proxent " + std::string(command.name)), command.name);
      CHECK_FALSE(contains(help.out, "\x1b"));  // no colour into a pipe
    }
    const std::string train = run_binary("train --help").out;
    CHECK(contains(train, "examples\n"));
    CHECK(contains(train, "exit codes\n"));
    CHECK(contains(train, "--lr X                learning rate of backbone and head [3e-4]\n"));
    CHECK(contains(train, "-b, --batch N"));
    CHECK(contains(train, "--[no-]drop-last"));
    std::size_t begin = 0;
    for (std::size_t end; (end = train.find('\n', begin)) != std::string::npos; begin = end + 1)
      CHECK(end - begin <= 110);
    CHECK(run_binary("help loss").code == kDone);
    CHECK(run_binary("help metrics").code == kDone);
    CHECK(run_binary("help").code == kDone);
    CHECK(contains(error_of("help los"), "Did you mean 'loss'?"));
    CHECK(run_binary("").code == kUsageError);
  }

  TEST_CASE("one error, with what to do, and exit code 2") {
    CHECK(error_of("trian") ==
          "error: unknown command 'trian'. Did you mean 'train'? (proxent "
          "--help)\n");
    CHECK(error_of("train --optm.lr 1") ==
          "error: unknown flag '--optm.lr'. Did you mean "
          "'--optim.lr'? (proxent train --help)\n");
    CHECK(error_of("train --lr fast") ==
          "error: --lr: expected a number of at least 0, got 'fast'.\n");
    CHECK(error_of("train --lr") == "error: --lr needs a value: a number of at least 0.\n");
    CHECK(error_of("train --lr --seed 1") ==
          "error: --lr needs a value: a number of at least 0.\n");
    CHECK(error_of("train lr=1") ==
          "error: unexpected argument 'lr=1'. Flags begin with dashes: "
          "--lr. (proxent train --help)\n");
    CHECK(error_of("eval x --lr 1") ==
          "error: --lr is no flag of 'proxent eval'; optim.lr is "
          "taken from a configuration file (-c).\n");
    CHECK(contains(error_of("train -c /"), "cannot read the configuration file '/'"));
    CHECK(contains(error_of("train --preset cubcpu"), "Did you mean 'cub-cpu'?"));
    CHECK(contains(error_of("train -v --lr x"), "settings.cpp:"));
    CHECK(error_of("train", "PROXENT_LRR=1") ==
          "error: the environment variable PROXENT_LRR names no setting. Did you mean "
          "'PROXENT_LR'? Unset it or mend its name.\n");
    CHECK(contains(error_of("bench stp"), "Did you mean 'step'?"));
    CHECK(contains(error_of("gradcheck mattmul"), "Did you mean 'matmul'?"));
    CHECK(error_of("train --steps 0 --epochs 0") ==
          "error: run.epochs and run.steps are both 0, which trains nothing; give --epochs or "
          "--steps\n");
    CHECK(error_of("train --data \"$(printf 'x\\351')\"") ==
          "error: data.path: expected text in UTF-8, got other bytes in \"x\xe9\". Rename the file "
          "or folder, or name it through a link\n");
    CHECK(contains(error_of("data preview -o x.html"), "its name must end in .png, got 'x.html'"));
    CHECK(contains(error_of("eval --pixels --grid x.jpg"), "its name must end in .png"));
  }

  TEST_CASE("settings: later sources win, and each is named") {
    const TempFolder temp;
    const std::string a = temp.path() / "a.toml", b = temp.path() / "b.toml";
    std::ofstream(a) << "[optim]\nlr = 1\nwd = 1\nmomentum = 0.5\n[loss]\nproxies = 3\n";
    std::ofstream(b) << "[optim]\nwd = 2\nmomentum = 0.25\n";
    const Outcome printed = run_binary(
        "train --print-config -c " + a + " -c " + b + " --momentum=0.125 -b7 --no-drop-last",
        "PROXENT_OPTIM_MOMENTUM=0.75 PROXENT_SEED=9");
    CHECK(printed.code == kDone);
    const auto has = [&](const std::string& line) {
      CHECK_MESSAGE(contains(printed.out, line), line);
    };
    has("lr = 1.0                            # * " + a + ":2; default 3e-4\n");
    has("wd = 2.0                            # * " + b + ":2; default 1e-4\n");
    has("momentum = 0.125                    # * --momentum; default 0.9\n");
    has("seed = 9                            # * PROXENT_SEED; default 1\n");
    has("proxies = 3                         # * " + a + ":6; default \"auto\"\n");
    has("image_size = 32                     # * preset glyphs-demo; default 224\n");
    has("size = 7                            # * -b; default 120\n");
    has("drop_last = false                   # * --no-drop-last; default true\n");
    has("# the values below include those of preset glyphs-demo\n");
  }

  TEST_CASE("what --print-config prints reads back to the same configuration") {
    const TempFolder temp;
    const std::string full = temp.path() / "full.toml", changed = temp.path() / "changed.toml";
    const std::string flags =
        "train --dataset fashion-mnist --hflip 0.5 --sigma-h 3 --freeze conv1,layer1 --metrics "
        "r@1,2,rp --time-limit 90min --name \"it's \\\"x\\\"\" --print-config";
    const std::string first = run_binary(flags).out;
    std::ofstream(full) << first;
    std::ofstream(changed) << run_binary(flags + "=changed").out;
    const auto values = [](const std::string& text) {
      // Comments tell the sources, which differ.
      std::string kept;
      for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
           begin = end + 1) {
        const std::string line = text.substr(begin, end - begin);
        kept += line.substr(0, line.find_last_not_of(' ', line.find("  #")) + 1) + "\n";
      }
      return kept;
    };
    CHECK(contains(first, "freeze = [\"conv1\", \"layer1\"]"));
    CHECK(contains(first, "time_limit = \"1h30min\""));
    CHECK(values(run_binary("train --print-config -c " + full).out) == values(first));
    CHECK(values(run_binary("train --print-config -c " + changed).out) == values(first));
    CHECK_NOTHROW(config_from_toml(first, "printed"));
  }

  TEST_CASE("a file may name its preset, a flag overrides it") {
    const TempFolder temp;
    const std::string file = temp.path() / "p.toml";
    std::ofstream(file) << "preset = \"smoke\"\n[run]\nseed = 3\n";
    const std::string by_file = run_binary("train --print-config=changed -c " + file).out;
    CHECK(contains(by_file, "preset smoke"));
    CHECK(contains(by_file, "seed = 3"));
    CHECK_FALSE(contains(run_binary("train --preset none --print-config -c " + file).out, "smoke"));
    CHECK(contains(run_binary("train --help").out, "data\n                            set [auto]"));
    CHECK(contains(run_binary("eval --help").out, "few-shot-r12 [none]"));
    CHECK(contains(run_binary("train --preset none --print-config").out, "image_size = 224\n"));
  }

  TEST_CASE("version and doctor as JSON") {
    const auto version = nlohmann::json::parse(run_binary("version --json").out);
    CHECK(version.contains("commit"));
    CHECK(version["jpeg_decoder"].is_string());
    CHECK(version["cuda"].is_null() == !gpu_report().is_built);
    const auto doctor = nlohmann::json::parse(run_binary("doctor --json").out);
    CHECK(doctor["findings"].size() >= 8);
    CHECK(run_binary("doctor").code == kDone);
  }

  TEST_CASE("boxes are ASCII where the locale is not UTF-8") {
    CHECK(contains(run_binary("doctor", "LC_ALL=C").out, "+ proxent doctor"));
    CHECK(contains(run_binary("doctor", "LC_ALL=C.UTF-8").out, "┌ proxent doctor"));
  }

  TEST_CASE("gradcheck runs rows of the table") {
    const Outcome table = run_binary("gradcheck relu", "LC_ALL=C");
    CHECK(table.code == kDone);
    CHECK(contains(table.out, "leaky_relu"));
    const auto json = nlohmann::json::parse(run_binary("gradcheck tanh sigmoid --json").out);
    CHECK(json["ops"].size() == 2);
    CHECK(json["failed"] == 0);
  }

  TEST_CASE("errors become exit codes") {
    CHECK(exit_code_of(UsageError("", "")) == 2);
    CHECK(exit_code_of(DataError("", "")) == 3);
    CHECK(exit_code_of(std::filesystem::filesystem_error("", {})) == 3);
    CHECK(exit_code_of(OutOfMemory("", "")) == 5);
    CHECK(exit_code_of(std::bad_alloc()) == 5);
    CHECK(exit_code_of(NonFiniteError("", "")) == 6);
    CHECK(exit_code_of(Error("", "")) == 1);
    CHECK(exit_code_of(std::runtime_error("")) == 1);
  }

  TEST_CASE("a file system's complaint names the path") {
    const std::string name(300, 'a');
    const Outcome outcome = run_binary("train --data " + name + " 2>&1 >/dev/null");
    CHECK(outcome.code == kDataError);
    CHECK(outcome.out == "error: " + name + ": File name too long\n");
  }

  TEST_CASE("flags, positionals and a base") {
    Config config;
    std::string checkpoint;
    std::vector<std::string> words;
    bool is_json = false;
    std::int64_t size = 64;
    CommandLine line(
        {.name = "x", .usage = "", .summary = "", .about = "", .examples = {}, .output = ""});
    line.positional("CHECKPOINT", &checkpoint, "");
    line.positional("WORD", &words, "", false);
    line.settings().add("json", &is_json, "");
    line.settings().add("size", &size, "", {.range = at_least(1)});
    line.add_config(config, {.sections = {"data", "run"}});
    CHECK(line.read({"a.ckpt", "--size", "5", "--json", "--hflip=-0", "b", "--", "--c"}));
    CHECK(checkpoint == "a.ckpt");
    CHECK(words == std::vector<std::string>{"b", "--c"});
    CHECK(line.apply("[data]\nhflip = 0.25\nimage_size = 48\n[optim]\nlr = 3\n", "a.ckpt"));
    CHECK(size == 5);
    CHECK(is_json);
    CHECK(config.data.hflip == 0);
    CHECK(config.data.image_size == 48);
    CHECK(config.optim.lr == 3);
    CHECK(contains(line.config_text(), "image_size = 48                     # * a.ckpt:3"));
  }
}
