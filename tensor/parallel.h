// Loops over the machine's cores. What is computed for an item never depends on which thread has
// it, so results do not depend on the number of threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace proxent {

// None of the functions f may throw: an exception cannot leave OpenMP's threads. What may throw,
// such as reading files, has data/parallel.h.

// Calls f(first, last) for consecutive ranges that cover 0 .. n. Ranges of fewer than `grain` items
// are not worth a thread.
template <class F>
void parallel_ranges(std::int64_t n, std::int64_t grain, const F& f) {
  const std::int64_t chunks = (n + grain - 1) / grain;
#pragma omp parallel for schedule(static) if (chunks > 1)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
    f(chunk * grain, chunk + 1 < chunks ? (chunk + 1) * grain : n);
}

// Calls f(i) for i in 0 .. n, `grain` at a time.
template <class F>
void parallel_for(std::int64_t n, std::int64_t grain, const F& f) {
  parallel_ranges(n, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) f(i);
  });
}

// Calls f(i) once for each i in 0 .. n. Each thread has the items it has in parallel_for with a
// grain of 1, but takes them from last to first: what a loop before this one wrote or read last is
// still in that core's cache.
template <class F>
void parallel_for_backwards(std::int64_t n, const F& f) {
#pragma omp parallel if (n > 1)
  {
    const std::int64_t threads = omp_get_num_threads(), thread = omp_get_thread_num();
    const std::int64_t share = n / threads, rest = n % threads;
    const std::int64_t first = thread * share + std::min(thread, rest);
    for (std::int64_t i = first + share + (thread < rest) - 1; i >= first; --i) f(i);
  }
}

}  // namespace proxent
