// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): the n-th number of a stream is
// a function of (seed, stream, n), so it is the same on every device and for any number of threads.
#pragma once

#include <array>
#include <cstdint>
#include <iterator>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace proxent {

class Philox {
 public:
  Philox(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}

  // Block n: four independent 32-bit words.
  std::array<std::uint32_t, 4> block(std::uint64_t n) const;

  // A running generator over the blocks; meets std::uniform_random_bit_generator.
  using result_type = std::uint32_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return 0xffffffffu; }
  result_type operator()();

  double uniform();  // [0, 1), 32 bits
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal();                     // mean 0, variance 1 (Box-Muller)
  std::int64_t below(std::int64_t n);  // 0 .. n-1 without bias; n >= 1

  // Words drawn so far: position of the stream, for exact resume.
  std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position) {
    position_ = position;
    words_ = block(position / 4);
  }

 private:
  std::uint64_t seed_, stream_, position_ = 0;
  std::array<std::uint32_t, 4> words_{};  // the block that position_ lies in
};

// Every order is as likely (Fisher and Yates).
template <class T>
void shuffle(std::vector<T>& items, Philox& random) {
  for (auto i = std::ssize(items) - 1; i > 0; --i)
    std::swap(items[static_cast<std::size_t>(i)],
              items[static_cast<std::size_t>(random.below(i + 1))]);
}

// A stream number for a purpose, so that two uses of one seed never share numbers (FNV-1a).
std::uint64_t stream_of(std::string_view purpose, std::uint64_t index = 0);

// Fills a float CPU tensor.
void fill_uniform(Tensor& x, Philox random, double low, double high);
void fill_normal(Tensor& x, Philox random, double mean, double standard_deviation);

}  // namespace proxent
