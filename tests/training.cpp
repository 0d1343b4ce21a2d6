// The training run from end to end on a few pictures that the test draws itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/devices.h"
#include "tests/run_binary.h"
#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/checkpoint.h"
#include "train/command.h"
#include "train/exit_code.h"
#include "train/finished_run.h"
#include "train/model.h"
#include "train/optimizer.h"
#include "train/run.h"
#include "train/safetensors.h"
#include "train/saved_model.h"
#include "train/text.h"
#include "train/trainer.h"
#include "train/training_step.h"

TEST_SUITE("training") {
  using namespace proxent;
  namespace fs = std::filesystem;

  TEST_CASE("a run leaves what the next one needs; the same seed gives the same bits") {
    TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    for (const auto& [name, loader_threads] : {std::pair{"a", 1}, {"b", 3}}) {
      Config config = small_config(pictures, temporary.path() / name);
      config.data.workers = loader_threads;
      CHECK(run_training(config, {"train"}) == kDone);
    }
    const fs::path a = temporary.path() / "a", b = temporary.path() / "b";
    for (const char* file : {"cmdline.txt", "config.toml", "run.json", "train.jsonl", "metrics.csv",
                             "log.txt", "retrieval.png", "ckpt/last.state"})
      CHECK_MESSAGE(fs::exists(a / file), file);
    CHECK(text_of(a / "run.json").find("\"done\"") != std::string::npos);
    CHECK(jpeg_decoder_name({.prefer_stb = true}) == "stb_image");
    const auto weights_a = read_safetensors(a / "ckpt/last.safetensors").tensors;
    const auto weights_b = read_safetensors(b / "ckpt/last.safetensors").tensors;
    REQUIRE(weights_a.size() == weights_b.size());
    CHECK(weights_a.count("proxies") == 1);
    CHECK(weights_a.count("layer1.0.conv1.weight") == 1);
    for (const auto& [name, tensor] : weights_a)
      CHECK_MESSAGE(tensor.to_vector<double>() == weights_b.at(name).to_vector<double>(), name);
  }

  TEST_CASE("every metric may be asked for during training") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.run.protocol = "paper";
    config.run.eval_every = {3, Duration::Unit::iterations};
    config.run.metrics = {"all", "r@4"};
    CHECK(run_training(config, {"train"}) == kDone);
    const auto lines = split(text_of(temporary.path() / "run/metrics.csv"), '\n');
    REQUIRE(lines.size() >= 3);
    CHECK(lines[0] ==
          "step,epoch,split,R@1,R@4,MAP@R,RP,P@4,mAP,MRR,nDCG@4,NMI,NMI-geometric,AMI,AMI-"
          "geometric,TAR@1e-1,"
          "TAR@1e-2,TAR@1e-3,TAR@1e-4,AUC");
    // 24 pictures of 4 classes: 216 pairs of two classes, too few for two of the rates.
    CHECK(split(lines[1], ',').size() == 20);
    CHECK(lines[1].find(",,,") != std::string::npos);
    const auto eval = text_of(temporary.path() / "run/eval.jsonl");
    CHECK(eval.find("\"TAR@1e-4\": null") != std::string::npos);
    CHECK(eval.find("216 pairs of different classes cannot tell") != std::string::npos);
    CHECK(eval.find("nonfinite") == std::string::npos);
  }

  TEST_CASE("a run that was stopped half-way ends where an unbroken one does") {
    TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    Config whole = small_config(pictures, temporary.path() / "whole");
    whole.optim.sched = "const";
    CHECK(run_training(whole, {"train"}) == kDone);
    Config half = whole;
    half.run.out = (temporary.path() / "half").string();
    half.run.steps = 3;
    CHECK(run_training(half, {"train"}) == kDone);
    half.run.steps = 6;
    half.run.resume = half.run.out;
    CHECK(run_training(half, {"train", "--resume"}) == kDone);
    const auto expected = read_safetensors(temporary.path() / "whole/ckpt/last.state").tensors;
    const auto found = read_safetensors(temporary.path() / "half/ckpt/last.state").tensors;
    REQUIRE(expected.size() == found.size());
    for (const auto& [name, tensor] : expected)
      CHECK_MESSAGE(tensor.to_vector<double>() == found.at(name).to_vector<double>(), name);
    half.run.resume = (temporary.path() / "nowhere").string();
    CHECK_THROWS_WITH_AS(run_training(half, {}), doctest::Contains("no state to go on from"),
                         DataError);
  }

  TEST_CASE("what a run leaves can be evaluated, whatever its loss keeps beside the proxies") {
    TempFolder temporary;
    const Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    CHECK(run_training(config, {"train"}) == kDone);  // its weight_usage keeps a running average
    CHECK(eval_command({(temporary.path() / "run").string(), "--quiet"}) == kDone);
  }

  TEST_CASE("the rate falls at milestones, in steps or epochs") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.optim.name = "adam";
    config.optim.sched = "step";
    config.optim.lr_milestones = {"2it", "1.5ep"};  // three steps to an epoch: at 2 and at 5
    config.optim.lr_gamma = 0.5;
    config.log.log_every = {1, Duration::Unit::iterations};
    CHECK(run_training(config, {"train"}) == kDone);
    std::istringstream lines(text_of(temporary.path() / "run/train.jsonl"));
    std::vector<double> rates;
    for (std::string line; std::getline(lines, line);)
      rates.push_back(std::stod(line.substr(line.find("\"backbone\":") + 11)));
    CHECK(rates == std::vector<double>{1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 2.5e-4});
    for (const auto& [milestones, complaint] :
         {std::pair<std::vector<std::string>, const char*>{{"5it", "5it"}, "does not come after"},
          {{"10min"}, "expected numbers of steps or epochs"},
          {{"soon"}, "soon"}}) {
      config.optim.lr_milestones = milestones;
      CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains(complaint), UsageError);
    }
    config.optim.lr_milestones = {"2it"};
    config.optim.sched = "cosine";
    CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains("belong to --sched step"),
                         UsageError);
  }

  TEST_CASE("a run whose checkpoints are gone is not begun anew over its logs") {
    const TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    const fs::path run = config.run.out;
    CHECK(run_training(config, {"train"}) == kDone);
    config.run.resume = "auto";
    const std::string log = text_of(run / "train.jsonl");
    for (const std::string status : {"done", "killed"}) {
      CAPTURE(status);
      std::string record = text_of(run / "run.json");
      if (status == "killed") record.replace(record.find("\"done\""), 6, "\"killed\"");
      std::ofstream(run / "run.json") << record;
      fs::rename(run / "ckpt", temporary.path() / "away");
      CHECK_THROWS_WITH_AS(run_training(config, {"train"}),
                           doctest::Contains("Nothing was changed"), UsageError);
      CHECK(text_of(run / "train.jsonl") == log);
      fs::rename(temporary.path() / "away", run / "ckpt");
    }
  }

  TEST_CASE("an evaluation that cannot be made costs no step, and is made when the run goes on") {
    const TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    Config config = small_config(pictures, temporary.path() / "run");
    const fs::path run = config.run.out, bad = pictures / "class7/5.png";
    config.run.protocol = "paper";
    config.run.eval_every = {3, Duration::Unit::iterations};
    const std::string whole = text_of(bad);
    std::ofstream(bad, std::ios::binary) << whole.substr(0, whole.size() / 2);
    CHECK_THROWS_AS(run_training(config, {"train"}), DataError);
    const TextMap saved = read_state(run / "ckpt/last.state").texts;
    CHECK(progress_of(saved, "").step == 3);
    CHECK(progress_of(saved, "").owes_evaluation);
    CHECK(text_of(run / "eval.jsonl").empty());
    std::ofstream(bad, std::ios::binary) << whole;
    config.run.resume = "auto";
    CHECK(run_training(config, {"train"}) == kDone);
    const auto lines = split(text_of(run / "metrics.csv"), '\n');
    REQUIRE(lines.size() >= 3);
    CHECK(lines[1].starts_with("3,"));
    CHECK(lines[2].starts_with("6,"));
  }

  TEST_CASE("the turn of what is due every so many seconds is kept by who saves it") {
    double last = 5;
    Every every({1, Duration::Unit::seconds}, 10, last);
    CHECK_FALSE(every.is_due(1, 5.9));
    CHECK(every.is_due(2, 6.5));
    CHECK(last == 6.5);
    CHECK_FALSE(every.is_due(3, 7.4));
  }

  TEST_CASE("one batch can be learnt by heart") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.debug.overfit_batch = true;
    config.run.steps = 40;
    config.log.log_every = {1, Duration::Unit::iterations};
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(text_of(temporary.path() / "run/log.txt").find("are no results") != std::string::npos);
    std::istringstream lines(text_of(temporary.path() / "run/train.jsonl"));
    std::vector<double> losses;
    for (std::string line; std::getline(lines, line);) {
      const auto at = line.find("\"total\":");
      REQUIRE(at != std::string::npos);
      losses.push_back(std::stod(line.substr(at + 8)));
    }
    REQUIRE(losses.size() == 40);
    CHECK(losses.back() < 0.2 * losses.front());
  }

  TEST_CASE("every protocol says how its numbers were selected") {
    TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    const std::pair<const char*, const char*> rows[] = {
        {"val", "val-selected"}, {"last", "last-epoch"}, {"paper", "test-selected"}};
    for (const auto& [protocol, label] : rows) {
      Config config = small_config(pictures, temporary.path() / protocol);
      config.run.protocol = protocol;
      config.run.val_classes = 0.5;
      config.run.steps = 2;
      config.run.eval_every = {1, Duration::Unit::iterations};
      CHECK(run_training(config, {"train"}) == kDone);
      CHECK(text_of(temporary.path() / protocol / "log.txt").find(label) != std::string::npos);
      CHECK(text_of(temporary.path() / protocol / "run.json").find(label) != std::string::npos);
      CHECK(fs::exists(temporary.path() / protocol / "ckpt/best.safetensors") ==
            (std::string(protocol) != "last"));
    }
  }

  TEST_CASE("numbers carry how they were selected, wherever they stand") {
    TempFolder temporary;
    const fs::path run = temporary.path() / "run";
    Config config = small_config(draw_pictures(temporary.path() / "pictures"), run);
    config.run.protocol = "paper";
    config.run.steps = 1;
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(text_of(run / "metrics.csv").find("\n1,0.3333333333333333,test test-selected,") !=
          std::string::npos);
    const std::string log = text_of(run / "log.txt");
    CHECK(log.find(" | test-selected\n") != std::string::npos);
    CHECK(log.find(" | test-selected (protocol paper), ") != std::string::npos);  // the last line
    CHECK(log.find("n=1\n") != std::string::npos);
    fs::copy_file(run / "ckpt/best.safetensors", run / "mine.safetensors");
    CHECK(find_saved_model(run / "mine.safetensors").selection == Selection::test_selected);
    CHECK(find_saved_model(run / "ckpt/last.safetensors").selection == Selection::last_epoch);

    // What the weights say of themselves is told, not what the protocol would have led to.
    const auto best = read_safetensors(run / "ckpt/best.safetensors");
    CheckpointInfo info = checkpoint_info(best.metadata, "best");
    info.selection = "val-selected";
    CheckpointFolder(run / "ckpt").save_best(best.tensors, info);
    std::string record = text_of(run / "run.json");
    temporary.write(run / "run.json", record.replace(record.find("\"done\""), 6, "\"failed\""));
    config.run.resume = run;
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(read_finished_run(run).selection == Selection::val_selected);
  }

  TEST_CASE("nothing is chosen by evaluations without a match, and no 0 is made of them") {
    TempFolder temporary;
    const fs::path pictures = temporary.path() / "pictures", run = temporary.path() / "run";
    for (const char* part : {"train", "val", "test"}) draw_pictures(pictures / part);
    for (const char* part : {"val", "test"})
      for (const auto& entry : fs::recursive_directory_iterator(pictures / part))
        if (entry.is_regular_file() && entry.path().stem() != "0") fs::remove(entry.path());
    Config config = small_config(pictures, run);
    config.data.allow_shared_classes = true;
    config.run.protocol = "val";
    config.run.baselines = true;
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK_FALSE(fs::exists(run / "ckpt/best.safetensors"));
    const std::string log = text_of(run / "log.txt");
    CHECK(log.find("no evaluation could choose the weights") != std::string::npos);
    CHECK(log.find("R@1 pixels - untrained - trained - | MAP@R pixels - untrained - trained - | "
                   "last-epoch (protocol val), ") != std::string::npos);
    CHECK(log.find("\n          │ plain pixels, ") != std::string::npos);
    CHECK(log.find("\n          │ untrained, ") != std::string::npos);
    const auto record = nlohmann::json::parse(text_of(run / "run.json"));
    CHECK(record["selection"] == "last-epoch");
    CHECK(record["untrained"]["provenance"].get<std::string>().ends_with("seed 1, n=1"));
    CHECK(read_finished_run(run).selection == Selection::last_epoch);
    CHECK(record["test"]["intra"].is_null());
    CHECK(record["test"]["reasons"]["intra"] == "no class has two pictures");
  }

  TEST_CASE("pictures that evaluations left out are told at the end, and so is a missing test") {
    TempFolder temporary;
    const fs::path pictures = draw_pictures(temporary.path() / "pictures");
    temporary.write("pictures/class7/0.png", "no picture");
    Config config = small_config(pictures, temporary.path() / "run");
    config.data.on_bad_image = "skip";
    config.run.steps = 1;
    CHECK(run_training(config, {"train"}) == kDone);
    const auto bad =
        nlohmann::json::parse(text_of(temporary.path() / "run/run.json"))["bad_images"];
    CHECK(bad["count"] == 1);
    CHECK(bad["reasons"][0].get<std::string>().find("class7/0.png") != std::string::npos);
    CHECK(text_of(temporary.path() / "run/log.txt").find("1 picture could not be read") !=
          std::string::npos);

    std::string list;
    for (const char* path : {"class0/0", "class0/1", "class1/0", "class1/1"})
      list += std::string(path) + ".png " + path[5] + "\n";
    temporary.write("pictures/train.txt", list);
    config.batch.size = 4;
    config.run.out = (temporary.path() / "untested").string();
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(text_of(temporary.path() / "untested/log.txt").find("nothing was tested") !=
          std::string::npos);

    // Of a list too, and for those who want to hear of nothing else.
    temporary.write("pictures/train.txt", list + "class1/gone.png 1\n");
    config.run.out = (temporary.path() / "gone").string();
    const Outcome quiet =
        run_binary("train -c " + temporary.write("run.toml", to_toml(config)).string() + " 2>&1");
    CHECK(quiet.code == kDone);
    CHECK_MESSAGE(quiet.out.find("1 picture could not be read; training took others, evaluations "
                                 "left them out:\n  cannot read ") != std::string::npos,
                  quiet.out);
    CHECK(quiet.out.find("class1/gone.png: no such file") != std::string::npos);
  }

  TEST_CASE("a dry run tries everything and leaves nothing") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.debug.dry_run = true;
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK_FALSE(fs::exists(temporary.path() / "run"));
    temporary.write("pictures/class0/0.png", "no picture");
    CHECK_THROWS_AS(run_training(config, {"train"}), DataError);
    config.data.on_bad_image = "skip";
    CHECK(run_training(config, {"train"}) == kDone);

    // Also the folder: one that cannot be made, one inside others, and one that holds a run.
    config.run.out = (temporary.path() / "pictures/class1/0.png/run").string();
    CHECK_THROWS_WITH_AS(run_training(config, {"train"}), doctest::Contains("Not a directory"),
                         DataError);
    config.run.out = (temporary.path() / "new/run").string();
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK_FALSE(fs::exists(temporary.path() / "new"));
    temporary.write("old/run.json", "{}");
    config.run.out = (temporary.path() / "old").string();
    CHECK_THROWS_WITH_AS(run_training(config, {"train"}), doctest::Contains("holds a run already"),
                         UsageError);
    config.run.resume = "auto";
    CHECK(run_training(config, {"train"}) == kDone);
    CHECK(std::distance(fs::directory_iterator(config.run.out), {}) == 1);
  }

  TEST_CASE("numbers that are not finite stop the run, name the op and keep the batch") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.optim.lr = 1e30;
    config.optim.lr_warmup = {};
    config.run.steps = 20;
    std::string message;
    try {
      run_training(config, {"train"});
    } catch (const NonFiniteError& error) {
      message = error.what();
    }
    CHECK(message.find("not finite") != std::string::npos);
    CHECK(message.find("in resnet18 > ") != std::string::npos);
    const auto at = message.find("nonfinite/step-");
    REQUIRE(at != std::string::npos);
    const auto batch = read_safetensors(temporary.path() / "run" / message.substr(at, 35)).tensors;
    CHECK(batch.at("pictures").shape() == Shape{8, 16, 16, 3});
    CHECK(batch.at("places").shape() == Shape{8, 3});
    CHECK(text_of(temporary.path() / "run/run.json").find("\"failed\"") != std::string::npos);
  }

  TEST_CASE("what cannot be trained is refused before anything is written") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.batch.size = 25;  // of 24 training pictures
    CHECK_THROWS_WITH_AS(run_training(config, {}),
                         doctest::Contains("larger than the training set"), UsageError);
    config.batch.size = 8;
    config.data.path = temporary.write("test.txt", "pictures/class0/0.png 0\n").parent_path();
    CHECK_THROWS_WITH_AS(run_training(config, {}), doctest::Contains("nothing to train on"),
                         DataError);
    config.data.path = (temporary.path() / "pictures").string();
    config.run.device = "abacus";
    CHECK_THROWS_WITH_AS(run_training(config, {}), doctest::Contains("got 'abacus'"), UsageError);
    CHECK_FALSE(fs::exists(temporary.path() / "run"));
  }

  TEST_CASE("a run that finds too little memory tells what it would have needed") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.model.width = 64;
    std::string said;
    for (const auto& [mebibytes, text] :
         {std::pair{120, "planned: "}, {10, "Choose a smaller --batch"}}) {
      config.run.out = (temporary.path() / std::to_string(mebibytes)).string();
      const MemoryLimit limit(Device::cpu, std::int64_t{mebibytes} << 20);
      try {
        run_training(config, {});
      } catch (const OutOfMemory& error) {
        said = error.message();
      }
      CHECK_MESSAGE(said.find(text) != std::string::npos, said);
      CHECK(said.find("GiB would hold") == std::string::npos);  // of the machine: not ours to take
    }
  }

  TEST_CASE("a thousand steps ask the system for nothing once warm, and give back what they took") {
    const auto model =
        build_model({.arch = "resnet18", .stem = "compact", .width = 8, .embed_dim = 8}, 1);
    Optimizer optimizer(group_parameters(model->parameters(), {}), {});
    Tensor images({4, 8, 8, 3}, DType::f32);
    fill_normal(images, Philox(0, 0), 0, 1);
    TrainingStep training_step(
        [&](const std::vector<Tensor>& batch) { return sum((*model)(batch[0])); }, optimizer);
    std::int64_t blocks = 0, in_use = 0, changes = 0;
    for (int step = 0; step < 1000; ++step) {
      training_step.run({images}, 1e-3);
      training_step.take();
      optimizer.zero_gradients();
      const MemoryReport report = memory_report(Device::cpu);
      if (step >= 2) changes += report.system_requests != blocks || report.in_use != in_use;
      blocks = report.system_requests;
      in_use = report.in_use;
    }
    CHECK(changes == 0);
  }

  TEST_CASE("the process does not grow over twenty epochs") {
    TempFolder temporary;
    Config config =
        small_config(draw_pictures(temporary.path() / "pictures"), temporary.path() / "run");
    config.run.steps = 0;
    config.run.epochs = 24;
    config.run.protocol = "paper";
    config.run.eval_every = {1, Duration::Unit::epochs};
    config.log.log_every = {1, Duration::Unit::epochs};
    const auto file = temporary.write("run.toml", to_toml(config));  // in a process of its own
    REQUIRE(run_binary("train -c " + file.string() + " --quiet 2>&1").code == kDone);
    std::ifstream lines(temporary.path() / "run/train.jsonl");
    std::vector<double> mebibytes;
    for (std::string line; std::getline(lines, line);)
      mebibytes.push_back(nlohmann::json::parse(line)["process_mib"]);
    REQUIRE(mebibytes.size() == 24);
    // A fragment or a thread's arena more or less is not growth.
    CHECK(*std::max_element(mebibytes.begin() + 4, mebibytes.end()) < mebibytes[3] + 4);
  }
}
