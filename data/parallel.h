// The same work on many pictures by several threads, each taking the next piece that is left.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace proxent::detail {

// At least 1: `asked`, or as many as the machine has when that is 0.
inline int thread_count(int asked) {
  if (asked > 0) return asked;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// f(i) for every i in 0 .. count-1, in any order, by `threads` threads (0: as many as the machine
// has). After an exception the rest is left out, and it is thrown again here.
template <class F>
void for_each_index(std::int64_t count, int threads, const F& f) {
  std::atomic<std::int64_t> next = 0;
  std::exception_ptr error;
  std::mutex mutex;
  std::vector<std::jthread> workers;
  for (int t = 0; t < thread_count(threads); ++t)
    workers.emplace_back([&] {
      try {
        for (std::int64_t i = next++; i < count; i = next++) f(i);
      } catch (...) {
        next = count;
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    });
  workers.clear();  // joins
  if (error) std::rethrow_exception(error);
}

}  // namespace proxent::detail
