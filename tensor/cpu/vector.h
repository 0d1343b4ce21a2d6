// A register's worth of numbers, for inner loops that keep their sums in registers. Code of a wider
// vector than the processor has compiles too, but moves every half of it through memory.
#pragma once

#include <cstdint>

namespace proxent {

#if defined(__AVX512F__)
inline constexpr std::int64_t kVectorBytes = 64;
#elif defined(__AVX__)
inline constexpr std::int64_t kVectorBytes = 32;
#else  // SSE, NEON
inline constexpr std::int64_t kVectorBytes = 16;
#endif
// Of the registers that there are, so many may hold sums; the others hold what is multiplied.
inline constexpr int kSumRegisters = kVectorBytes == 64 ? 24 : 12;  // of 32, 16

template <class T>
using Vector [[gnu::vector_size(kVectorBytes)]] = T;
template <class T>
inline constexpr std::int64_t kVectorLanes = kVectorBytes / sizeof(T);

}  // namespace proxent
