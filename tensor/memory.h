// The bytes under the pool: what the system of each device gives and takes back, and copies between
// them. Work on the GPU's bytes is ordered by its compute stream.
#pragma once

#include <cstdint>

#include "tensor/device.h"

namespace proxent::detail {

// A block of at least `bytes`, aligned to 64; null if there is none.
void* system_allocate(Cpu, std::int64_t bytes);
void* system_allocate(Cuda, std::int64_t bytes);
void system_free(Cpu, void* data) noexcept;
void system_free(Cuda, void* data) noexcept;

void fill_bytes(Cpu, void* data, unsigned char value, std::int64_t bytes);
void fill_bytes(Cuda, void* data, unsigned char value, std::int64_t bytes);
// From host memory, which may change as soon as this returns.
void copy_in(Cpu, void* to, const void* from, std::int64_t bytes);
void copy_in(Cuda, void* to, const void* from, std::int64_t bytes);
// To host memory, which holds the bytes when this returns.
void copy_out(Cpu, void* to, const void* from, std::int64_t bytes);
void copy_out(Cuda, void* to, const void* from, std::int64_t bytes);

// With AddressSanitizer, in memory that it sees: of a block of block_bytes only the first `bytes`
// may be touched from here on.
void allow_access(Cpu, const void* data, std::int64_t bytes, std::int64_t block_bytes);
void allow_access(Cuda, const void* data, std::int64_t bytes, std::int64_t block_bytes);

// Addresses without memory behind them.
void* system_allocate(Meta, std::int64_t bytes);
inline void system_free(Meta, void*) noexcept {}
inline void fill_bytes(Meta, void*, unsigned char, std::int64_t) {}
inline void copy_out(Meta, void*, const void*, std::int64_t) {}
inline void allow_access(Meta, const void*, std::int64_t, std::int64_t) {}

}  // namespace proxent::detail
