#include "tensor/memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#ifdef PROXENT_SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

#include <cstdlib>
#include <cstring>

namespace proxent::detail {

// Blocks of 2 MiB and more lie on huge pages where the system has them: convolutions read rows that
// are far apart, and spend a twentieth of a step on looking up small pages.
void* system_allocate(Cpu, std::int64_t bytes) {
  constexpr std::size_t kAlignment = 64, kHugePage = 2 << 20;
  const auto size = static_cast<std::size_t>(bytes);
  const bool is_huge = size >= kHugePage;
  void* data = nullptr;
  if (posix_memalign(&data, is_huge ? kHugePage : kAlignment, size) != 0) return nullptr;
#ifdef __linux__
  if (is_huge) madvise(data, size, MADV_HUGEPAGE);  // a hint: may fail
#endif
  return data;
}
void system_free(Cpu, void* data) noexcept { std::free(data); }

void fill_bytes(Cpu, void* data, unsigned char value, std::int64_t bytes) {
  std::memset(data, value, static_cast<std::size_t>(bytes));
}
void copy_in(Cpu, void* to, const void* from, std::int64_t bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}
void copy_out(Cpu cpu, void* to, const void* from, std::int64_t bytes) {
  copy_in(cpu, to, from, bytes);
}

void allow_access(Cpu, [[maybe_unused]] const void* data, [[maybe_unused]] std::int64_t bytes,
                  [[maybe_unused]] std::int64_t block_bytes) {
#ifdef PROXENT_SANITIZE_ADDRESS
  const auto* first = static_cast<const char*>(data);
  __asan_unpoison_memory_region(first, static_cast<std::size_t>(bytes));
  __asan_poison_memory_region(first + bytes, static_cast<std::size_t>(block_bytes - bytes));
#endif
}

}  // namespace proxent::detail
