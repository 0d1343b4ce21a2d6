// Runs of the real binary that are killed at any moment and started again with --resume auto end
// with the very bits of a run that nobody disturbed.
//
// KILLS=N kills each kind of run N times at random moments; 6 unless said.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tensor/random.h"
#include "tests/run_binary.h"
#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/exit_code.h"

extern char** environ;

namespace proxent {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// The binary at work in `folder`, its output added to output.txt there.
class Process {
 public:
  // `variables`: "NAME=value", beside the environment of the test.
  Process(const fs::path& folder, std::vector<std::string> arguments,
          std::vector<std::string> variables = {}) {
    arguments.insert(arguments.begin(), PROXENT_BINARY);
    for (char** variable = environ; *variable; ++variable) variables.emplace_back(*variable);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "output.txt",
                                     O_WRONLY | O_CREAT | O_APPEND, 0666);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    REQUIRE(posix_spawn(&pid_, PROXENT_BINARY, &actions, nullptr, pointers(arguments).data(),
                        pointers(variables).data()) == 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ > 0) {
      send(SIGKILL);
      wait();
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void send(int signal) const { kill(pid_, signal); }
  // The exit code; minus the signal that ended it.
  int wait() {
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  static std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> list;
    for (std::string& text : texts) list.push_back(text.data());
    list.push_back(nullptr);
    return list;
  }

  pid_t pid_ = -1;
};

// Numbers that a clock or another process's memory decides.
const std::set<std::string> kOfTheClock = {
    "t", "seconds", "img_s", "step_ms", "data_wait_ms", "mem_mib", "process_mib"};

// Lines of JSON without those.
std::vector<nlohmann::json> comparable_lines(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
    for (const std::string& key : kOfTheClock) lines.back().erase(key);
  }
  return lines;
}

// Steps and scalars of a run's event file, without the same.
std::vector<std::pair<std::int64_t, std::vector<std::pair<std::string, double>>>> comparable_events(
    const fs::path& run) {
  std::vector<std::pair<std::int64_t, std::vector<std::pair<std::string, double>>>> events;
  for (EventScalars& event : read_events(event_file_in(run / "tb"))) {
    std::erase_if(event.values, [](const auto& scalar) {
      const std::string name = scalar.first.substr(scalar.first.rfind('/') + 1);
      return kOfTheClock.contains(name) || std::isnan(scalar.second);
    });
    events.emplace_back(event.step, std::move(event.values));
  }
  return events;
}

void check_same_state(const fs::path& a, const fs::path& b) {
  TrainingState left = read_state(a), right = read_state(b);
  left.texts.erase("seconds");
  right.texts.erase("seconds");
  CHECK(left.texts == right.texts);
  REQUIRE(left.tensors.size() == right.tensors.size());
  for (const auto& [name, tensor] : left.tensors)
    CHECK_MESSAGE(tensor.to_vector<double>() == right.tensors.at(name).to_vector<double>(), name);
}

// What two finished runs left, in folders whose names do not matter.
void check_same_run(const fs::path& a, const fs::path& b) {
  check_same_state(a / "ckpt/last.state", b / "ckpt/last.state");
  for (const char* file : {"ckpt/last.safetensors", "ckpt/best.safetensors", "metrics.csv",
                           "config.toml", "retrieval.png"})
    CHECK_MESSAGE(text_of(a / file) == text_of(b / file), std::string(file));
  for (const char* file : {"train.jsonl", "eval.jsonl"})
    CHECK_MESSAGE(comparable_lines(a / file) == comparable_lines(b / file), std::string(file));
  CHECK(comparable_events(a) == comparable_events(b));
  CHECK(comparable_events(a).size() > 20);
  const auto left = nlohmann::json::parse(text_of(a / "run.json")),
             right = nlohmann::json::parse(text_of(b / "run.json"));
  for (const std::string key : {"status", "selection", "test", "pixels", "untrained", "proxies"})
    CHECK_MESSAGE(left.value(key, nlohmann::json()) == right.value(key, nlohmann::json()), key);
  CHECK(left.contains("untrained"));
  CHECK(left["status"] == "done");
}

// A run that saves and evaluates often, so that many kills fall into either.
Config restless_config(const fs::path& pictures, std::int64_t workers) {
  Config config = small_config(pictures, "run");
  config.data.workers = workers;
  config.run.steps = 24;
  config.run.save_every = {3, Duration::Unit::iterations};
  config.run.eval_every = {4, Duration::Unit::iterations};
  config.log.log_every = {1, Duration::Unit::iterations};
  config.run.protocol = "val";
  config.run.val_classes = 0.5;
  config.run.baselines = true;  // of the untrained network, also in a later sitting
  config.run.threads = 2;
  return config;
}

// One kind of run, in a folder of its own, and how it ends undisturbed.
class Trial {
 public:
  explicit Trial(const Config& config) {
    config_ = temporary_.write("run.toml", to_toml(config));
    const auto start = Clock::now();
    fs::create_directory(whole_);
    Process process(whole_, arguments_);
    REQUIRE_MESSAGE(process.wait() == kDone, text_of(whole_ / "output.txt"));
    seconds_ = std::chrono::duration<double>(Clock::now() - start).count();
    start_over();
  }

  double seconds() const { return seconds_; }
  Process sitting(const std::vector<std::string>& variables = {},
                  const std::vector<std::string>& more_arguments = {}) {
    std::vector<std::string> arguments = arguments_;
    arguments.insert(arguments.end(), more_arguments.begin(), more_arguments.end());
    return Process(broken_, arguments, variables);
  }
  // The exit code of a sitting among other commands of a shell, in which $PROXENT is the command;
  // what it says is in the folder's file `message`.
  int shell(const std::string& commands) {
    const std::string proxent = PROXENT_BINARY " train -c ../run.toml --resume auto --quiet";
    return WEXITSTATUS(std::system(("cd '" + broken_.string() + "' && PROXENT='" + proxent +
                                    "' && export PROXENT && { " + commands + "\n} >message 2>&1")
                                       .c_str()));
  }
  std::string message() const { return text_of(broken_ / "message"); }
  // Lets the run come to its end, compares it, and begins another one.
  void finish() {
    Process process = sitting();
    REQUIRE_MESSAGE(process.wait() == kDone, text_of(broken_ / "output.txt"));
    compare();
  }
  void compare() {
    check_same_run(whole_ / "run", broken_ / "run");
    start_over();
  }
  fs::path folder() const { return broken_; }

 private:
  void start_over() {
    fs::remove_all(broken_);
    fs::create_directory(broken_);
  }

  TempFolder temporary_;
  fs::path whole_ = temporary_.path() / "whole", broken_ = temporary_.path() / "broken", config_;
  std::vector<std::string> arguments_ = {"train",    "-c",   "../run.toml",
                                         "--resume", "auto", "--quiet"};
  double seconds_ = 0;
};

std::vector<Config> kinds_of_runs(const fs::path& pictures) {
  std::vector<Config> kinds{restless_config(pictures, 1), restless_config(pictures, 3)};
  kinds.back().loss.name = "contrastive";
  kinds.back().loss.memory = 16;
  kinds.back().optim.name = "sgd";
  kinds.back().run.eval_every = {5, Duration::Unit::iterations};
  return kinds;
}

// Waits for a file; false if it does not come within ten seconds.
bool appears(const fs::path& path) {
  for (int i = 0; i < 5000 && !fs::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return fs::exists(path);
}

int random_kills() {
  const char* asked = std::getenv("KILLS");
  return asked ? std::atoi(asked) : 6;
}

TEST_SUITE("resume") {
  TEST_CASE("a run that is killed while it writes ends with the same bits") {
    const TempFolder temporary;
    Trial trial(kinds_of_runs(draw_pictures(temporary.path() / "pictures"))[0]);
    for (const char* moment :
         {"rename 1", "renamed 1", "rename 2", "write 2", "fputs 2", "write 3", "write 200",
          "fsync 6", "rename 8", "renamed 8", "renamed 9", "write 700", "fputs 12", "fwrite 3",
          "write 500", "rename 5", "renamed 5"}) {
      Process process =
          trial.sitting({"LD_PRELOAD=" PROXENT_DIE_AT, "DIE_AT=" + std::string(moment)});
      CHECK_MESSAGE(process.wait() == -SIGKILL, std::string(moment));
    }
    trial.finish();
  }

  TEST_CASE("an owed evaluation that was made, but not saved, is made again") {
    const TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    const fs::path picture = fs::directory_iterator(pictures / "class1")->path();
    Trial trial(restless_config(pictures, 1));
    for (const char* moment : {"rename 7", "rename 9"}) {
      const std::string whole = text_of(picture);
      std::ofstream(picture) << "no picture";  // breaks off the first evaluation
      Process first = trial.sitting();
      CHECK(first.wait() == kDataError);
      std::ofstream(picture, std::ios::binary) << whole;
      Process second =
          trial.sitting({"LD_PRELOAD=" PROXENT_DIE_AT, std::string("DIE_AT=") + moment});
      CHECK(second.wait() == -SIGKILL);
      const TrainingState state = read_state(trial.folder() / "run/ckpt/last.state");
      CHECK(progress_of(state.texts, "last.state").owes_evaluation);
      CHECK(comparable_lines(trial.folder() / "run/eval.jsonl").size() == 1);
      trial.finish();
    }
  }

  TEST_CASE("a run that is killed at random moments ends with the same bits") {
    const TempFolder temporary;
    Philox random(static_cast<std::uint64_t>(getpid()), stream_of("kills"));
    int survived = 0, finished = 0;
    for (const Config& kind : kinds_of_runs(draw_pictures(temporary.path() / "pictures"))) {
      Trial trial(kind);
      for (int kills = 0; kills < random_kills();) {
        Process process = trial.sitting();
        std::this_thread::sleep_for(std::chrono::duration<double>(
            trial.seconds() * static_cast<double>(random.below(1000)) / 1000));
        // Half of them ask to stop, which breaks off evaluations; before anybody listens it kills.
        const int signal = random.below(2) == 0 ? SIGKILL : SIGTERM;
        process.send(signal);
        const int code = process.wait();
        const bool is_ended = code == -signal || code == kStoppedEarly;
        REQUIRE_MESSAGE((is_ended || code == kDone), text_of(trial.folder() / "output.txt"));
        kills += is_ended;
        survived += is_ended;
        if (code != kDone) continue;
        trial.compare();
        ++finished;
      }
      trial.finish();
      ++finished;
    }
    MESSAGE(survived << " kills at random moments, " << finished << " runs, all with equal bits");
  }

  TEST_CASE("a signal stops with a checkpoint, or saves and goes on") {
    const TempFolder temporary;
    Config config = restless_config(draw_pictures(temporary.path() / "pictures"), 2);
    config.run.save_every = {};
    Trial trial(config);
    const fs::path state = trial.folder() / "run/ckpt/last.state";
    {
      Process process = trial.sitting();
      REQUIRE(appears(trial.folder() / "run/ckpt/best.safetensors"));
      process.send(SIGTERM);
      CHECK(process.wait() == kStoppedEarly);
      REQUIRE(fs::exists(state));
      CHECK(text_of(trial.folder() / "output.txt").find("stopped early (SIGTERM)") !=
            std::string::npos);
    }
    {
      fs::remove_all(trial.folder() / "run");
      Process process = trial.sitting();
      REQUIRE(appears(trial.folder() / "run/eval.jsonl"));
      process.send(SIGUSR1);
      CHECK(appears(state));
      CHECK(process.wait() == kDone);
    }
    trial.compare();
  }

  TEST_CASE("a sitting that is refused leaves the run as it was") {
    const TempFolder temporary;
    const fs::path run = temporary.path() / "run", other = temporary.path() / "other";
    Config config = restless_config(draw_pictures(temporary.path() / "pictures"), 1);
    config.run.out = run.string();
    const std::string toml = temporary.write("run.toml", to_toml(config)).string();
    REQUIRE(run_binary("train --quiet -c " + toml + " 2>&1").code == kDone);
    const auto files = [&] {
      std::map<std::string, std::string> texts;
      for (const char* name : {"config.toml", "run.json", "cmdline.txt", "train.jsonl",
                               "eval.jsonl", "metrics.csv", "ckpt/last.state"})
        texts[name] = text_of(run / name);
      return texts;
    };
    const auto before = files();
    struct Refusal {
      std::string flags, message;
      int code;
    };
    const std::string resume = " --resume " + run.string();
    for (const auto& [flags, message, code] :
         {Refusal{resume + " --embed-dim 9", "this state is of another configuration", kDataError},
          Refusal{resume + " --steps 1", " steps, and 1 are asked for", kUsageError},
          Refusal{resume + " --seed 7", "began with --seed 1, got 7", kUsageError},
          Refusal{resume + " --protocol paper --steps 30",
                  "were not chosen with run.protocol = \"paper\", not \"val\"", kUsageError},
          Refusal{resume + " --val-classes 0.4 --steps 30",
                  "were not chosen with run.val_classes = 0.4, not 0.5", kUsageError},
          Refusal{resume + " --lr 7", "is done, at step", kUsageError},
          Refusal{resume + " --out " + other.string(), "a run goes on in its own folder",
                  kUsageError},
          Refusal{resume + "/ckpt/last.safetensors", "holds weights, not the state of a run",
                  kUsageError},
          Refusal{" -c " + toml, "holds a run already", kUsageError}}) {
      const Outcome outcome = run_binary("train --quiet" + flags + " 2>&1");
      CHECK_MESSAGE(outcome.code == code, flags, ": ", outcome.out);
      CHECK_MESSAGE(outcome.out.find(message) != std::string::npos, flags, ": ", outcome.out);
      CHECK_MESSAGE(files() == before, flags);
    }
    CHECK_FALSE(fs::exists(other));
    const auto goes_on = [](const std::string& flags, const std::string& before_it = "") {
      const Outcome outcome = run_binary("train --quiet " + flags + " 2>&1", before_it);
      CHECK_MESSAGE(outcome.code == kDone, flags, ": ", outcome.out);
    };
    goes_on(resume + " --dry-run");
    CHECK(files() == before);

    // One that failed in its last evaluation gets what helps it through.
    std::string failed = before.at("run.json");
    failed.replace(failed.find("\"done\""), 6, "\"failed\"");
    temporary.write("run/run.json", failed);
    goes_on(resume + " --on-bad-image skip");
    goes_on("--resume ckpt/last.state", "cd " + run.string() + " &&");
    fs::rename(run, other);
    goes_on("-c " + (other / "config.toml").string() + " --resume " + other.string());
    CHECK_FALSE(fs::exists(run));
    fs::rename(other, run);
    CHECK(run_binary("train --quiet" + resume + " 2>&1").code == kDone);
    CHECK(text_of(run / "train.jsonl") == before.at("train.jsonl"));

    const Outcome astray = run_binary("train --quiet -c " + toml + " --out " +
                                      (temporary.path() / "pictures").string() + " 2>&1");
    CHECK(astray.code == kUsageError);
    CHECK_MESSAGE(astray.out.find("holds class0, and a run lies") != std::string::npos, astray.out);
  }

  TEST_CASE("a sitting with other settings or threads says so, once") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.run.save_every = {2, Duration::Unit::iterations};
    config.run.threads = 2;
    const std::string run =
        "train -c " + temporary.write("run.toml", to_toml(config)).string() + " --resume auto";
    const auto sitting = [&](const std::string& flags) {
      const Outcome outcome = run_binary(run + flags + " 2>&1");
      CHECK(outcome.code == (flags.ends_with("0.001s") ? kStoppedEarly : kDone));
      return outcome.out;
    };
    CHECK(sitting(" --time-limit 0.001s").find("warning") == std::string::npos);
    const std::string changed = sitting(" --lr 0.01 --threads 1 --time-limit 0.001s");
    CHECK_MESSAGE(
        changed.find("warning: the run goes on with optim.lr = 0.01, not 0.001; what comes "
                     "out is of both\n") != std::string::npos,
        changed);
    CHECK_MESSAGE(changed.find("was trained on cpu, 2 threads and goes on with cpu, 1 thread, "
                               "which may add in another order") != std::string::npos,
                  changed);
    CHECK(sitting(" --lr 0.01 --threads 1").find("warning") == std::string::npos);
  }

  TEST_CASE("a second process is told who trains in the folder") {
    const TempFolder temporary;
    Trial trial(restless_config(draw_pictures(temporary.path() / "pictures"), 1));
    Process first = trial.sitting();
    REQUIRE(appears(trial.folder() / "run/run.json"));
    Process second = trial.sitting();
    CHECK(second.wait() == kUsageError);
    CHECK(text_of(trial.folder() / "output.txt").find("is in use: process ") != std::string::npos);
    CHECK(first.wait() == kDone);
    trial.compare();
  }

  TEST_CASE("a disk that is full costs nothing that was saved") {
    const TempFolder temporary;
    Config config = restless_config(draw_pictures(temporary.path() / "pictures"), 1);
    Trial trial(config);
    {
      Process process = trial.sitting({"LD_PRELOAD=" PROXENT_DIE_AT, "DIE_AT=renamed 14"});
      REQUIRE_MESSAGE(process.wait() == -SIGKILL, text_of(trial.folder() / "output.txt"));
    }
    const std::string before = text_of(trial.folder() / "run/ckpt/last.state");
    // No file may grow beyond 64 blocks, which logs do not and a state does.
    CHECK(trial.shell("ulimit -f 64; $PROXENT") == kDataError);
    CHECK_MESSAGE(trial.message().find("free some space") != std::string::npos, trial.message());
    CHECK(text_of(trial.folder() / "run/ckpt/last.state") == before);
    trial.finish();
  }

  TEST_CASE("a small disk, and one that cannot be written") {
    if (std::system("unshare -rm true 2>/dev/null") != 0) {
      MESSAGE("skipped: no file system can be mounted here");
      return;
    }
    const TempFolder temporary;
    Trial trial(restless_config(draw_pictures(temporary.path() / "pictures"), 1));
    // Room for one state and the rest, not for two: the second save fails. What is there when the
    // process has ended is taken to a larger disk.
    CHECK(
        trial.shell("unshare -rm sh -c 'mkdir run small; mount -t tmpfs -o size=6000k none small; "
                    "mkdir small/run; mount --bind small/run run; $PROXENT; code=$?; "
                    "cp -a run large; exit $code'") == kDataError);
    CHECK_MESSAGE(trial.message().find("No space left") != std::string::npos, trial.message());
    REQUIRE(fs::exists(trial.folder() / "large/ckpt/last.state"));
    fs::remove_all(trial.folder() / "run");
    fs::rename(trial.folder() / "large", trial.folder() / "run");
    const std::string before = text_of(trial.folder() / "run/ckpt/last.state");

    CHECK(trial.shell("unshare -rm sh -c 'mount --bind run run; mount -o remount,bind,ro run; "
                      "$PROXENT'") == kDataError);
    CHECK_MESSAGE(trial.message().find("Read-only file system") != std::string::npos,
                  trial.message());
    CHECK(text_of(trial.folder() / "run/ckpt/last.state") == before);
    trial.finish();
  }

  TEST_CASE("a folder that vanishes is told, and nothing is put in its place") {
    const TempFolder temporary;
    Trial trial(restless_config(draw_pictures(temporary.path() / "pictures"), 1));
    const fs::path run = trial.folder() / "run", elsewhere = trial.folder() / "elsewhere";
    {
      Process process = trial.sitting();
      REQUIRE(appears(run / "ckpt/last.state"));
      fs::rename(run, elsewhere);
      CHECK(process.wait() == kDataError);
      CHECK(text_of(trial.folder() / "output.txt").find("No such file or directory") !=
            std::string::npos);
      CHECK_FALSE(fs::exists(run));
    }
    fs::rename(elsewhere, run);
    trial.finish();
  }

  TEST_CASE("a run of many short sittings, as a cluster with a time limit gives them") {
    const TempFolder temporary;
    Trial trial(restless_config(draw_pictures(temporary.path() / "pictures"), 2));
    for (int sitting = 0; sitting < 4; ++sitting) {  // a step or two each, of 24
      Process process = trial.sitting({}, {"--time-limit", "0.001s"});
      CHECK_MESSAGE(process.wait() == kStoppedEarly, text_of(trial.folder() / "output.txt"));
    }
    CHECK(text_of(trial.folder() / "output.txt").find("stopped early (time limit)") !=
          std::string::npos);
    trial.finish();
  }

  TEST_CASE("a second Ctrl-C leaves at once") {
    const TempFolder temporary;
    Trial trial(restless_config(draw_pictures(temporary.path() / "pictures"), 1));
    int code = kStoppedEarly;  // where the run had stopped for the first one already: again
    for (int i = 0; i < 30 && code == kStoppedEarly; ++i) {
      fs::remove_all(trial.folder() / "run");
      Process process = trial.sitting();
      REQUIRE(appears(trial.folder() / "run/run.json"));
      process.send(SIGINT);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      process.send(SIGINT);
      code = process.wait();
    }
    CHECK(code == kInterrupted);
    trial.finish();
  }
}

}  // namespace
}  // namespace proxent
