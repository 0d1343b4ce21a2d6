#include "tensor/random.h"

#include <cmath>
#include <numbers>

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
template <class Draw>
void fill_drawn(Tensor& x, Draw draw) {
  visit_float(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* out = x.data<T>();
    for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = static_cast<T>(draw());
  });
  x.mark_edited();
}
}  // namespace

void fill_uniform(Tensor& x, Philox random, double low, double high) {
  fill_drawn(x, [&] { return random.uniform(low, high); });
}

void fill_normal(Tensor& x, Philox random, double mean, double standard_deviation) {
  fill_drawn(x, [&] { return mean + standard_deviation * random.normal(); });
}

}  // namespace proxent
