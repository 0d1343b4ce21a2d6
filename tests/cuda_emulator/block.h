// Where a running kernel meets the emulator: the calls behind __syncthreads and the warp functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string>

namespace cuda_emulator {

using Site = std::source_location;

inline constexpr unsigned kWarp = 32;

// What the threads that meet at a barrier tell each other.
struct Votes {
  int count = 0;    // of non-zero predicates
  int threads = 0;  // of the block
};
Votes meet_block(bool predicate, const Site& site);

enum class WarpCall : std::uint8_t {
  sync,
  shuffle,
  ballot,
  add,
  min,
  max,
  bit_and,
  bit_or,
  bit_xor,
  match
};
const char* name_of(WarpCall call);

// All lanes of mask meet; returns the bits that belong to this lane: of shuffle the value of lane
// `source`, of the others the result over the lanes.
std::uint64_t meet_warp(WarpCall call, unsigned mask, std::uint64_t value, unsigned source,
                        bool is_signed, const Site& site);
template <class T>
T meet_warp(WarpCall call, unsigned mask, T value, unsigned source, const Site& site) {
  static_assert(sizeof(T) <= 8, "warp functions take up to 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  if constexpr (std::is_same_v<T, int>) bits = static_cast<std::uint64_t>(std::int64_t{value});
  bits = meet_warp(call, mask, bits, source, std::is_signed_v<T>, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

unsigned lane();                                   // of the running thread, 0 .. 31
std::byte* dynamic_shared_memory();                // of the running block
[[noreturn]] void fault(const char* what);  // ends the launch

}  // namespace cuda_emulator
