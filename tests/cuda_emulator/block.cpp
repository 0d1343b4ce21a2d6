// The scheduler: a block's threads take turns on fibers; one that must wait says for what, and is
// ready again when all it waits for have come. If nobody is ready and somebody waits, that is a bug
// of the kernel, and the launch ends with a text instead of a hang.
#include "tests/cuda_emulator/block.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <sstream>
#include <vector>

#include "tests/cuda_emulator/cuda_runtime.h"
#include "tests/cuda_emulator/emulator.h"
#include "tests/cuda_emulator/fiber.h"

#ifdef PROXENT_SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulator {
namespace {

enum class State : std::uint8_t { fresh, ready, at_barrier, at_warp, done };

struct Worker;

struct Thread {
  State state = State::fresh;
  uint3 index{};
  Worker* worker = nullptr;
  Site site;
  bool predicate = false;  // at_barrier
  WarpCall call{};         // at_warp, with the rest
  unsigned mask = 0, source = 0;
  bool is_signed = false;
  std::uint64_t value = 0;
};

// A fiber that runs one thread's body after the other.
struct Worker {
  Worker() : fiber(&loop, this) {}
  static void loop(void* self);
  Fiber fiber;
};

std::string place(const Site& site) {
  const std::string file = site.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(site.line());
}
std::string text_of(const uint3& i) {
  std::ostringstream text;
  text << "(" << i.x << ", " << i.y << ", " << i.z << ")";
  return text.str();
}

std::string name_of(const Thread& thread) {
  return "thread " + text_of(thread.index) + " of block " + text_of(blockIdx);
}

// A block's dynamic shared memory, with bytes behind it that nobody may touch.
class SharedMemory {
 public:
  void resize(std::size_t bytes) {
#ifdef PROXENT_SANITIZE_ADDRESS
    if (data_) __asan_unpoison_memory_region(data_ + bytes_, kCanaryBytes);
#endif
    std::free(data_);
    bytes_ = bytes;
    data_ = static_cast<std::byte*>(std::aligned_alloc(
        kAlignment, (bytes + kCanaryBytes + kAlignment - 1) & ~(kAlignment - 1)));
    std::fill_n(data_ + bytes_, kCanaryBytes, kCanary);
#ifdef PROXENT_SANITIZE_ADDRESS
    __asan_poison_memory_region(data_ + bytes_, kCanaryBytes);
#endif
  }
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  bool was_overrun() const {
#ifdef PROXENT_SANITIZE_ADDRESS
    return false;  // the sanitizer has said so already
#else
    return std::any_of(data_ + bytes_, data_ + bytes_ + kCanaryBytes,
                       [](std::byte b) { return b != kCanary; });
#endif
  }

 private:
  static constexpr std::size_t kCanaryBytes = 64, kAlignment = 128;
  static constexpr std::byte kCanary{0xc5};
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Machine {
 public:
  std::string run(const LaunchShape& shape, const std::function<void()>& body);

  void set_order(Order order, std::uint64_t seed) {
    order_ = order;
    random_.seed(seed);
  }
  Counters counters() const { return counters_; }

  // From within a thread.
  void run_body() {
    (*body_)();
    current_->state = State::done;
    idle_.push_back(current_->worker);
    settle_warp(*current_);
  }
  Thread& current() { return *current_; }
  unsigned linear(const Thread& thread) const {
    return static_cast<unsigned>(&thread - threads_.data());
  }
  Votes votes() const { return votes_; }
  std::byte* shared_memory() { return shared_.data(); }

  void wait_at_barrier(bool predicate, const Site& site) {
    current_->predicate = predicate;
    wait(State::at_barrier, site);
  }
  std::uint64_t wait_at_warp(WarpCall call, unsigned mask, std::uint64_t value, unsigned source,
                             bool is_signed, const Site& site) {
    Thread& me = *current_;
    const unsigned bit = 1u << linear(me) % kWarp;
    if (!(mask & bit)) end(name_of(call), ": the calling lane is not in its mask");
    me.call = call;
    me.mask = mask;
    me.value = value;
    me.source = source;
    me.is_signed = is_signed;
    me.state = State::at_warp;
    me.site = site;
    settle_warp(me);
    if (me.state != State::ready) wait(State::at_warp, site);
    return me.value;
  }
  // Takes no string: the caller's frame is dropped, not unwound, and would leak it.
  [[noreturn]] void end(const char* call, const char* what) {
    fault_ = name_of(*current_) + ": " + call + what;
    current_->worker->fiber.suspend();
    std::abort();  // nobody resumes a fiber of a launch that ended
  }

 private:
  void wait(State state, const Site& site) {
    current_->state = state;
    current_->site = site;
    current_->worker->fiber.suspend();
  }
  void run_block();
  void resume(Thread& thread);
  bool release_barrier();
  using Lanes = std::array<Thread*, kWarp>;  // null: does not take part
  void settle_warp(const Thread& arrived);
  void settle_group(const Thread& leader, unsigned first, unsigned last);
  void shuffle(const Lanes& lanes);
  static void combine(const Lanes& lanes, WarpCall call);
  static unsigned first_of(const Lanes& lanes);
  static std::uint64_t result_of(const Lanes& lanes, WarpCall call, const Thread& me);
  std::string describe_deadlock() const;
  template <class T>
  void arrange(std::vector<T>& order);
  void abandon();

  Order order_ = Order::forward;
  std::mt19937_64 random_;
  Counters counters_;

  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<unsigned> turns_;
  Thread* current_ = nullptr;
  Votes votes_;
  std::string fault_;
  SharedMemory shared_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
};

Machine& machine() {
  static auto& only = *new Machine;  // fibers outlive static destruction
  return only;
}

void Worker::loop(void* self) {
  for (;;) {
    machine().run_body();
    static_cast<Worker*>(self)->fiber.suspend();
  }
}

template <class T>
void Machine::arrange(std::vector<T>& order) {
  if (order_ == Order::reverse) std::reverse(order.begin(), order.end());
  if (order_ == Order::shuffled) std::shuffle(order.begin(), order.end(), random_);
}

void Machine::resume(Thread& thread) {
  if (thread.state == State::fresh) {
    if (idle_.empty()) {
      workers_.push_back(std::make_unique<Worker>());
      idle_.push_back(workers_.back().get());
    }
    thread.worker = idle_.back();
    idle_.pop_back();
  }
  current_ = &thread;
  thread.state = State::ready;
  threadIdx = thread.index;
  thread.worker->fiber.resume();
}

// True if all threads stand at one barrier and may go on.
bool Machine::release_barrier() {
  const Thread& first = threads_.front();
  votes_ = {0, static_cast<int>(threads_.size())};
  for (const Thread& thread : threads_) {
    if (thread.state != State::at_barrier || thread.site.line() != first.site.line() ||
        std::strcmp(thread.site.file_name(), first.site.file_name()) != 0)
      return false;
    votes_.count += thread.predicate;
  }
  for (Thread& thread : threads_) thread.state = State::ready;
  return true;
}

// After `arrived` came to a warp function or ended: lets the lanes go that now have all they named.
// Lanes that have ended are not waited for, as on the device.
void Machine::settle_warp(const Thread& arrived) {
  const unsigned first = linear(arrived) / kWarp * kWarp;
  const unsigned last = std::min<unsigned>(first + kWarp, static_cast<unsigned>(threads_.size()));
  if (arrived.state == State::at_warp) return settle_group(arrived, first, last);
  for (unsigned i = first; i < last; ++i)
    if (threads_[i].state == State::at_warp) settle_group(threads_[i], first, last);
}

// The lanes that `leader`'s mask names.
void Machine::settle_group(const Thread& leader, unsigned first, unsigned last) {
  Lanes lanes{};
  for (unsigned i = first; i < last; ++i) {
    Thread& other = threads_[i];
    if (!(leader.mask >> (i - first) & 1) || other.state == State::done) continue;
    if (other.state != State::at_warp || other.call != leader.call || other.mask != leader.mask)
      return;
    lanes[i - first] = &other;
  }
  if (leader.call == WarpCall::shuffle)
    shuffle(lanes);
  else
    combine(lanes, leader.call);
}

void Machine::shuffle(const Lanes& lanes) {
  std::array<std::uint64_t, kWarp> values{};
  for (unsigned i = 0; i < kWarp; ++i)
    if (lanes[i]) values[i] = lanes[i]->value;
  for (Thread* lane : lanes) {
    if (!lane) continue;
    if (!lanes[lane->source]) {
      fault_ = name_of(*lane) + ": __shfl at " + place(lane->site) + " reads lane " +
               std::to_string(lane->source) + ", which does not take part";
      return;
    }
    lane->value = values[lane->source];
  }
  for (Thread* lane : lanes)
    if (lane) lane->state = State::ready;
}

void Machine::combine(const Lanes& lanes, WarpCall call) {
  std::array<std::uint64_t, kWarp> results{};
  for (unsigned i = 0; i < kWarp; ++i) {
    if (!lanes[i]) continue;
    if (call == WarpCall::match || i == first_of(lanes))
      results[i] = result_of(lanes, call, *lanes[i]);
    else
      results[i] = results[first_of(lanes)];
  }
  for (unsigned i = 0; i < kWarp; ++i) {
    if (!lanes[i]) continue;
    lanes[i]->value = results[i];
    lanes[i]->state = State::ready;
  }
}

unsigned Machine::first_of(const Lanes& lanes) {
  unsigned i = 0;
  while (!lanes[i]) ++i;
  return i;
}

std::uint64_t Machine::result_of(const Lanes& lanes, WarpCall call, const Thread& me) {
  std::uint64_t result = 0;
  const unsigned first = first_of(lanes);
  for (unsigned i = first; i < kWarp; ++i) {
    if (!lanes[i]) continue;
    const std::uint64_t v = lanes[i]->value, bit = std::uint64_t{1} << i;
    const bool is_less = me.is_signed
                             ? static_cast<std::int64_t>(v) < static_cast<std::int64_t>(result)
                             : v < result;
    switch (call) {
      case WarpCall::sync:
      case WarpCall::shuffle:
        break;
      case WarpCall::ballot:
        if (v) result |= bit;
        break;
      case WarpCall::match:
        if (v == me.value) result |= bit;
        break;
      case WarpCall::add:
        result += v;
        break;
      case WarpCall::min:
        if (i == first || is_less) result = v;
        break;
      case WarpCall::max:
        if (i == first || !is_less) result = v;
        break;
      case WarpCall::bit_and:
        result = i == first ? v : result & v;
        break;
      case WarpCall::bit_or:
        result |= v;
        break;
      case WarpCall::bit_xor:
        result ^= v;
        break;
    }
  }
  return result;
}

std::string Machine::describe_deadlock() const {
  std::ostringstream text;
  text << "threads of block " << text_of(blockIdx) << " wait for each other:";
  // The first of each group of threads that do the same.
  std::vector<std::string> groups;
  std::vector<int> sizes;
  std::vector<std::string> examples;
  for (const Thread& thread : threads_) {
    std::string what = "have ended";
    if (thread.state == State::at_barrier) what = "wait in __syncthreads at " + place(thread.site);
    if (thread.state == State::at_warp) {
      std::ostringstream mask;
      mask << std::hex << thread.mask;
      what = std::string("wait in ") + name_of(thread.call) + " of lanes 0x" + mask.str() + " at " +
             place(thread.site);
    }
    const auto found = std::find(groups.begin(), groups.end(), what);
    if (found != groups.end()) {
      ++sizes[static_cast<std::size_t>(found - groups.begin())];
    } else {
      groups.push_back(what);
      sizes.push_back(1);
      examples.push_back(text_of(thread.index));
    }
  }
  for (std::size_t i = 0; i < groups.size(); ++i)
    text << (i ? ", " : " ") << sizes[i] << " (as " << examples[i] << ") " << groups[i];
  return text.str();
}

void Machine::run_block() {
  for (Thread& thread : threads_) thread.state = State::fresh;
  for (;;) {
    std::iota(turns_.begin(), turns_.end(), 0u);
    arrange(turns_);
    bool has_run = false;
    std::size_t done = 0;
    for (const unsigned turn : turns_) {
      Thread& thread = threads_[turn];
      if (thread.state == State::fresh || thread.state == State::ready) {
        resume(thread);
        has_run = true;
        if (!fault_.empty()) return;
      }
      done += thread.state == State::done;
    }
    if (done == threads_.size()) return;
    if (!has_run && !release_barrier()) {
      fault_ = describe_deadlock();
      return;
    }
  }
}

// Forgets the fibers that a fault left in the middle of a kernel.
void Machine::abandon() {
  idle_.clear();
  workers_.clear();
}

std::string Machine::run(const LaunchShape& shape, const std::function<void()>& body) {
  gridDim = dim3(shape.grid.x, shape.grid.y, shape.grid.z);
  blockDim = dim3(shape.block.x, shape.block.y, shape.block.z);
  const auto count = static_cast<std::size_t>(shape.block.count());
  threads_.assign(count, {});
  turns_.resize(count);
  for (unsigned i = 0; i < count; ++i)
    threads_[i].index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
  body_ = &body;
  fault_.clear();
  shared_.resize(shape.shared_bytes);

  std::vector<std::uint64_t> blocks(shape.grid.count());
  std::iota(blocks.begin(), blocks.end(), std::uint64_t{0});
  arrange(blocks);
  for (const std::uint64_t block : blocks) {
    blockIdx = {static_cast<unsigned>(block % gridDim.x),
                static_cast<unsigned>(block / gridDim.x % gridDim.y),
                static_cast<unsigned>(block / gridDim.x / gridDim.y)};
    std::fill_n(shared_.data(), shared_.bytes(), std::byte{0xff});  // NaN to who reads it unwritten
    run_block();
    if (fault_.empty() && shared_.was_overrun())
      fault_ = "block " + text_of(blockIdx) + " wrote behind its " +
               std::to_string(shared_.bytes()) + " bytes of dynamic shared memory";
    if (!fault_.empty()) break;
  }
  ++counters_.launches;
  counters_.threads += static_cast<std::int64_t>(blocks.size() * count);
  if (!fault_.empty()) abandon();
  return fault_;
}

std::mutex& launch_mutex() {
  static std::mutex mutex;
  return mutex;
}
}  // namespace

const char* name_of(WarpCall call) {
  switch (call) {
    case WarpCall::sync:
      return "__syncwarp";
    case WarpCall::shuffle:
      return "__shfl";
    case WarpCall::ballot:
      return "a vote";
    case WarpCall::match:
      return "__match_any_sync";
    default:
      return "__reduce";
  }
}

void set_order(Order order, std::uint64_t seed) { machine().set_order(order, seed); }
Counters counters() { return machine().counters(); }

std::string run_kernel(const LaunchShape& shape, const std::function<void()>& body) {
  std::lock_guard lock(launch_mutex());  // threadIdx and shared memory are there once
  return machine().run(shape, body);
}

Votes meet_block(bool predicate, const Site& site) {
  machine().wait_at_barrier(predicate, site);
  return machine().votes();
}
std::uint64_t meet_warp(WarpCall call, unsigned mask, std::uint64_t value, unsigned source,
                        bool is_signed, const Site& site) {
  return machine().wait_at_warp(call, mask, value, source, is_signed, site);
}
unsigned lane() { return machine().linear(machine().current()) % kWarp; }
std::byte* dynamic_shared_memory() { return machine().shared_memory(); }
void fault(const char* what) { machine().end(what, ""); }

}  // namespace cuda_emulator
