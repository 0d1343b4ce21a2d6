// What device code calls: barriers, warp functions, atomics, bit and rounding tricks.
#pragma once

#include <math.h>  // the float overloads in the global namespace, as nvcc has them

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/cuda_emulator/block.h"
#include "tests/cuda_emulator/vector_types.h"

// ---- barriers

inline void __syncthreads(cuda_emulator::Site site = cuda_emulator::Site::current()) {
  cuda_emulator::meet_block(false, site);
}
inline int __syncthreads_count(int predicate,
                               cuda_emulator::Site site = cuda_emulator::Site::current()) {
  return cuda_emulator::meet_block(predicate != 0, site).count;
}
inline int __syncthreads_or(int predicate,
                            cuda_emulator::Site site = cuda_emulator::Site::current()) {
  return cuda_emulator::meet_block(predicate != 0, site).count > 0;
}
inline int __syncthreads_and(int predicate,
                             cuda_emulator::Site site = cuda_emulator::Site::current()) {
  const cuda_emulator::Votes votes = cuda_emulator::meet_block(predicate != 0, site);
  return votes.count == votes.threads;
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       cuda_emulator::Site site = cuda_emulator::Site::current()) {
  cuda_emulator::meet_warp(cuda_emulator::WarpCall::sync, mask, 0u, 0, site);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- shuffles: `width` lanes form a group of their own

namespace cuda_emulator {
template <class T>
T shuffle(unsigned mask, T value, unsigned source, const Site& site) {
  return meet_warp(WarpCall::shuffle, mask, value, source, site);
}
}  // namespace cuda_emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_emulator::Site site = cuda_emulator::Site::current()) {
  const int base = static_cast<int>(cuda_emulator::lane()) & ~(width - 1);
  return cuda_emulator::shuffle(mask, value, static_cast<unsigned>(base | (source & (width - 1))),
                                site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  cuda_emulator::Site site = cuda_emulator::Site::current()) {
  const int lane = static_cast<int>(cuda_emulator::lane()), source = lane ^ bits;
  const bool is_later_group = source > (lane | (width - 1));
  return cuda_emulator::shuffle(mask, value, static_cast<unsigned>(is_later_group ? lane : source),
                                site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_emulator::Site site = cuda_emulator::Site::current()) {
  const int lane = static_cast<int>(cuda_emulator::lane()), source = lane - static_cast<int>(delta);
  const bool is_earlier_group = source < (lane & ~(width - 1));
  return cuda_emulator::shuffle(mask, value,
                                static_cast<unsigned>(is_earlier_group ? lane : source), site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_emulator::Site site = cuda_emulator::Site::current()) {
  const int lane = static_cast<int>(cuda_emulator::lane()), source = lane + static_cast<int>(delta);
  const bool is_later_group = source > (lane | (width - 1));
  return cuda_emulator::shuffle(mask, value, static_cast<unsigned>(is_later_group ? lane : source),
                                site);
}

// ---- votes, reductions over a warp

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_emulator::Site site = cuda_emulator::Site::current()) {
  return cuda_emulator::meet_warp(cuda_emulator::WarpCall::ballot, mask, unsigned{predicate != 0},
                                  0, site);
}
inline int __any_sync(unsigned mask, int predicate,
                      cuda_emulator::Site site = cuda_emulator::Site::current()) {
  return __ballot_sync(mask, predicate, site) != 0;
}
// True if no lane of the mask votes against it: ended lanes have no vote.
inline int __all_sync(unsigned mask, int predicate,
                      cuda_emulator::Site site = cuda_emulator::Site::current()) {
  return __ballot_sync(mask, !predicate, site) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value,
                          cuda_emulator::Site site = cuda_emulator::Site::current()) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return static_cast<unsigned>(
      cuda_emulator::meet_warp(cuda_emulator::WarpCall::match, mask, bits, 0, false, site));
}
// Only the running lane is sure to be active: code that hopes for more is wrong.
inline unsigned __activemask() { return 1u << cuda_emulator::lane(); }

#define CUDA_EMULATOR_REDUCE(name, call, T)                                                    \
  inline T __reduce_##name##_sync(unsigned mask, T value,                                      \
                                  cuda_emulator::Site site = cuda_emulator::Site::current()) { \
    return cuda_emulator::meet_warp(cuda_emulator::WarpCall::call, mask, value, 0, site);      \
  }
CUDA_EMULATOR_REDUCE(add, add, unsigned)
CUDA_EMULATOR_REDUCE(add, add, int)
CUDA_EMULATOR_REDUCE(min, min, unsigned)
CUDA_EMULATOR_REDUCE(min, min, int)
CUDA_EMULATOR_REDUCE(max, max, unsigned)
CUDA_EMULATOR_REDUCE(max, max, int)
CUDA_EMULATOR_REDUCE(and, bit_and, unsigned)
CUDA_EMULATOR_REDUCE(or, bit_or, unsigned)
CUDA_EMULATOR_REDUCE(xor, bit_xor, unsigned)
#undef CUDA_EMULATOR_REDUCE

// ---- atomics: threads take turns, so each is one already; they return the old value

namespace cuda_emulator {
template <class T, class F>
T update(T* address, F f) {
  const T old = *address;
  *address = f(old);
  return old;
}
}  // namespace cuda_emulator

#define CUDA_EMULATOR_ATOMIC(name, T, result)                                  \
  inline T atomic##name(T* address, T value) {                                 \
    return cuda_emulator::update(address, [&](T old) -> T { return result; }); \
  }
#define CUDA_EMULATOR_ATOMICS(T)                                                            \
  CUDA_EMULATOR_ATOMIC(Add, T, old + value)                                                 \
  CUDA_EMULATOR_ATOMIC(Exch, T, (static_cast<void>(old), value))                            \
  CUDA_EMULATOR_ATOMIC(Min, T, value < old ? value : old)                                   \
  CUDA_EMULATOR_ATOMIC(Max, T, value > old ? value : old)                                   \
  CUDA_EMULATOR_ATOMIC(And, T, old& value)                                                  \
  CUDA_EMULATOR_ATOMIC(Or, T, old | value)                                                  \
  CUDA_EMULATOR_ATOMIC(Xor, T, old ^ value)                                                 \
  inline T atomicCAS(T* address, T compare, T value) {                                      \
    return cuda_emulator::update(address,                                                   \
                                 [&](T old) -> T { return old == compare ? value : old; }); \
  }
CUDA_EMULATOR_ATOMICS(int)
CUDA_EMULATOR_ATOMICS(unsigned)
CUDA_EMULATOR_ATOMICS(unsigned long long)
CUDA_EMULATOR_ATOMIC(Add, float, old + value)
CUDA_EMULATOR_ATOMIC(Add, double, old + value)
CUDA_EMULATOR_ATOMIC(Exch, float, (static_cast<void>(old), value))
CUDA_EMULATOR_ATOMIC(Sub, int, old - value)
CUDA_EMULATOR_ATOMIC(Sub, unsigned, old - value)
CUDA_EMULATOR_ATOMIC(Inc, unsigned, old >= value ? 0 : old + 1)
CUDA_EMULATOR_ATOMIC(Dec, unsigned, old == 0 || old > value ? value : old - 1)
#undef CUDA_EMULATOR_ATOMICS
#undef CUDA_EMULATOR_ATOMIC

// ---- loads and stores with a cache hint

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldlu(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, T value) {
  *address = value;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
void __stwt(T* address, T value) {
  *address = value;
}

// ---- arithmetic; nvcc has max and min of the same types in the global namespace

#define CUDA_EMULATOR_MIN_MAX(T)                   \
  inline T max(T a, T b) { return a < b ? b : a; } \
  inline T min(T a, T b) { return b < a ? b : a; }
CUDA_EMULATOR_MIN_MAX(int)
CUDA_EMULATOR_MIN_MAX(unsigned)
CUDA_EMULATOR_MIN_MAX(long)
CUDA_EMULATOR_MIN_MAX(unsigned long)
CUDA_EMULATOR_MIN_MAX(long long)
CUDA_EMULATOR_MIN_MAX(unsigned long long)
#undef CUDA_EMULATOR_MIN_MAX
// The other operand where one is NaN, as fmax.
inline float max(float a, float b) { return std::fmax(a, b); }
inline float min(float a, float b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }  // 0 for NaN
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline int __ffsll(long long x) {
  return x ? std::countr_zero(static_cast<unsigned long long>(x)) + 1 : 0;
}
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1u) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(std::uint64_t{a} * b >> 32);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) << (shift & 31) >> 32);
}

inline long long clock64() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
[[noreturn]] inline void __trap() { cuda_emulator::fault("__trap"); }
