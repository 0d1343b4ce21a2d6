// SHA-256 (FIPS 180-4), to compare files with digests that others published.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace proxent {

inline std::string sha256(std::string message) {
  // The constants are the fractional parts of the square and cube roots of the first primes.
  std::array<std::uint32_t, 8> hash;
  std::array<std::uint32_t, 64> k;
  const auto fraction = [](long double x) {
    return static_cast<std::uint32_t>(std::floor((x - std::floor(x)) * 0x1p32L));
  };
  for (int n = 2, found = 0; found < 64; ++n) {
    bool is_prime = true;
    for (int d = 2; d * d <= n; ++d) is_prime = is_prime && n % d != 0;
    if (!is_prime) continue;
    if (found < 8) hash[found] = fraction(std::sqrt(static_cast<long double>(n)));
    k[found++] = fraction(std::cbrt(static_cast<long double>(n)));
  }

  const std::uint64_t bits = message.size() * 8;
  message += '\x80';
  while (message.size() % 64 != 56) message += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) message += static_cast<char>(bits >> shift);

  for (std::size_t block = 0; block < message.size(); block += 64) {
    std::array<std::uint32_t, 64> w;
    for (int i = 0; i < 64; ++i) {
      if (i < 16) {
        w[i] = 0;
        for (int b = 0; b < 4; ++b)
          w[i] = w[i] << 8 | static_cast<unsigned char>(message[block + i * 4 + b]);
      } else {
        const std::uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) +
               (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
      }
    }
    auto [a, b, c, d, e, f, g, h] = hash;
    for (int i = 0; i < 64; ++i) {
      const std::uint32_t t1 = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                               ((e & f) ^ (~e & g)) + k[i] + w[i];
      const std::uint32_t t2 =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const std::array<std::uint32_t, 8> add{a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; ++i) hash[i] += add[i];
  }
  std::string text;
  for (const std::uint32_t word : hash) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", word);
    text += digits;
  }
  return text;
}

}  // namespace proxent
