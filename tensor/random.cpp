#include "tensor/random.h"

#include <cmath>
#include <numbers>

#include "tensor/parallel.h"

namespace proxent {

std::array<std::uint32_t, 4> Philox::block(std::uint64_t n) const {
  std::array<std::uint32_t, 4> c{static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(n >> 32),
                                 static_cast<std::uint32_t>(stream_),
                                 static_cast<std::uint32_t>(stream_ >> 32)};
  auto key0 = static_cast<std::uint32_t>(seed_), key1 = static_cast<std::uint32_t>(seed_ >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<std::uint32_t>(p0)};
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return c;
}

Philox::result_type Philox::operator()() {
  if (position_ % 4 == 0) words_ = block(position_ / 4);
  return words_[position_++ % 4];
}

double Philox::uniform() { return operator()() * 0x1p-32; }

double Philox::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 - u is in (0, 1]
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::int64_t Philox::below(std::int64_t n) {
  check(n >= 1, "random: expected a range of at least 1, got ", n);
  const auto range = static_cast<std::uint64_t>(n);
  const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % range;
  while (true) {
    const std::uint64_t high = operator()();
    const std::uint64_t word = high << 32 | operator()();
    if (word < limit) return static_cast<std::int64_t>(word % range);
  }
}

std::uint64_t stream_of(std::string_view purpose, std::uint64_t index) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  const auto mix = [&](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3ull; };
  for (char c : purpose) mix(static_cast<unsigned char>(c));
  for (int i = 0; i < 8; ++i) mix(static_cast<unsigned char>(index >> (8 * i)));
  return hash;
}

namespace {
// Elements that a thread fills at a time; even, so that pairs of normals stay together.
constexpr std::int64_t kGrain = 1 << 16;

// Calls fill(random at word `first`, out + first, count) over ranges of x: element i comes from
// word i, so the split among threads does not show.
template <class Fill>
void fill_ranges(Tensor& x, const Philox& random, const Fill& fill) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* out = x.data<T>();
    parallel_ranges(x.numel(), kGrain, [&](std::int64_t first, std::int64_t last) {
      Philox local = random;
      local.seek(random.position() + static_cast<std::uint64_t>(first));
      fill(local, out + first, last - first);
    });
  });
  x.mark_edited();
}
}  // namespace

void fill_uniform(Tensor& x, Philox random, double low, double high) {
  fill_ranges(x, random, [=](Philox& local, auto* out, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
      out[i] = static_cast<std::remove_reference_t<decltype(*out)>>(local.uniform(low, high));
  });
}

void fill_normal(Tensor& x, Philox random, double mean, double standard_deviation) {
  fill_ranges(x, random, [=](Philox& local, auto* out, std::int64_t count) {
    using T = std::remove_reference_t<decltype(*out)>;
    for (std::int64_t i = 0; i < count; i += 2) {  // Box-Muller gives two at a time
      const double radius = standard_deviation * std::sqrt(-2 * std::log(1 - local.uniform()));
      const double angle = 2 * std::numbers::pi * local.uniform();
      out[i] = static_cast<T>(mean + radius * std::cos(angle));
      if (i + 1 < count) out[i + 1] = static_cast<T>(mean + radius * std::sin(angle));
    }
  });
}

}  // namespace proxent
