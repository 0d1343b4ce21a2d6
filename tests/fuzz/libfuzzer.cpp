// The readers under libFuzzer (llvm.org/docs/LibFuzzer.html):
//   proxent_fuzz --reader=NAME [libFuzzer's options] [folders of files]
// Without a reader it prints the name of each and its folder of seeds below tests/.
#include <sanitizer/allocator_interface.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>

#include "tests/fuzz/readers.h"

namespace proxent {
namespace {

const Reader* chosen = nullptr;

// Memory is counted while a file is read: more than the file justifies is a finding. A base for
// tables, buffers and pictures of the reader's 4,096 pixels; then so many bytes for each of the
// file, of which the largest share is taken by packed .mat files: 100 as the limit of what may be
// unpacked, twice that where a buffer grows, and 200 for each array of 64.
constexpr std::int64_t kBaseBytes = 4 << 20, kBytesPerByte = 640;
std::int64_t live_bytes = 0, most_bytes = std::numeric_limits<std::int64_t>::max();

void count_malloc(const volatile void*, std::size_t bytes) {
  live_bytes += static_cast<std::int64_t>(bytes);
  if (live_bytes <= most_bytes) return;
  std::fprintf(stderr, "the file asks for %lld bytes of memory, it justifies %lld\n",
               static_cast<long long>(live_bytes), static_cast<long long>(most_bytes));
  most_bytes = std::numeric_limits<std::int64_t>::max();  // reporting takes memory too
  std::abort();
}

void count_free(const volatile void* at) {
  if (at)
    live_bytes -=
        static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(at)));
}

}  // namespace
}  // namespace proxent

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  constexpr std::string_view kFlag = "--reader=";  // libFuzzer leaves two dashes to its user
  for (int i = 1; i < *count; ++i) {
    const std::string_view argument = (*arguments)[i];
    for (const proxent::Reader& reader : proxent::readers())
      if (argument.starts_with(kFlag) && argument.substr(kFlag.size()) == reader.name)
        proxent::chosen = &reader;
  }
  if (!proxent::chosen) {
    for (const proxent::Reader& reader : proxent::readers())
      std::printf("%s %s\n", reader.name.data(), reader.seeds.data());
    std::exit(*count > 1);
  }
  __sanitizer_install_malloc_and_free_hooks(proxent::count_malloc, proxent::count_free);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  proxent::live_bytes = 0;
  proxent::most_bytes =
      proxent::kBaseBytes + proxent::kBytesPerByte * static_cast<std::int64_t>(size);
  proxent::reads(*proxent::chosen, {data, size});
  proxent::most_bytes = std::numeric_limits<std::int64_t>::max();
  return 0;
}
