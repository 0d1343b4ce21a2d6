// The owner of a tensor's bytes. They go back to the device's pool when the last tensor lets go.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/allocator.h"

namespace proxent {

class Storage {
 public:
  Storage(Device device, std::int64_t bytes)
      : device_(device), bytes_(bytes), data_(detail::pool_allocate(device, bytes)) {}
  ~Storage() { detail::pool_free(device_, data_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const { return device_; }
  std::int64_t bytes() const { return bytes_; }
  std::byte* data() const { return static_cast<std::byte*>(data_); }

  // Counts in-place edits, so that backward can refuse a value that changed since forward.
  std::uint32_t version() const { return version_; }
  void mark_edited() { ++version_; }

 private:
  Device device_;
  std::int64_t bytes_;
  void* data_;
  std::uint32_t version_ = 0;
};

}  // namespace proxent
