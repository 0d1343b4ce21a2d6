// Philox against its authors' known answers, and that what is drawn from it is distributed as it
// should be.
#include "tensor/random.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <set>

namespace proxent {
namespace {
using Words = std::array<std::uint32_t, 4>;

// Sum of (observed - expected)^2 / expected over equally likely bins.
double chi_square(const std::vector<int>& counts, double expected) {
  double sum = 0;
  for (int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}
// Mean of the distribution plus five standard deviations. The seeds are fixed, so this never fails
// by chance; a generator with a dent exceeds it a hundredfold.
double chi_square_limit(std::size_t bins) {
  const auto freedom = static_cast<double>(bins - 1);
  return freedom + 5 * std::sqrt(2 * freedom);
}
}  // namespace
}  // namespace proxent

TEST_SUITE("random") {
  using namespace proxent;

  TEST_CASE("Philox4x32-10 gives Random123's known answers") {
    CHECK(Philox(0, 0).block(0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    const std::uint64_t ones = ~std::uint64_t{0};
    CHECK(Philox(ones, ones).block(ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    // Digits of pi: counter words first, then the key.
    CHECK(Philox(0x299f31d0a4093822, 0x0370734413198a2e).block(0x85a308d3243f6a88) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  }

  TEST_CASE("a stream can be left and resumed anywhere") {
    Philox whole(3, 5);
    std::vector<std::uint32_t> words(23);
    for (auto& word : words) word = whole();
    CHECK(whole.position() == 23);
    for (std::uint64_t at = 0; at < words.size(); ++at) {
      Philox resumed(3, 5);
      resumed.seek(at);
      for (std::uint64_t i = at; i < words.size(); ++i) REQUIRE(resumed() == words[i]);
    }
  }

  TEST_CASE("uniform numbers fill [0, 1) evenly") {
    Philox random(1, 2);
    std::vector<int> bins(64);
    for (int i = 0; i < 64000; ++i) {
      const double u = random.uniform();
      REQUIRE((u >= 0 && u < 1));
      ++bins[static_cast<std::size_t>(u * 64)];
    }
    CHECK(chi_square(bins, 1000) < chi_square_limit(64));
  }

  TEST_CASE("below() covers its range evenly and never leaves it") {
    Philox random(4, 9);
    for (std::int64_t n : {1, 2, 7, 10, 48}) {
      std::vector<int> bins(n);
      for (std::int64_t i = 0; i < 1000 * n; ++i) {
        const std::int64_t value = random.below(n);
        REQUIRE((value >= 0 && value < n));
        ++bins[value];
      }
      if (n > 1) CHECK(chi_square(bins, 1000) < chi_square_limit(bins.size()));
    }
    // Just above half of 2^64: without rejection the lower half would come twice as often.
    const std::int64_t large = std::numeric_limits<std::int64_t>::max();
    int lower = 0;
    for (int i = 0; i < 4000; ++i) {
      const std::int64_t value = random.below(large);
      REQUIRE((value >= 0 && value < large));
      lower += value < large / 2;
    }
    CHECK(std::abs(lower - 2000) < 160);  // five standard deviations
    CHECK_THROWS_WITH_AS(random.below(0),
                         doctest::Contains("expected a range of at least 1, got 0"), Error);
  }

  TEST_CASE("normal numbers have the moments of a normal distribution") {
    constexpr int kCount = 100000;
    Philox random(8, 8);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
    for (int i = 0; i < kCount; ++i) {
      const double x = random.normal();
      m1 += x / kCount, m2 += x * x / kCount, m3 += x * x * x / kCount;
      m4 += x * x * x * x / kCount;
    }
    // Five standard deviations of each estimate: sqrt(var(x^k) / kCount).
    const double unit = 5 / std::sqrt(kCount);
    CHECK(std::abs(m1) < unit);
    CHECK(std::abs(m2 - 1) < unit * std::sqrt(2));
    CHECK(std::abs(m3) < unit * std::sqrt(15));
    CHECK(std::abs(m4 - 3) < unit * std::sqrt(96));
  }

  TEST_CASE("streams differ by purpose and index, and dtypes share values") {
    std::set<std::uint64_t> streams;
    for (const char* purpose : {"", "shuffle", "crop", "flip", "proxies"})
      for (std::uint64_t index : {0, 1, 2, 256}) streams.insert(stream_of(purpose, index));
    CHECK(streams.size() == 20);

    Tensor f({50}, DType::f32), d({50}, DType::f64);
    fill_uniform(f, Philox(1, 1), -2, 3);
    fill_uniform(d, Philox(1, 1), -2, 3);
    CHECK(f.to_vector<float>() == d.to(DType::f32).to_vector<float>());
    fill_normal(d, Philox(1, 1), 10, 1e-6);
    for (double value : d.to_vector<double>()) CHECK(std::abs(value - 10) < 1e-5);
  }
}
