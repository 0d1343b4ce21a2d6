#include "train/checkpoint.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "layers/linear.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"

namespace proxent {
namespace {

template <class F>
std::string complaint(F&& f) {
  try {
    f();
    return "";
  } catch (const DataError& error) {
    return error.message();
  }
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST_SUITE("checkpoint") {
  TEST_CASE("what a weights file is from reads back exactly") {
    const CheckpointInfo info{.arch = "resnet18",
                              .config = "[optim]\nlr = 1e-4 # \"quoted\"\n",
                              .step = 1200,
                              .epoch = 3,
                              .metric = "r@1 (val)",
                              .value = 0.1 + 0.2,
                              .selection = "val-selected"};
    const CheckpointInfo back = checkpoint_info(to_texts(info), "f");
    CHECK(back.arch == info.arch);
    CHECK(back.config == info.config);
    CHECK(back.step == 1200);
    CHECK(back.epoch == 3);
    CHECK(back.metric == info.metric);
    CHECK(back.value == info.value);
    CHECK(back.selection == info.selection);
    CHECK(std::isnan(checkpoint_info(to_texts(CheckpointInfo{}), "f").value));
    CHECK(to_texts(info).at("format") == "pt");

    CHECK(complaint([] {
            checkpoint_info({{"format", "pt"}}, "w.safetensors");
          }) == "w.safetensors: the metadata lack 'arch'; proxent did not write this file");
    TextMap texts = to_texts(info);
    texts["step"] = "12x";
    CHECK(complaint([&] { checkpoint_info(texts, "f"); }) ==
          "f: the metadata 'step' should be a number, got '12x'");
    texts["step"] = "-1";
    CHECK(complaint([&] { checkpoint_info(texts, "f"); }) ==
          "f: the metadata 'step' is negative: -1");
    texts["step"] = "99999999999999999999";
    CHECK(complaint([&] { checkpoint_info(texts, "f"); }) != "");
  }

  TEST_CASE("progress reads back exactly, with and without a best value") {
    Progress progress{.step = 7, .epoch = 2, .batch = 3, .images = 840, .seconds = 1.0 / 3};
    CHECK(progress_of(to_texts(progress), "f") == progress);
    progress.best = 0.7;
    progress.best_epoch = 1;
    progress.owes_evaluation = true;
    progress.evaluated_at = 0.25;
    progress.lr_drops = {3, 5};
    progress.evals_on_plateau = 2;
    CHECK(progress_of(to_texts(progress), "f") == progress);
    TextMap texts = to_texts(progress);
    texts["lr_drops"] = "3 x";
    CHECK(complaint([&] { progress_of(texts, "f"); }) ==
          "f: the metadata 'lr_drops' should be numbers of steps, got '3 x'");
    texts.erase("lr_drops");  // as states had none before
    CHECK(progress_of(texts, "f").lr_drops.empty());
  }

  TEST_CASE("a state restores all or nothing") {
    const auto state = [](double value) {
      return TensorMap{{"a", Tensor::full({2}, DType::f32, value)},
                       {"b", Tensor::full({3}, DType::i64, value)}};
    };
    const TempFolder folder;
    const auto path = folder.path() / "last.state";
    write_state(path, {state(5), {{"sampler", "12"}}});
    const TrainingState read = read_state(path);
    CHECK(read.texts == TextMap{{"sampler", "12"}});
    TensorMap into = state(1);
    restore(into, read.tensors, "f");
    CHECK(into.at("a").to_vector<float>() == std::vector<float>{5, 5});
    CHECK(into.at("b").to_vector<std::int64_t>() == std::vector<std::int64_t>{5, 5, 5});

    TensorMap wrong = state(9);
    wrong["b"] = Tensor::full({4}, DType::i64, 9);
    wrong["c"] = Tensor::full({1}, DType::f32, 9);
    into.emplace("d", Tensor::full({1}, DType::f32, 9));
    CHECK(complaint([&] { restore(into, wrong, "f"); }) ==
          "f: this state is of another configuration, nothing was restored\n"
          "  differs: b, expected (3) i64, got (4) i64\n"
          "  missing: d\n"
          "  unexpected: c");
    CHECK(into.at("a").to_vector<float>() == std::vector<float>{5, 5});
  }

  TEST_CASE("a state that one bit was changed in gives way to the one before it") {
    const TempFolder temp;
    CheckpointFolder files(temp.path() / "ckpt");
    const auto save = [&](double value) {
      const TensorMap tensors{{"w", Tensor::full({2}, DType::f32, value)}};
      files.save_last(tensors, {}, {tensors, {{"note", "abc"}}});
    };
    std::string warning;
    const auto resumed = [&] {
      return read_newest_state(files.last_state(), [&](const auto& text) { warning = text; })
          .tensors.at("w")
          .to_vector<float>()[0];
    };
    // Of the last byte of the tensor, and of the text.
    const auto damage = [](const std::filesystem::path& path, std::string_view where) {
      std::string bytes = text_of(path);
      bytes[where.empty() ? bytes.size() - 1 : bytes.find(where)] ^= 1;
      std::ofstream(path, std::ios::binary) << bytes;
    };
    save(1);
    CHECK(complaint([&] {
            damage(files.last_state(), "");
            resumed();
          }).find("damaged, its checksum should be") != std::string::npos);
    for (const std::string_view where : {"", "abc"}) {
      CAPTURE(where);
      warning.clear();
      save(2);
      save(3);
      CHECK(resumed() == 3);
      CHECK(warning.empty());
      // The file that was saved before must not be the same one, which linking could make it.
      damage(files.last_state(), where);
      CHECK(resumed() == 2);
      CHECK(warning.find("previous.state") != std::string::npos);
      // Nor does a save put the damaged one in the place of the one that is whole.
      save(4);
      damage(files.last_state(), where);
      CHECK(resumed() == 2);
    }
    std::filesystem::remove(files.last_state());
    CHECK(resumed() == 2);
    damage(state_before(files.last_state()), "");
    CHECK(complaint(resumed).find("and the one before it") != std::string::npos);
  }

  TEST_CASE("weights that one bit was changed in are refused") {
    const TempFolder folder;
    CheckpointFolder files(folder.path());
    Linear layer(nullptr, "", 3, 2);
    files.save_best(weights_of({&layer}), {.arch = "linear"});
    load_weights({&layer}, files.best_weights());
    std::string bytes = text_of(files.best_weights());
    bytes.back() ^= 1;
    std::ofstream(files.best_weights(), std::ios::binary) << bytes;
    CHECK(complaint([&] {
            load_weights({&layer}, files.best_weights());
          }).find("damaged, its checksum should be") != std::string::npos);
  }

  TEST_CASE("weights are not taken for a state") {
    const TempFolder folder;
    const auto path = folder.path() / "last.safetensors";
    write_safetensors(path, {}, {{"format", "pt"}});
    CHECK(complaint([&] { read_state(path); }) ==
          path.string() + ": not the state of a run; resume from ckpt/last.state");
    write_safetensors(path, {});
    CHECK(complaint([&] { read_state(path); }) != "");
  }

  TEST_CASE("the folder keeps last, best and the newest few steps") {
    const TempFolder folder;
    const auto ckpt = folder.path() / "run" / "ckpt";
    CheckpointFolder files(ckpt, 2);
    folder.write("run/ckpt/step-mine.safetensors", std::string_view("not ours to remove"));
    const auto weights = [](double value) {
      return TensorMap{{"w", Tensor::full({2}, DType::f32, value)}};
    };
    for (const std::int64_t step : {90'000'000, 100'000'000, 110'000'000}) {
      files.save_last(weights(static_cast<double>(step)), {.step = step}, {weights(1), {}});
      if (step == 100'000'000) files.save_best(weights(2), {.step = step});
    }
    CHECK(names_in(ckpt) ==
          std::vector<std::string>{"best.safetensors", "last.safetensors", "last.state",
                                   "previous.state", "step-100000000.safetensors",
                                   "step-110000000.safetensors", "step-mine.safetensors"});
    const SafetensorsFile last = read_safetensors(files.last_weights());
    CHECK(last.tensors.at("w").to_vector<float>()[0] == 110'000'000);
    CHECK(checkpoint_info(last.metadata, "f").step == 110'000'000);
    CHECK(read_safetensors(files.best_weights()).tensors.at("w").to_vector<float>()[0] == 2);

    CheckpointFolder plain(folder.path() / "plain");
    plain.save_last(weights(1), {.step = 1}, {weights(1), {}});
    CHECK(names_in(folder.path() / "plain") ==
          std::vector<std::string>{"last.safetensors", "last.state"});
    folder.write("file", std::string_view("x"));
    CHECK(complaint([&] { CheckpointFolder(folder.path() / "file" / "ckpt"); }) != "");
  }
}

}  // namespace
}  // namespace proxent
