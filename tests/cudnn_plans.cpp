// Every convolution of the backbones becomes a finalised cuDNN plan for three chips, without a GPU:
// tests/devices describes the chips. What cuDNN would refuse there fails here.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "layers/bn_inception.h"
#include "layers/census.h"
#include "tensor/cuda/cudnn_conv.h"
#include "tensor/cuda/plan_cache.h"
#include "tensor/gpu.h"
#include "tests/text_of.h"

TEST_SUITE("cudnn") {
  using namespace proxent;
  using cudnn::ConvDirection;
  using cudnn::ConvKey;
  using cudnn::ExecutionPlan;
  using cudnn::Target;

  const std::vector<std::string> kChips = {"sm_80", "sm_89", "sm_90"};
  constexpr ConvDirection kDirections[] = {ConvDirection::forward, ConvDirection::dx,
                                           ConvDirection::dx_into, ConvDirection::dw};

  const Target& chip(const std::string& name) {
    static std::map<std::string, Target> targets;
    if (const auto found = targets.find(name); found != targets.end()) return found->second;
    const std::string json = text_of(PROXENT_SOURCE_DIR "/tests/devices/" + name + ".json");
    return targets.emplace(name, Target::described(json, name)).first->second;
  }

  ConvKey key_of(const ConvCall& call, ConvDirection direction, DType dtype,
                 const GpuMath& math = {}, std::int64_t alignment = cudnn::kBestAlignment) {
    return {direction, call.x, call.w, call.options, dtype, alignment, math};
  }

  // Each once.
  const std::vector<ConvCall>& backbone_layers() {
    static const std::vector<ConvCall> layers = [] {
      std::vector<ConvCall> all, once;
      const auto add = [&](const Census& census, std::size_t count) {
        const std::vector<ConvCall>& found = census.convolutions;
        CHECK(found.size() == count);
        all.insert(all.end(), found.begin(), found.end());
      };
      for (const Stem stem : {Stem::imagenet, Stem::small}) {
        const std::int64_t pixels = stem == Stem::imagenet ? 224 : 32;
        add(census_of({.depth = 18, .stem = stem}, pixels, 128), 20);
        add(census_of({.depth = 34, .stem = stem}, pixels, 128), 36);
        add(census_of({.depth = 50, .stem = stem}, pixels, 128), 53);
      }
      BnInception inception(nullptr, "bn-inception");
      add(census_of(inception, 224, 128), 69);
      for (const auto& [call, count] : distinct(all)) once.push_back(call);
      return once;
    }();
    return layers;
  }

  struct Precision {
    std::string name;
    DType dtype;
    bool uses_tf32;
    // The least share of plans on tensor cores. cuDNN prefers plain arithmetic for a few layers
    // that wait for memory anyway, and in TF32 for many more on sm_89, where it is no faster.
    double on_tensor_cores;
  };
  const std::vector<Precision> kPrecisions = {{"f32", DType::f32, false, 0},
                                              {"tf32", DType::f32, true, 0.7},
                                              {"bf16", DType::bf16, false, 0.98},
                                              {"f16", DType::f16, false, 0.98}};

  // Plans that were built: how many, how many of them on tensor cores, the most workspace, and how
  // many sums are made by the engine that would make dx alone.
  struct Tally {
    int plans = 0, on_tensor_cores = 0, sums_as_dx = 0;
    std::int64_t workspace = 0;
    void add(const ExecutionPlan& plan) {
      ++plans;
      on_tensor_cores += plan.config().has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
      workspace = std::max(workspace, plan.workspace());
    }
  };

  // All that a plan is but what it computes.
  nlohmann::json engine_of(const ExecutionPlan& plan) {
    auto json = nlohmann::json::parse(plan.json());
    json.erase("operationGraph");
    return json;
  }

  Tally plans_of_all_layers(const Target& target, const Precision& precision) {
    const GpuMath math{.uses_tf32 = precision.uses_tf32};
    Tally tally;
    nlohmann::json engine_of_dx;
    for (const ConvCall& layer : backbone_layers())
      for (const ConvDirection direction : kDirections) {
        const ConvKey key = key_of(layer, direction, precision.dtype, math);
        INFO(detail::concat(key));
        std::vector<ExecutionPlan> plans;
        CHECK_NOTHROW(plans = cudnn::conv_plans(key, target, 1));
        if (plans.size() != 1) continue;
        CHECK(plans.front().workspace() <= math.workspace_limit);
        tally.add(plans.front());
        if (direction == ConvDirection::dx) engine_of_dx = engine_of(plans.front());
        if (direction == ConvDirection::dx_into)
          tally.sums_as_dx += engine_of(plans.front()) == engine_of_dx;
      }
    return tally;
  }

  TEST_CASE("every convolution of the backbones has a plan on every chip in every precision") {
    const int wanted = static_cast<int>(backbone_layers().size() * std::size(kDirections));
    for (const std::string& name : kChips) {
      const auto start = std::chrono::steady_clock::now();
      std::ostringstream text;
      for (const Precision& precision : kPrecisions) {
        INFO(name, " ", precision.name);
        const Tally tally = plans_of_all_layers(chip(name), precision);
        CHECK(tally.plans == wanted);
        if (precision.on_tensor_cores == 0) CHECK(tally.on_tensor_cores == 0);
        CHECK(tally.on_tensor_cores >= precision.on_tensor_cores * tally.plans);
        text << precision.name << " " << tally.plans << ", " << tally.workspace / (1 << 20)
             << " MiB, " << tally.sums_as_dx << "; ";
      }
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      MESSAGE(name, ": plans, largest workspace, sums by the engine of dx: ", text.str(),
              seconds.count(), " s");
    }
  }

  const ConvCall kLayer{{128, 56, 56, 64}, {64, 3, 3, 64}, {.padding = 1}};

  std::string complaint(const ConvKey& key, const Target& target) {
    try {
      cudnn::conv_plans(key, target, 1);
    } catch (const CudnnError& error) {
      return error.message();
    }
    return {};
  }

  TEST_CASE("f64 and addresses that are hardly aligned have plans too") {
    for (const auto& [dtype, alignment] : std::vector<std::pair<DType, std::int64_t>>{
             {DType::f64, 16}, {DType::f64, 8}, {DType::f32, 4}, {DType::bf16, 2}, {DType::f16, 2}})
      for (const ConvDirection direction : kDirections)
        CHECK(complaint(key_of(kLayer, direction, dtype, {}, alignment), chip("sm_90")) == "");
  }

  // The rows of the op table, which is the first that a GPU is asked to compute: channels that no
  // tensor core likes.
  TEST_CASE("small and odd convolutions have plans in every dtype") {
    const std::vector<ConvCall> rows = {
        {{2, 4, 3, 5}, {3, 1, 1, 5}, {}},
        {{2, 5, 4, 3}, {7, 1, 1, 3}, {.stride = 2}},
        {{2, 5, 4, 3}, {4, 3, 3, 3}, {.padding = 1}},
        {{1, 4, 5, 2}, {3, 3, 3, 2}, {}},
        {{2, 6, 5, 3}, {5, 3, 3, 3}, {.stride = 2, .padding = 1}},
        {{1, 9, 8, 3}, {4, 7, 7, 3}, {.stride = 2, .padding = 3}},
        {{1, 7, 8, 2}, {3, 2, 5, 2}, {.stride = 3, .padding = 2}},
        {{1, 3, 3, 13}, {17, 3, 3, 13}, {.padding = 1}},
        {{1, 1, 1, 1}, {1, 1, 1, 1}, {}},
    };
    for (const std::string name : {"sm_80", "sm_90"})
      for (const ConvCall& row : rows)
        for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16})
          for (const ConvDirection direction : kDirections)
            CHECK(complaint(key_of(row, direction, dtype), chip(name)) == "");
  }

  TEST_CASE("what cuDNN refuses is an error that names it") {
    const ConvCall too_small{{8, 2, 2, 64}, {64, 3, 3, 64}, {}};  // the window does not fit once
    CHECK(complaint(key_of(too_small, ConvDirection::forward, DType::f32), chip("sm_90"))
              .starts_with("cuDNN refuses conv2d of x (8, 2, 2, 64), w (64, 3, 3, 64), stride 1, "
                           "padding 0 in f32: CUDNN_STATUS_BAD_PARAM, "));
    const std::string none =
        complaint(key_of(kLayer, ConvDirection::dx, DType::bf16), chip("sm_75"));
    CHECK(none ==
          "conv2d_dx of x (128, 56, 56, 64), w (64, 3, 3, 64), stride 1, padding 1 in "
          "bf16: none of 0 engine configurations that cuDNN " +
              cudnn::version() +
              " proposes will do on sm_75; bf16 needs compute capability 8.0, f16 does not");
    CHECK(complaint(key_of(kLayer, ConvDirection::dx, DType::f16), chip("sm_75")) == "");
    CHECK(complaint(key_of(kLayer, ConvDirection::dx, DType::f32, {}, 2), chip("sm_90"))
              .starts_with("cuDNN refuses tensor (128, 56, 56, 64) f32: CUDNN_STATUS_BAD_PARAM"));
    CHECK_THROWS_AS(cudnn::data_type(DType::i32), Error);
    CHECK_THROWS_AS(Target::described("{}", "nothing"), CudnnError);
    CHECK_THROWS_AS(Target::described("not JSON", "nothing"), CudnnError);
  }

  // y = conv(x, w) with stride 1 and padding 1, whatever the shapes.
  cudnn::Descriptor forward_graph(const Shape& x_shape, const Shape& w_shape,
                                  const Shape& y_shape) {
    using cudnn::Descriptor;
    constexpr std::array<std::int64_t, 2> kOnes{1, 1};
    const Descriptor x = cudnn::channels_last_tensor('x', x_shape, DType::bf16, 16);
    const Descriptor w = cudnn::channels_last_tensor('w', w_shape, DType::bf16, 16);
    const Descriptor y = cudnn::channels_last_tensor('y', y_shape, DType::bf16, 16);
    Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, "convolution");
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    for (const auto attribute :
         {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_ATTR_CONVOLUTION_DILATIONS,
          CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS})
      convolution.set(attribute, kOnes);
    convolution.finalize();
    Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                         "a planted conv2d");
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
    operation.finalize();
    return cudnn::graph_of(operation, chip("sm_90"));
  }

  // On a machine with a GPU its description becomes one for tests/devices: the file that
  // DEVICE_DESCRIPTION names.
  TEST_CASE("this machine's GPU describes itself, and plans are made from that") {
    if (const std::string problem = gpu_report().problem; !problem.empty()) {
      MESSAGE("skipped: ", problem);
      return;
    }
    const std::string json = cudnn::describe_gpu(0);
    CHECK(nlohmann::json::parse(json).contains("multiProcessorCount"));
    const Target target = Target::described(json, "this GPU");
    CHECK(complaint(key_of(kLayer, ConvDirection::forward, DType::f32), target) == "");
    if (const char* path = std::getenv("DEVICE_DESCRIPTION")) {
      std::ofstream file(path);
      file << nlohmann::json::parse(json).dump(2) << "\n";
      CHECK(file.good());
    }
  }

  TEST_CASE("another major version, or one that cannot plan without a GPU, is refused") {
    CHECK_NOTHROW(cudnn::check_version());
    CHECK_NOTHROW(cudnn::check_version(90800));
    CHECK_THROWS_WITH_AS(cudnn::check_version(90701), doctest::Contains("loaded is 9.7.1;"),
                         CudnnError);
    CHECK_THROWS_WITH_AS(cudnn::check_version(8907), doctest::Contains("loaded is 8.9.7;"),
                         CudnnError);
    CHECK_THROWS_WITH_AS(cudnn::check_version(100000), doctest::Contains("loaded is 10.0.0;"),
                         CudnnError);
  }

  TEST_CASE("shapes that do not belong together are refused") {
    const Shape x{8, 14, 14, 64}, w{32, 3, 3, 64}, y{8, 14, 14, 32};
    const auto proposals = [](const cudnn::Descriptor& graph) {
      return cudnn::proposals(graph, CUDNN_HEUR_MODE_B, chip("sm_90")).size();
    };
    CHECK(proposals(forward_graph(x, w, y)) > 0);
    CHECK_THROWS_WITH_AS(forward_graph(x, w, y.with(1, 13)),
                         doctest::Contains("cuDNN refuses a planted conv2d"), CudnnError);
    CHECK_THROWS_AS(forward_graph(x, w, y.with(3, 48)), CudnnError);
    CHECK_THROWS_AS(forward_graph(x, w.with(3, 48), y), CudnnError);
  }

  TEST_CASE("a plan keeps to its workspace limit, exactness and order of summation") {
    const ConvCall stem{{128, 224, 224, 3}, {64, 7, 7, 3}, {.stride = 2, .padding = 3}};
    const auto plan = [&](const GpuMath& math) {
      return std::move(
          cudnn::conv_plans(key_of(stem, ConvDirection::dw, DType::f32, math), chip("sm_80"), 1)
              .front());
    };
    const ExecutionPlan roomy = plan({.uses_tf32 = true});
    CHECK(roomy.workspace() > (1 << 20));
    CHECK(roomy.config().has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
    CHECK(plan({.uses_tf32 = true, .workspace_limit = 1 << 20}).workspace() <= 1 << 20);
    CHECK(plan({.uses_tf32 = true, .workspace_limit = 0}).workspace() == 0);
    CHECK_FALSE(plan({}).config().has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE));

    const ConvKey key = key_of(stem, ConvDirection::dw, DType::f32);
    const ConvKey loose = key_of(stem, ConvDirection::dw, DType::f32, {.is_deterministic = false});
    cudnn::EngineConfig engine{
        cudnn::Descriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "an engine of no graph")};
    CHECK(cudnn::is_exact_enough(engine, key));
    engine.numerical_notes = {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
    CHECK_FALSE(cudnn::is_exact_enough(engine, key));
    CHECK(cudnn::is_exact_enough(engine, loose));
    engine.numerical_notes = {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION};
    CHECK_FALSE(cudnn::is_exact_enough(engine, loose));
  }

  TEST_CASE("several plans for timing are different ones, in cuDNN's order") {
    const ConvKey key = key_of(kLayer, ConvDirection::forward, DType::bf16);
    const auto one = cudnn::conv_plans(key, chip("sm_90"), 1);
    const auto many = cudnn::conv_plans(key, chip("sm_90"), 8);
    REQUIRE(many.size() == 8);
    CHECK(one.front().json() == many.front().json());
    std::set<std::string> distinct;
    for (const ExecutionPlan& plan : many) {
      CHECK(nlohmann::json::parse(plan.json()).is_object());
      distinct.insert(plan.json());
    }
    CHECK(distinct.size() == many.size());
  }

  TEST_CASE("a plan is made once for each key") {
    cuda::PlanCache<ConvKey, int> cache;
    int made = 0;
    const auto plan_of = [&](const ConvKey& key) {
      return *cache.find_or_make(key, [&] { return ++made; });
    };
    const ConvKey key = key_of(kLayer, ConvDirection::forward, DType::bf16);
    CHECK(plan_of(key) == 1);
    CHECK(plan_of(key_of(kLayer, ConvDirection::forward, DType::bf16)) == 1);

    ConvCall other = kLayer;
    other.options.stride = 2;
    const std::vector<ConvKey> others = {
        key_of(kLayer, ConvDirection::dx, DType::bf16),
        key_of(kLayer, ConvDirection::forward, DType::f16),
        key_of(kLayer, ConvDirection::forward, DType::bf16, {.uses_tf32 = true}),
        key_of(kLayer, ConvDirection::forward, DType::bf16, {.is_deterministic = false}),
        key_of(kLayer, ConvDirection::forward, DType::bf16, {.timed_engines = 5}),
        key_of(kLayer, ConvDirection::forward, DType::bf16, {.workspace_limit = 0}),
        key_of(kLayer, ConvDirection::forward, DType::bf16, {}, 8),
        key_of(other, ConvDirection::forward, DType::bf16)};
    for (int round = 0; round < 2; ++round)
      for (std::size_t i = 0; i < others.size(); ++i)
        CHECK(plan_of(others[i]) == static_cast<int>(i) + 2);

    // A plan that could not be made is not kept.
    const ConvKey fails = key_of(kLayer, ConvDirection::dw, DType::bf16);
    CHECK_THROWS_AS(cache.find_or_make(fails, []() -> int { fail("no plan"); }), Error);
    CHECK(plan_of(fails) == static_cast<int>(others.size()) + 2);
  }
}
