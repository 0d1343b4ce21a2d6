// The memory pool of a device. Blocks come in size classes and return to the pool, so that a
// training step that repeats asks the system for nothing; MemoryReport tells where the bytes are.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/check.h"
#include "tensor/device.h"

namespace proxent {

// All sizes in bytes, rounded up to the pool's size classes.
struct MemoryReport {
  std::int64_t in_use = 0;           // held by tensors
  std::int64_t cached = 0;           // free, kept for reuse
  std::int64_t reserved = 0;         // of these, kept for recorded work alone
  std::int64_t peak = 0;             // largest in_use since reset_memory_peak()
  std::int64_t limit = 0;            // 0: none
  std::int64_t system_requests = 0;  // blocks ever asked from the system
  std::vector<std::pair<std::string, std::int64_t>> holders;  // scope trail -> bytes, largest first

  std::int64_t taken() const { return in_use + cached; }  // from the system
  std::string text() const;                               // a few lines for a person
};

// Asked for more than there is; carries the report. Exit code 5.
struct OutOfMemory : Error {
  using Error::Error;
};

MemoryReport memory_report(Device device);
void reset_memory_peak(Device device);
// in_use + cached may not exceed `bytes`; 0 lifts the limit.
void set_memory_limit(Device device, std::int64_t bytes);
// For tests: while on, fresh tensors read as NaN, and a write behind one aborts when it is freed.
// With AddressSanitizer any touch of what is not a tensor's own stops at once, guard or not.
void set_memory_guard(Device device, bool is_on);
// Returns every cached block to the system.
void release_cached_memory(Device device);

// Memory that work recorded for later runs will use again: while it is open, every block that the
// device's pool hands out belongs to it, and comes back to it. Closed, it keeps its blocks from
// everybody else as long as it lives, those longer in which a tensor lies. One is open at a time.
class MemoryReserve {
 public:
  // give_up is called, once, by whoever asks for a block that can be had in no other way, before
  // that is out of memory: it should destroy the reserve.
  explicit MemoryReserve(Device device, std::function<void()> give_up = {});
  ~MemoryReserve();
  MemoryReserve(const MemoryReserve&) = delete;
  MemoryReserve& operator=(const MemoryReserve&) = delete;
  void close();

 private:
  Device device_;
  std::int64_t number_;
};

namespace detail {
// A block of at least `bytes` (aligned to 64) and its way back. Throws OutOfMemory.
void* pool_allocate(Device device, std::int64_t bytes);
void pool_free(Device device, void* data);
}  // namespace detail

}  // namespace proxent
