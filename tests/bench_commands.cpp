// proxent bench: every benchmark runs, does the work it says, and prints what it measured.
#include <algorithm>
#include <map>

#include "losses/multi_proxy_entropy.h"
#include "tensor/gpu.h"
#include "tensor/matmul.h"
#include "tensor/random.h"
#include "tensor/similarity.h"
#include "tests/run_binary.h"
#include "tests/small_run.h"
#include "tests/temp_folder.h"
#include "train/clock.h"
#include "train/safetensors.h"

TEST_SUITE("bench commands") {
  using namespace proxent;

  TEST_CASE("bench step trains") {
    const auto found = run_json(
        "bench step --arch resnet18 --size 32 --batch 4 --classes 5 --steps 2 --warm-up 1");
    CHECK(found["batch"] == 4);
    CHECK(found["ms_step"].get<double>() > 0);
    CHECK(found["img_s"].get<double>() ==
          doctest::Approx(4000 / found["ms_step"].get<double>()).epsilon(0.01));
    CHECK(found["peak_bytes"].get<std::int64_t>() > 11'000'000 * 4 * 2);  // weights and gradients
    CHECK(found["losses"].size() == 3);
    for (const auto& loss : found["losses"]) CHECK(loss.get<double>() > 0);
    CHECK(found["first_gradient_norm"].get<double>() > 0);
    const auto again = run_json(
        "bench step --arch resnet18 --size 32 --batch 4 --classes 5 --steps 2 --warm-up 1 "
        "--recompute block");
    CHECK(again["losses"] == found["losses"]);
  }

  TEST_CASE("bench step trains with proxies, and leaves what PyTorch may start from") {
    TempFolder temporary;
    const std::string file = (temporary.path() / "start.safetensors").string();
    const auto found = run_json(
        "bench step --arch resnet18 --size 32 --batch 6 --loss mpl --classes 5 --proxies 3 "
        "--dim 16 --optim adamw --steps 8 --warm-up 0 --device cpu --start-file " +
        file);
    CHECK(found["losses"].size() == 8);
    CHECK(found["losses"].back().get<double>() < found["losses"].front().get<double>());
    const TensorMap start = read_safetensors(file).tensors;
    CHECK(start.at("images").shape() == Shape{6, 32, 32, 3});
    CHECK(start.at("images").dtype() == DType::u8);
    CHECK(start.at("labels").shape() == Shape{6});
    CHECK(start.at("proxies").shape() == Shape{5, 3, 16});
    CHECK(start.at("embedding.weight").shape() == Shape{16, 512});
    CHECK(start.at("conv1.weight").shape() == Shape{64, 3, 7, 7});  // as PyTorch has it
    double sum = 0;
    for (const double pixel : start.at("images").to_vector<double>()) sum += pixel;
    CHECK(sum / (6 * 32 * 32 * 3) == doctest::Approx(127.5).epsilon(0.02));
  }

  // What must hold of a `bench layers` of resnet18, 32 px, batch 2, dim 24, whatever the times are.
  void check_layers(const nlohmann::json& found, std::int64_t element_bytes, bool has_bits) {
    const auto& layers = found["layers"];
    const double bandwidth = found["ceilings"]["copy_gb_s"].get<double>() * 1e9;
    const double peak = found["ceilings"]["matmul_tflop_s"].get<double>() * 1e12;
    std::map<std::string, std::int64_t> calls, bytes, flop;
    double seconds = 0, floor_seconds = 0;
    for (const auto& layer : layers) {
      const std::string direction = layer["direction"];
      const auto count = layer["calls"].get<std::int64_t>();
      calls[direction] += count;
      bytes[direction] += count * layer["bytes"].get<std::int64_t>();
      flop[direction] += count * layer["flop"].get<std::int64_t>();
      seconds += static_cast<double>(count) * layer["seconds"].get<double>();
      floor_seconds += static_cast<double>(count) * layer["floor_seconds"].get<double>();
      const double moving = layer["bytes"].get<double>() / bandwidth;
      const double computing = layer["flop"].get<double>() / peak;
      CHECK(layer["floor_seconds"].get<double>() ==
            doctest::Approx(std::max(moving, computing)).epsilon(1e-9));
      CHECK(layer["share_of_roofline"].get<double>() ==
            doctest::Approx(layer["floor_seconds"].get<double>() / layer["seconds"].get<double>()));
    }
    // ResNet-18: 20 convolutions, of which the first one's dx nobody wants, 20 batch norms, the
    // stem's pool and the global one, and the embedding.
    CHECK(calls == std::map<std::string, std::int64_t>{{"conv", 20},
                                                       {"conv dx", 19},
                                                       {"conv dw", 20},
                                                       {"norm", 20},
                                                       {"norm back", 20},
                                                       {"pool", 2},
                                                       {"pool back", 2},
                                                       {"linear", 1},
                                                       {"linear dx", 1},
                                                       {"linear dw", 1}});
    // Twice the multiply-adds of torchvision's resnet18 without fc at 224 px, of which 32 px have
    // 1 / 49, for two pictures.
    CHECK(flop["conv"] == 4LL * 1'813'561'344 / 49);
    CHECK(flop["conv dw"] == flop["conv"]);
    const std::int64_t stem = 2LL * 2 * 16 * 16 * 64 * 7 * 7 * 3;
    CHECK(flop["conv dx"] == flop["conv"] - stem);
    CHECK(flop["norm"] == 0);
    CHECK(bytes["conv dw"] == bytes["conv"]);
    // Elements that the 20 batch norms see, and of those the 8 that end a block's branch.
    const std::int64_t all =
        2 * (16 * 16 * 64 + 4 * 8 * 8 * 64 + 5 * (4 * 4 * 128 + 2 * 2 * 256 + 1 * 1 * 512));
    const std::int64_t ends = 2 * 2 * (8 * 8 * 64 + 4 * 4 * 128 + 2 * 2 * 256 + 512);
    CHECK(bytes["norm"] == (3 * all + ends) * element_bytes + (has_bits ? ends / 8 : 0));
    CHECK(bytes["norm back"] ==
          (5 * all + ends) * element_bytes + (has_bits ? ends / 8 : ends * element_bytes));
    // The stem's pool reads 16 x 16 pixels and writes 8 x 8 and a byte for each; the other one
    // reads one pixel and writes it.
    const std::int64_t pooled = 2 * 8 * 8 * 64;
    CHECK(bytes["pool"] == (5 * element_bytes + 1) * pooled + 2 * 2 * 512 * element_bytes);
    CHECK(bytes["pool back"] == bytes["pool"]);
    CHECK(bytes["linear"] == (2 * 512 + 512 * 24 + 2 * 24) * 4);  // f32 whatever images are
    CHECK(flop["linear"] == 2 * 2 * 512 * 24);
    CHECK(flop["linear dx"] == flop["linear"]);
    CHECK(flop["linear dw"] == flop["linear"]);
    const auto& total = found["sums"].back();
    CHECK(total["direction"] == "all");
    CHECK(total["seconds"].get<double>() == doctest::Approx(seconds));
    CHECK(total["share_of_roofline"].get<double>() == doctest::Approx(floor_seconds / seconds));
  }

  TEST_CASE("bench layers times each layer once and counts what a step does") {
    const std::string small =
        "bench layers --arch resnet18 --size 32 --batch 2 --dim 24 --rounds 1";
    check_layers(run_json(small + " --device cpu"), 4, false);
    if (gpu_report().problem.empty()) {
      const auto found = run_json(small + " --device cuda --precision bf16");
      CHECK(found["precision"] == "bf16");
      check_layers(found, 2, true);
    }
    const Outcome text = run_binary(small + " --device cpu");
    CHECK(text.code == 0);
    for (const char* part :
         {"of roofline", "32x32x3 > 64, 7x7/2", "1x1x512 add relu", "3x3/2 max", "1x1x512 mean",
          "512 > 24", "a step", "ceilings, measured in this run: copy "})
      CHECK_MESSAGE(text.out.find(part) != std::string::npos, part);
    const Outcome half = run_binary(small + " --device cpu --precision bf16 2>&1");
    CHECK(half.code == 2);
    CHECK(half.out.find("needs a GPU") != std::string::npos);
  }

  TEST_CASE("bench step lets a profiler collect some of its steps") {
    const std::string small =
        "bench step --arch resnet18 --size 32 --batch 2 --classes 5 --steps 2 --warm-up 1 ";
    const Outcome on_cpu = run_binary(small + "--device cpu --profile-steps 2:3 2>&1");
    CHECK(on_cpu.code == 2);
    CHECK(on_cpu.out.find("this computes on the CPU") != std::string::npos);
    if (!gpu_report().problem.empty()) return;
    for (const char* graphs : {"on", "off"})
      CHECK(run_binary(small + "--device cuda --profile-steps 2:3 --cuda-graphs " + graphs).code ==
            0);
    const Outcome late = run_binary(small + "--device cuda --profile-steps 2:4 2>&1");
    CHECK(late.code == 2);
    CHECK(late.out.find("only 3 steps will be made") != std::string::npos);
  }

  TEST_CASE("bench loss compares equal gradients") {
    const TempFolder temporary;
    const std::string file = (temporary.path() / "start.safetensors").string();
    const auto found = run_json(
        "bench loss --batch 8 --classes 50 --proxies 3 --dim 16 --rounds 2 --start-file " + file);
    CHECK(found["gradient_difference"].get<double>() < 1e-5);
    CHECK(found["fused"]["loss"].get<double>() ==
          doctest::Approx(found["composed"]["loss"].get<double>()).epsilon(1e-5));
    CHECK(found["ratio_min"] <= found["ratio"]);
    CHECK(found["matrix_bytes"] == 8 * 50 * 3 * 4);
    const TensorMap start = read_safetensors(file).tensors;
    const Variable loss =
        multi_proxy_entropy(start.at("embeddings"), start.at("proxies"), start.at("labels")).loss;
    CHECK(loss.value().item() == doctest::Approx(found["fused"]["loss"].get<double>()));
  }

  TEST_CASE("bench knn reports what it did") {
    const auto found = run_json("bench knn --rows 300 --dim 8 --classes 30 --recall-at 1,5");
    CHECK(found["rows"] == 300);
    CHECK(found["seconds"].get<double>() > 0);
    CHECK(found["peak_bytes"].get<std::int64_t>() > 300 * 8 * 4);
    CHECK(found["r@5"] >= found["r@1"]);
  }

#ifdef NDEBUG  // a release: sanitizers and counters of coverage slow our loops, not oneDNN's
  // Sums that do not fit the registers of a processor go through memory: no result tells, and the
  // time is three to twenty times as long. Ratios are 5 and 1 where they fit, and were 0.1 and 4
  // where they did not.
  TEST_CASE("inner loops keep their sums in registers") {
    const auto loss = run_json("bench loss --batch 128 --classes 1000 --dim 256 --rounds 5");
    CHECK(loss["ratio"].get<double>() > 0.7);

    Tensor x({1024, 512}, DType::f32);
    fill_uniform(x, Philox(1, 1), -1, 1);
    double product = 1e9, similarity = 1e9;
    for (int round = 0; round < 5; ++round) {
      Stopwatch watch;
      (void)matmul(x, x, {.transpose_b = true});
      product = std::min(product, watch.seconds());
      watch = Stopwatch();
      (void)similarities(x, x, Similarity::dot);
      similarity = std::min(similarity, watch.seconds());
    }
    CHECK(similarity < 2.5 * product);
  }
#endif

#if defined(__FMA__) && (defined(__clang__) || !defined(PROXENT_SANITIZE_ADDRESS))
  // Where the CPU fuses multiply and add, too; under sanitizers GCC does not.
  TEST_CASE("bench knn finds the same on the GPU, or its emulation") {
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped: ", problem);
      return;
    }
    const std::string arguments = "bench knn --rows 200 --dim 8 --classes 30 --recall-at 1,5";
    const auto here = run_json(arguments + " --device cpu"),
               there = run_json(arguments + " --device cuda");
    CHECK(there["device"].get<std::string>().starts_with("cuda"));
    CHECK(there["peak_bytes"].get<std::int64_t>() > 200 * 8 * 4);
    for (const char* key : {"r@1", "r@5", "map@r", "rp"}) CHECK(there[key] == here[key]);
  }
#endif

  TEST_CASE("bench loader takes batches of the user's own pictures") {
    const TempFolder folder;
    draw_pictures(folder.path());
    const auto json = run_json("bench loader --data '" + folder.path().string() +
                               "' --image-size 16 --resize 16 --batch 8 --workers 3 --batches 4 "
                               "--decoder stb");
    CHECK(json["jpeg_decoder"] == "stb_image");
    CHECK(json["batch"] == 8);
    CHECK(json["batches"] == 4);
    CHECK(json["img_s"] > 0);
  }

  TEST_CASE("sizes of 0 are refused") {
    for (const char* arguments :
         {"step --batch 0", "loss --classes 0", "layers --size 0", "knn --rows 0"}) {
      const Outcome outcome = run_binary("bench " + std::string(arguments) + " 2>&1");
      CHECK_MESSAGE(outcome.code == 2, arguments);
      CHECK_MESSAGE(outcome.out.find("at least 1, got '0'") != std::string::npos, outcome.out);
    }
  }
}
