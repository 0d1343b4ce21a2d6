// The GPU as tensors see it: what is refused where there is none, and where there is one (or its
// emulation) memory, copies, conversions, errors. The ops have their rows in train/op_table.cpp.
#include "tensor/gpu.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/cross_entropy.h"
#include "tensor/gather.h"
#include "tensor/pointwise.h"
#include "tensor/random.h"
#include "tensor/reduce.h"
#include "tensor/softmax.h"
#include "tensor/upload.h"
#include "tests/devices.h"
#include "tests/tensors.h"

#ifdef PROXENT_CUDA_EMULATED
#include <nvtx3/nvToolsExt.h>

#include "tensor/cuda/runtime.h"
#include "tests/cuda_emulator/emulator.h"
#endif

namespace proxent {
namespace {
constexpr Device kGpu = Device::cuda;

Tensor uniform(const Shape& shape, double low, double high) {
  Tensor x(shape, DType::f32);
  fill_uniform(x, Philox(0, stream_of("tests/gpu.cpp")), low, high);
  return x;
}

constexpr DType kDTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                             DType::i32, DType::u8,  DType::i64};

#ifdef PROXENT_CUDA_EMULATED
__global__ void faulty_kernel() {
  if (threadIdx.x > 0) __syncthreads();
}
#endif
}  // namespace
}  // namespace proxent

TEST_SUITE("gpu") {
  using namespace proxent;

  TEST_CASE("code runs on its own architecture, newer minor ones, and newer ones through PTX") {
    CHECK(has_code_for("80 90", 8, 0));
    CHECK(has_code_for("80 90", 8, 9));
    CHECK(has_code_for("80 90", 9, 0));
    CHECK(has_code_for("80 90", 10, 0));
    CHECK_FALSE(has_code_for("80 90", 7, 5));
    CHECK_FALSE(has_code_for("86", 8, 0));
    CHECK(has_code_for("80-real", 8, 6));
    CHECK_FALSE(has_code_for("80-real 90a", 10, 0));
    CHECK(has_code_for("90a", 9, 0));
    CHECK(has_code_for("native", 9, 0));
    CHECK_FALSE(has_code_for("", 9, 0));
  }

  TEST_CASE("without a GPU every use of it says why") {
    const GpuReport report = gpu_report();
    if (report.problem.empty()) return;
    INFO(report.problem);
    CHECK_THROWS_WITH_AS(select_gpu(0), doctest::Contains(report.problem.c_str()), CudaError);
    CHECK_THROWS_AS(Tensor::zeros({3}, DType::f32, kGpu), Error);
    if (report.is_built)
      CHECK_THROWS_WITH_AS(Tensor::zeros({3}, DType::f32, kGpu),
                           doctest::Contains(report.problem.c_str()), CudaError);
    CHECK(Tensor::zeros({3}, DType::f32).to_vector<float>() == std::vector<float>(3));
    synchronize(Device::cpu);
  }

  TEST_CASE("a GPU that is not there is refused by number") {
    if (!has_gpu()) return;
    CHECK_THROWS_WITH_AS(select_gpu(99), doctest::Contains("cuda:99: this machine has "),
                         CudaError);
    CHECK_THROWS_WITH_AS(select_gpu(-1), doctest::Contains("cuda:-1: this machine has "),
                         CudaError);
    const GpuMemory memory = gpu_memory();
    CHECK(memory.total > 0);
    CHECK(memory.free <= memory.total);
  }

  TEST_CASE("elements travel to the GPU and back") {
    if (!has_gpu()) return;
    for (const std::int64_t n : {0, 1, 3, 1000, 300'001}) {
      const Tensor x = uniform({n}, -1, 1);
      const Tensor there = x.to(kGpu);
      CHECK(there.device() == kGpu);
      CHECK(there.shape() == x.shape());
      CHECK(there.to(kGpu).storage() == there.storage());
      CHECK(there.to_vector<float>() == x.to_vector<float>());
      CHECK(there.clone().to_vector<double>() == x.to_vector<double>());
    }
    CHECK(Tensor::full({}, DType::f32, 2.5, kGpu).item() == 2.5);
    CHECK(detail::concat(kGpu) == "cuda");

    Tensor x = Tensor::zeros({4, 3}, DType::i32, kGpu);
    const auto version = x.storage()->version();
    Tensor row = x.slice(2, 1);
    row.copy_from(Tensor::from<std::int32_t>({1, 3}, {7, 8, 9}));
    CHECK(x.storage()->version() == version + 1);
    CHECK(x.to_vector<std::int32_t>() ==
          std::vector<std::int32_t>{0, 0, 0, 0, 0, 0, 7, 8, 9, 0, 0, 0});
    Tensor here({4, 3}, DType::i32);
    here.copy_from(x);
    CHECK(here.to_vector<std::int32_t>() == x.to_vector<std::int32_t>());
    CHECK_THROWS_WITH_AS(here.copy_from(x.slice(0, 1)), doctest::Contains("(1, 3) i32 on cuda"),
                         Error);
    CHECK_THROWS_WITH_AS(add(Tensor({3}, DType::f32), Tensor({3}, DType::f32, kGpu)),
                         doctest::Contains("on cuda"), Error);
  }

  TEST_CASE("fill and convert every dtype at every alignment as the CPU does") {
    if (!has_gpu()) return;
    const MemoryGuard guard(kGpu);
    const Tensor values = Tensor::from<double>(
        {10}, {0, 1, -1, 2.5, 100, 3.14159265, 250.75, 65504, 1.0 / 3, 1 + 0x1p-8 + 0x1p-9});
    for (const DType from : kDTypes)
      for (const DType to : kDTypes) {
        // Numbers that the narrower type cannot hold have no defined conversion.
        const bool is_narrow = from == DType::u8 || to == DType::u8;
        const Tensor x = (is_narrow ? at_most(abs(values), 250) : values).to(from);
        for (const std::int64_t shift : {0, 1, 3}) {
          INFO(from, " to ", to, ", shift ", shift);
          CHECK(shifted(x, shift, kGpu).to(to).to_vector<double>() == x.to(to).to_vector<double>());
        }
      }
    for (const DType dtype : kDTypes)
      for (const std::int64_t n : {1, 15, 16, 17, 4099}) {
        INFO(dtype, " ", n);
        CHECK(Tensor::full({n}, dtype, 3, kGpu).to_vector<double>() ==
              std::vector<double>(static_cast<std::size_t>(n), 3));
        Tensor x = Tensor::zeros({n + 2}, dtype, kGpu);
        Tensor middle = x.slice(1, n);
        middle.fill(1);
        std::vector<double> expected(static_cast<std::size_t>(n + 2), 1);
        expected.front() = expected.back() = 0;
        CHECK(x.to_vector<double>() == expected);
      }
  }

  TEST_CASE("elementwise ops at every alignment") {
    if (!has_gpu()) return;
    const Tensor a = uniform({3, 43}, 0.5, 2), b = uniform({3, 43}, -1, 1);
    for (const std::int64_t shift : {0, 1, 2, 4}) {
      CHECK(mul(shifted(a, shift, kGpu), shifted(b, 0, kGpu)).to_vector<float>() ==
            mul(a, b).to_vector<float>());
      CHECK(mul(shifted(a, 0, kGpu), shifted(b, shift, kGpu)).to_vector<float>() ==
            mul(a, b).to_vector<float>());
      CHECK(scale(shifted(a, shift, kGpu), 3).to_vector<float>() == scale(a, 3).to_vector<float>());
    }
    Tensor sum = a.to(kGpu);
    add_into(sum, b.to(kGpu));
    CHECK(sum.to_vector<float>() == add(a, b).to_vector<float>());
    Tensor clamped = b.to(kGpu);
    clamp_in_place(clamped, -0.25, 0.5);
    CHECK(clamped.to_vector<float>() == at_most(at_least(b, -0.25), 0.5).to_vector<float>());
  }

  TEST_CASE("sums over any axes, few and many, in one pass and in two") {
    if (!has_gpu()) return;
    struct Case {
      Shape from, to;
    };
    // Whole numbers: every order of the sum is exact, so the results must be equal.
    for (const auto& [from, to] : std::vector<Case>{{{7}, {}},
                                                    {{31, 17}, {17}},
                                                    {{31, 17}, {31, 1}},
                                                    {{2, 3, 5, 7}, {3, 1, 7}},
                                                    {{2, 3, 5, 7}, {2, 1, 5, 1}},
                                                    {{2, 3, 5, 7}, {1, 3, 1, 1}},
                                                    {{1, 5, 1}, {5, 1}},
                                                    {{1, 4}, {4}},
                                                    {{0, 3}, {3}},
                                                    {{3, 0}, {3, 1}},
                                                    {{0, 3}, {0, 1}},
                                                    {{300, 50, 7}, {7}},    // columns in parts
                                                    {{3, 20'011}, {3, 1}},  // rows in parts
                                                    {{50'021}, {1}},        // one sum in parts
                                                    {{40, 2, 41, 37}, {2, 1, 37}},
                                                    {{3, 1, 41, 40}, {1}}}) {
      INFO(from, " to ", to);
      Tensor x = uniform(from, -100, 100).to(DType::i32).to(DType::f32);
      CHECK(sum_to(x.to(kGpu), to).to_vector<float>() == sum_to(x, to).to_vector<float>());
      if (from.numel() > 0)
        CHECK(broadcast_to(sum_to(x, to).to(kGpu), from).to_vector<float>() ==
              broadcast_to(sum_to(x, to), from).to_vector<float>());
    }
  }

  TEST_CASE("NaN, infinities and ties are what they are on the CPU") {
    if (!has_gpu()) return;
    const float inf = INFINITY, nan = NAN;
    const Tensor x = Tensor::from<float>(
        {6, 4}, {1,    3,    3,    2,    nan, 5, 1,   nan, -inf, -inf, -inf, -inf,
                 -inf, 1000, -inf, 1000, inf, 1, inf, 0,   -0.f, 0,    -0.f, 0});
    const MaxLast here = max_last(x), there = max_last(x.to(kGpu));
    CHECK(there.indices.to_vector<std::int32_t>() == here.indices.to_vector<std::int32_t>());
    const auto same = [](const Tensor& a, const Tensor& b) {
      const auto u = a.to_vector<float>(), v = b.to_vector<float>();
      REQUIRE(u.size() == v.size());
      for (std::size_t i = 0; i < u.size(); ++i) {
        INFO("element ", i, ": ", u[i], " and ", v[i]);
        if (std::isnan(u[i]))
          CHECK(std::isnan(v[i]));
        else if (std::isinf(u[i]))
          CHECK(u[i] == v[i]);
        else
          CHECK(u[i] == doctest::Approx(v[i]).epsilon(1e-6));
      }
    };
    same(there.values, here.values);
    same(softmax(x.to(kGpu)), softmax(x));
    same(log_softmax(x.to(kGpu)), log_softmax(x));
    same(log_sum_exp(x.to(kGpu)), log_sum_exp(x));
    same(relu(x.to(kGpu)), relu(x));
    const Tensor wide = uniform({5, 2'500}, -1, 1);
    CHECK(max_last(wide.to(kGpu)).indices.to_vector<std::int32_t>() ==
          max_last(wide).indices.to_vector<std::int32_t>());
  }

  TEST_CASE("an index counts where it is used") {
    on_every_device([](Device device) {
      CHECK(arange(5, device).to_vector<std::int32_t>() ==
            std::vector<std::int32_t>{0, 1, 2, 3, 4});
      CHECK(arange(5, device, 2).to_vector<std::int32_t>() ==
            std::vector<std::int32_t>{0, 0, 1, 1, 2});
      CHECK(arange(3000, device, 7).to_vector<std::int32_t>().back() == 2999 / 7);
      CHECK(arange(0, device).numel() == 0);
    });
    CHECK_THROWS_AS(arange(3, Device::cpu, 0), Error);
  }

  TEST_CASE("rows are gathered and their gradients added in order") {
    if (!has_gpu()) return;
    for (const DType dtype : {DType::f32, DType::bf16, DType::u8, DType::i64})
      for (const std::int64_t cols : {1, 3, 8, 5000}) {
        INFO(dtype, " ", cols);
        const Tensor x = uniform({7, cols}, 0, 200).to(dtype);
        const Tensor index = Tensor::from<std::int32_t>({6}, {3, 0, 3, 6, 3, 0});
        CHECK(gather_rows(x.to(kGpu), index.to(kGpu)).to_vector<double>() ==
              gather_rows(x, index).to_vector<double>());
        CHECK(gather_rows(shifted(x, 1, kGpu), index.to(kGpu)).to_vector<double>() ==
              gather_rows(x, index).to_vector<double>());
        if (dtype != DType::f32) continue;
        const Tensor dy = uniform({6, cols}, -1, 1);
        CHECK(gather_rows_backward(dy.to(kGpu), index.to(kGpu), {7, cols}).to_vector<float>() ==
              gather_rows_backward(dy, index, {7, cols}).to_vector<float>());
      }
  }

  TEST_CASE("memory of the GPU has a pool, a limit and a report of its own") {
    if (!has_gpu()) return;
    constexpr std::int64_t kMiB = 1 << 20;
    release_cached_memory(kGpu);
    const MemoryReport before = memory_report(kGpu);
    {
      Scope scope("here");
      const Tensor x({kMiB}, DType::f32, kGpu);
      CHECK(memory_report(kGpu).in_use == before.in_use + 4 * kMiB);
      set_memory_limit(kGpu, memory_report(kGpu).in_use + kMiB);
      try {
        const Tensor too_large({kMiB}, DType::f32, kGpu);
        CHECK(false);
      } catch (const OutOfMemory& error) {
        CHECK(error.message().starts_with("out of memory on the GPU: asked for 4194304 bytes"));
        CHECK(error.message().find("4 MiB in here") != std::string::npos);
      }
      set_memory_limit(kGpu, 0);
    }
    CHECK(memory_report(kGpu).cached >= 4 * kMiB);
    const std::int64_t requests = memory_report(kGpu).system_requests;
    const Tensor again({kMiB}, DType::f32, kGpu);
    CHECK(memory_report(kGpu).system_requests == requests);
  }

  TEST_CASE("batches are uploaded in order, two on the way") {
    for (const Device device : {Device::cpu, kGpu}) {
      if (device == kGpu && !has_gpu()) return;
      Uploads uploads(device);
      const auto batch = [](std::int64_t rows, double value) {
        return std::vector<Tensor>{Tensor::full({rows, 5}, DType::u8, value),
                                   Tensor::full({rows}, DType::i32, -value),
                                   Tensor({0}, DType::f32)};
      };
      CHECK_THROWS_WITH_AS(uploads.pop(), doctest::Contains("no batch is waiting"), Error);
      std::vector<Tensor> first = batch(3, 1);
      uploads.push(first);
      if (device == kGpu)
        for (Tensor& x : first) x.fill(99);  // too late to change what is on its way
      uploads.push(batch(3, 2));
      CHECK_FALSE(uploads.has_room());
      CHECK_THROWS_WITH_AS(uploads.push(batch(3, 3)), doctest::Contains("slots are taken"), Error);
      for (int i = 1; i <= 6; ++i) {
        const std::vector<Tensor> x = uploads.pop();
        const std::int64_t rows = i == 3 ? 7 : 3;  // a larger batch, then a smaller one
        REQUIRE(x.size() == 3);
        CHECK(x[0].device() == device);
        CHECK(x[0].to_vector<std::uint8_t>() ==
              std::vector<std::uint8_t>(static_cast<std::size_t>(rows * 5),
                                        static_cast<std::uint8_t>(i)));
        CHECK(x[1].to_vector<std::int32_t>() ==
              std::vector<std::int32_t>(static_cast<std::size_t>(rows), -i));
        CHECK(x[2].numel() == 0);
        // The popped batch holds its slot, so there is room for one more only after the next pop.
        CHECK(uploads.has_room() == (i >= 2));
        if (i >= 2 && i <= 5) uploads.push(batch(i == 2 ? 7 : 3, i + 1));
      }
      CHECK(uploads.waiting() == 0);
    }
    if (has_gpu()) {
      Uploads uploads(kGpu);
      CHECK_THROWS_WITH_AS(uploads.push({Tensor({3}, DType::f32, kGpu)}),
                           doctest::Contains("expected tensors on the CPU"), Error);
    }
  }

#ifdef PROXENT_CUDA_EMULATED
  TEST_CASE("an upload keeps its streams in order however late they work") {
    cuda_emulator::set_streams(cuda_emulator::Streams::late);
    Uploads uploads(kGpu);
    std::vector<Tensor> sums;
    uploads.push({Tensor::full({1000}, DType::f32, 1)});
    for (int i = 1; i <= 6; ++i) {
      const Tensor x = uploads.pop()[0];
      sums.push_back(sum_to(scale(x, 2), {}));
      if (uploads.has_room()) uploads.push({Tensor::full({1000}, DType::f32, i + 1)});
    }
    for (int i = 1; i <= 6; ++i) CHECK(sums[static_cast<std::size_t>(i - 1)].item() == 2000 * i);
    cuda_emulator::set_streams(cuda_emulator::Streams::at_once);
  }
#endif

  TEST_CASE("launches are counted") {
    if (!has_gpu()) return;
    const Tensor x = Tensor::zeros({3}, DType::f32, kGpu);
    const std::int64_t before = gpu_launches();
    relu(x);
    CHECK(gpu_launches() == before + 1);
    relu(Tensor({0}, DType::f32, kGpu));  // nothing to do
    CHECK(gpu_launches() == before + 1);
  }

#ifdef PROXENT_CUDA_EMULATED
  TEST_CASE("a kernel's fault names the op, its trail and the thread") {
    for (const bool is_synchronous : {false, true}) {
      set_gpu_synchronous(is_synchronous);
      Scope scope("network");
      try {
        launch("broken", kGpu, [](auto) { cuda::launch_kernel(faulty_kernel, 2, 64, 0); });
        CHECK(false);
      } catch (const CudaError& error) {
        const std::string text = error.what();
        INFO(text);
        CHECK(text.find("cudaErrorLaunchFailure") != std::string::npos);
        CHECK(text.find("63 (as (1, 0, 0)) wait in __syncthreads at gpu.cpp") != std::string::npos);
        CHECK(text.find("in network > broken") != std::string::npos);
        CHECK((text.find("CUDA_LAUNCH_BLOCKING=1") != std::string::npos) == !is_synchronous);
      }
      cudaGetLastError();
    }
    set_gpu_synchronous(false);
  }

  TEST_CASE("a wrong label is named where every op waits, and only there") {
    const Tensor logits = Tensor::zeros({2, 3}, DType::f32, kGpu);
    const Tensor labels = Tensor::from<std::int32_t>({2}, {1, 3}).to(kGpu);
    set_gpu_synchronous(true);
    CHECK_THROWS_WITH_AS(cross_entropy(logits, labels),
                         doctest::Contains("label 3 of row 1 is not in 0 .. 2"), Error);
    set_gpu_synchronous(false);
  }

  TEST_CASE("a launch that the GPU refuses is an error") {
    CHECK_THROWS_WITH_AS(cuda::launch_kernel(faulty_kernel, 1, 2048, 0),
                         doctest::Contains("cudaErrorInvalidConfiguration"), CudaError);
    cudaGetLastError();
  }

  TEST_CASE("one workspace serves all, as large as the largest request") {
    void* small = cuda::workspace(1000);
    CHECK(cuda::workspace(500) == small);
    const std::int64_t in_use = memory_report(kGpu).in_use;
    cuda::workspace(3 << 20);
    CHECK(memory_report(kGpu).in_use > in_use);
    CHECK(reinterpret_cast<std::uintptr_t>(cuda::workspace(3 << 20)) % 256 == 0);
  }

  TEST_CASE("every scope is a range in the profiler") {
    const cuda_emulator::Ranges before = cuda_emulator::ranges();
    {
      Scope outer("outer"), nameless("");
      CHECK(cuda_emulator::ranges().opened == before.opened + 1);
      relu(Tensor::full({3}, DType::f32, 1));
    }
    CHECK(cuda_emulator::ranges().opened == before.opened + 3);  // outer, fill, relu
    CHECK(cuda_emulator::ranges().closed == before.closed + 3);
  }
#endif
}
