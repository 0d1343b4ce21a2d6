// Work that the GPU is told once and does many times, the memory that is kept for it, and numbers
// on their way back.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>

#include "tensor/allocator.h"
#include "tensor/download.h"
#include "tensor/gpu.h"
#include "tensor/graph.h"
#include "tensor/pointwise.h"
#include "tensor/reduce.h"
#include "tests/devices.h"

namespace proxent {
namespace {
constexpr Device kGpu = Device::cuda;
}  // namespace
}  // namespace proxent

TEST_SUITE("recorded work") {
  using namespace proxent;

  TEST_CASE("recorded work is done when it is run, with what its inputs hold then") {
    if (!has_gpu()) {
      CHECK_THROWS_AS(RecordedWork([] {}), CudaError);
      return;
    }
    Tensor x = Tensor::full({1000}, DType::f32, 1, kGpu),
           y = Tensor::zeros({1000}, DType::f32, kGpu);
    RecordedWork work([&] { y.copy_from(add(scale(x, 2), y)); });
    CHECK(sum_to(y, {}).item() == 0);  // recording does nothing
    work.run();
    CHECK(sum_to(y, {}).item() == 2000);
    x.fill(10);
    work.run();
    work.run();
    CHECK(sum_to(y, {}).item() == 42000);
  }

  TEST_CASE("work that looks at a result cannot be recorded, and leaves no trace") {
    if (!has_gpu()) return;
    const Tensor x = Tensor::full({10}, DType::f32, 1, kGpu);
    CHECK_THROWS_AS(RecordedWork([&] { scale(x, sum_to(x, {}).item()); }), CudaError);
    CHECK_THROWS_WITH_AS(RecordedWork([&] { fail<UsageError>("mine"); }), doctest::Contains("mine"),
                         UsageError);
    CHECK(sum_to(x, {}).item() == 10);
    RecordedWork work([&] { scale(x, 2); });  // and another recording may follow
    work.run();
  }

  TEST_CASE("memory of recorded work is nobody else's until the work is gone") {
    if (!has_gpu()) return;
    release_cached_memory(kGpu);
    const MemoryReport before = memory_report(kGpu);
    const Tensor x = Tensor::full({1 << 16}, DType::f32, 3, kGpu);
    {
      Tensor kept;
      {
        RecordedWork work([&] { kept = add(scale(x, 2), x); });
        CHECK(memory_report(kGpu).reserved >= x.bytes());  // what scale returned
        // As many tensors of that size as would use up anything that is free.
        std::vector<Tensor> others;
        for (int i = 0; i < 8; ++i) others.push_back(Tensor::full(x.shape(), DType::f32, -1, kGpu));
        work.run();
        for (const Tensor& other : others) CHECK(sum_to(other, {}).item() == -(1 << 16));
        CHECK(sum_to(kept, {}).item() == 9 * (1 << 16));
        others.clear();
        const MemoryReport with_work = memory_report(kGpu);
        CHECK(with_work.cached - with_work.reserved >= 8 * x.bytes());
      }
      CHECK(memory_report(kGpu).reserved == 0);
      CHECK(sum_to(kept, {}).item() == 9 * (1 << 16));  // a tensor keeps its block
    }
    release_cached_memory(kGpu);
    CHECK(memory_report(kGpu).in_use == before.in_use + x.bytes());
    CHECK(memory_report(kGpu).cached == 0);
  }

  TEST_CASE("one reserve is open at a time, and frees fit it best") {
    release_cached_memory(Device::cpu);  // a somewhat larger block would do as well
    MemoryReserve reserve(Device::cpu);
    CHECK_THROWS_WITH_AS(MemoryReserve{Device::cpu}, doctest::Contains("open already"), Error);
    const void* first = Tensor({1024}, DType::f32).raw();  // freed at once, into the reserve
    CHECK(Tensor({1024}, DType::f32).raw() == first);
    CHECK(memory_report(Device::cpu).reserved == 4096);
    reserve.close();
    CHECK(Tensor({1024}, DType::f32).raw() != first);
  }

  TEST_CASE("a reserve is called in before somebody is out of memory") {
    constexpr std::int64_t kBytes = 8 << 20;
    int calls = 0;
    std::unique_ptr<MemoryReserve> reserve;
    const auto give_up = [&] {
      ++calls;
      reserve.reset();
    };
    reserve = std::make_unique<MemoryReserve>(Device::cpu, give_up);
    const MemoryLimit limit(Device::cpu, kBytes + kBytes / 2);
    const auto take = [] { return Tensor({kBytes}, DType::u8); };
    take();  // freed at once, into the reserve
    {
      const Tensor same = take();
      CHECK_THROWS_AS(take(), OutOfMemory);
      CHECK(calls == 0);  // while it is open there is no way back
    }
    reserve->close();
    take();
    CHECK(calls == 1);
    CHECK(memory_report(Device::cpu).reserved == 0);
    const Tensor all = take();
    CHECK_THROWS_AS(take(), OutOfMemory);
    CHECK(calls == 1);
  }

  TEST_CASE("downloads bring back what a tensor held when they were pushed, in order") {
    on_every_device([](Device device) {
      Downloads downloads(device);
      Tensor x = Tensor::full({3}, DType::f64, 1, device);
      downloads.push(x);
      x.fill(2);
      downloads.push(x);
      x.fill(3);
      CHECK_THROWS_WITH_AS(downloads.push(x), doctest::Contains("pop one first"), Error);
      CHECK(downloads.pop().to_vector<double>() == std::vector<double>{1, 1, 1});
      downloads.push(Tensor::full({5}, DType::i32, 7, device));  // another size and dtype
      CHECK(downloads.pop().to_vector<double>() == std::vector<double>{2, 2, 2});
      CHECK(downloads.pop().to_vector<std::int32_t>() == std::vector<std::int32_t>(5, 7));
      CHECK(downloads.waiting() == 0);
      CHECK_THROWS_WITH_AS(downloads.pop(), doctest::Contains("nothing is waiting"), Error);
    });
  }
}
