// The memory pool: size classes, reuse, release under pressure, the report, the guard, threads.
#include "tensor/allocator.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <thread>

#include "tensor/random.h"
#include "tensor/tensor.h"

namespace proxent {
namespace {
constexpr std::int64_t kMiB = 1 << 20;

// A block of the pool that goes back at the end of its scope.
struct Block {
  explicit Block(std::int64_t bytes) : data(detail::pool_allocate(Device::cpu, bytes)) {}
  ~Block() { detail::pool_free(Device::cpu, data); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void* data;
};

MemoryReport report() { return memory_report(Device::cpu); }

// Room for `bytes` beyond what is in use now; nothing is cached.
struct Limit {
  explicit Limit(std::int64_t bytes) {
    release_cached_memory(Device::cpu);
    set_memory_limit(Device::cpu, report().in_use + bytes);
  }
  ~Limit() {
    set_memory_limit(Device::cpu, 0);
    release_cached_memory(Device::cpu);
  }
};

// True if a child process that calls f does not live to return from it.
template <class F>
bool kills_child(F f) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core_file{0, 0};
    setrlimit(RLIMIT_CORE, &no_core_file);
    std::signal(SIGABRT, SIG_DFL);  // not doctest's handler
    close(STDERR_FILENO);           // where AddressSanitizer would explain at length
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}
}  // namespace
}  // namespace proxent

TEST_SUITE("allocator") {
  using namespace proxent;

  TEST_CASE("sizes are rounded to 512 bytes up to 1 MiB, then to 2 MiB") {
    release_cached_memory(Device::cpu);
    const auto cost = [](std::int64_t bytes) {
      const std::int64_t before = report().in_use;
      Block block(bytes);
      CHECK(reinterpret_cast<std::uintptr_t>(block.data) % 64 == 0);
      std::memset(block.data, 1, static_cast<std::size_t>(bytes));
      const std::int64_t in_use = report().in_use - before;
      release_cached_memory(Device::cpu);
      return in_use;
    };
    CHECK(cost(0) == 512);
    CHECK(cost(1) == 512);
    CHECK(cost(512) == 512);
    CHECK(cost(513) == 1024);
    CHECK(cost(kMiB) == kMiB);
    CHECK(cost(kMiB + 1) == 2 * kMiB);
    CHECK(cost(4 * kMiB + 1) == 6 * kMiB);
  }

  TEST_CASE("a freed block is reused for requests of at least four fifths of it") {
    release_cached_memory(Device::cpu);
    void* first = nullptr;
    {
      Block block(10 * kMiB);
      first = block.data;
    }
    CHECK(report().cached == 10 * kMiB);
    const std::int64_t requests = report().system_requests;
    {
      Block same(10 * kMiB);
      CHECK(same.data == first);
      CHECK(report().cached == 0);
    }
    {
      Block smaller(8 * kMiB);
      CHECK(smaller.data == first);
    }
    CHECK(report().system_requests == requests);
    {
      Block too_small(6 * kMiB), too_large(12 * kMiB);
      CHECK(report().system_requests == requests + 2);
    }
    release_cached_memory(Device::cpu);
    CHECK(report().cached == 0);
  }

  TEST_CASE("the smallest block that fits is taken") {
    release_cached_memory(Device::cpu);
    void* tight = nullptr;
    {
      Block loose(20 * kMiB), fitting(18 * kMiB);
      tight = fitting.data;
    }
    Block block(17 * kMiB);
    CHECK(block.data == tight);
  }

  TEST_CASE("under a limit the block unused for longest goes first") {
    Limit limit(12 * kMiB);
    void *oldest = nullptr, *newest = nullptr;
    {
      Block a(4 * kMiB);
      oldest = a.data;
    }
    {
      Block b(6 * kMiB);  // too large to reuse for 4, so both stay cached
      newest = b.data;
    }
    CHECK(report().cached == 10 * kMiB);
    Block c(2 * kMiB + 1);  // 4 MiB: reuses the oldest
    CHECK(c.data == oldest);
    Block d(6 * kMiB);
    CHECK(d.data == newest);
    CHECK(report().cached == 0);
  }

  TEST_CASE("cached blocks make room for a larger one") {
    Limit limit(12 * kMiB);
    { Block a(4 * kMiB), b(6 * kMiB); }
    Block large(12 * kMiB);
    CHECK(report().cached == 0);
  }

  TEST_CASE("out of memory reports what was asked and who holds what, and can be survived") {
    Limit limit(8 * kMiB);
    Scope outer("trainer"), inner("layer1");
    Block held(4 * kMiB);
    const std::int64_t before = report().in_use;
    const std::string expected =
        detail::concat("out of memory: asked for ", 6 * kMiB - 5, " bytes\n  in use ");
    CHECK_THROWS_WITH_AS(detail::pool_allocate(Device::cpu, 6 * kMiB - 5),
                         doctest::Contains(expected.c_str()), OutOfMemory);
    CHECK_THROWS_WITH_AS(detail::pool_allocate(Device::cpu, 6 * kMiB),
                         doctest::Contains("4 MiB in trainer > layer1"), OutOfMemory);
    CHECK(report().in_use == before);
    Block fits(4 * kMiB);
  }

  TEST_CASE("peak, limit and holders are reported") {
    release_cached_memory(Device::cpu);
    reset_memory_peak(Device::cpu);
    const std::int64_t before = report().in_use;
    CHECK(report().peak == before);
    { Block block(4 * kMiB); }
    CHECK(report().peak == before + 4 * kMiB);
    CHECK(report().in_use == before);
    Scope scope("holder");
    Block block(64 * kMiB);
    REQUIRE_FALSE(report().holders.empty());
    CHECK(report().holders[0].first == "holder");
    CHECK(report().holders[0].second == 64 * kMiB);
    CHECK(report().text().find("64 MiB in holder") != std::string::npos);
  }

  TEST_CASE("guarded blocks read as NaN") {
    set_memory_guard(Device::cpu, true);
    const Tensor f({5}, DType::f32), d({5}, DType::f64);
    set_memory_guard(Device::cpu, false);
    for (float value : f.to_vector<float>()) CHECK(std::isnan(value));
    for (double value : d.to_vector<double>()) CHECK(std::isnan(value));
  }

  TEST_CASE("a write behind what was asked for aborts when a guarded block is freed") {
    const auto write_at = [](std::int64_t offset) {
      set_memory_guard(Device::cpu, true);
      Block block(301);  // the pool gives it 512
      static_cast<volatile char*>(block.data)[offset] = 1;
    };
    CHECK_FALSE(kills_child([&] { write_at(300); }));
    CHECK(kills_child([&] { write_at(301); }));
    CHECK(kills_child([&] { write_at(511); }));
    CHECK(kills_child([&] { write_at(512 + 63); }));
  }

  TEST_CASE("threads may allocate and free at once") {
    const std::int64_t before = report().in_use;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t)
      threads.emplace_back([t] {
        Philox random(t, 0);
        std::vector<Tensor> held(16);
        for (int i = 0; i < 3000; ++i) {
          const auto value = static_cast<std::int32_t>(t * 100000 + i);
          Tensor& slot = held[random.below(16)];
          if (slot.is_defined()) {  // nobody else wrote here
            const auto* words = slot.data<std::int32_t>();
            if (words[0] != words[slot.numel() - 1]) std::abort();
          }
          slot = Tensor({1 + random.below(2000)}, DType::i32);
          slot.data<std::int32_t>()[0] = slot.data<std::int32_t>()[slot.numel() - 1] = value;
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(report().in_use == before);
  }
}
