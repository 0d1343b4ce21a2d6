#include "tensor/allocator.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>

#include "tensor/gpu.h"
#include "tensor/launch.h"
#include "tensor/memory.h"

namespace proxent {
namespace {

constexpr std::int64_t kMiB = 1 << 20;
constexpr int kHoldersShown = 5;

std::int64_t size_class(std::int64_t bytes) {
  const std::int64_t step = bytes <= kMiB ? 512 : 2 * kMiB;
  return std::max<std::int64_t>(1, (bytes + step - 1) / step) * step;
}

constexpr std::int64_t kCanaryBytes = 64;
constexpr unsigned char kCanary = 0xc5;

// What a block has behind its bytes that belongs to nobody. On a GPU only where a guard looks at
// it: its memory comes in pages of 2 MiB, of which large blocks are made.
std::int64_t canary_bytes(Device device, bool is_guard_on) {
  return device == Device::cuda && !is_guard_on ? 0 : kCanaryBytes;
}

// call(Cpu{}), call(Cuda{}) or call(Meta{}), for the overloads of tensor/memory.h.
template <class Call>
decltype(auto) on_memory(Device device, Call&& call) {
  if (device == Device::meta) return call(Meta{});
  return on_device(device, std::forward<Call>(call));
}

void allow_access(Device device, const void* data, std::int64_t bytes, std::int64_t block_bytes) {
  on_memory(device, [&](auto tag) { detail::allow_access(tag, data, bytes, block_bytes); });
}

struct Block {
  void* data;
  std::int64_t bytes;
  std::int64_t owned = 0;  // with the canary behind them
  std::int64_t asked = 0;  // the first of them are a tensor's
  std::string scope = {};
  bool is_guarded = false;
  std::int64_t reserve = 0;  // number of the MemoryReserve it belongs to; 0: none
};

class Pool {
 public:
  explicit Pool(Device device) : device_(device) {}

  void* allocate(std::int64_t asked) {
    const std::int64_t bytes = size_class(asked);
    std::unique_lock lock(mutex_);
    Block block = take(bytes);
    if (!block.data && call_in_reserves(lock)) block = take(bytes);
    if (!block.data) throw_out_of_memory(asked);
    block.asked = asked;
    block.scope = Scope::trail();
    block.reserve = open_reserve_;
    in_use_ += block.bytes;
    peak_ = std::max(peak_, in_use_);
    prepare(block);
    void* data = block.data;
    used_.emplace(data, std::move(block));
    return data;
  }

  void free(void* data) {
    std::lock_guard lock(mutex_);
    auto found = used_.find(data);
    Block block = std::move(found->second);
    used_.erase(found);
    verify(block);
    allow_access(device_, block.data, 0, block.owned);
    in_use_ -= block.bytes;
    cached_ += block.bytes;
    if (block.reserve != 0)
      reserves_[block.reserve].emplace(block.bytes, std::move(block));
    else
      make_free(std::move(block));
  }

  std::int64_t open_reserve(std::function<void()> give_up) {
    std::lock_guard lock(mutex_);
    check(open_reserve_ == 0, "memory: a reserve is open already");
    open_reserve_ = ++reserves_made_;
    if (give_up) owners_.emplace(open_reserve_, std::move(give_up));
    return open_reserve_;
  }
  void close_reserve(std::int64_t number) {
    std::lock_guard lock(mutex_);
    if (open_reserve_ == number) open_reserve_ = 0;
  }
  void release_reserve(std::int64_t number) {
    close_reserve(number);
    std::lock_guard lock(mutex_);
    owners_.erase(number);
    for (auto& [bytes, block] : reserves_[number]) make_free(std::move(block));
    reserves_.erase(number);
    for (auto& [data, block] : used_)
      if (block.reserve == number) block.reserve = 0;
  }

  MemoryReport report() {
    std::lock_guard lock(mutex_);
    return report_locked();
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    peak_ = in_use_;
  }
  void set_limit(std::int64_t bytes) {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
  }
  void set_guard(bool is_on) {
    std::lock_guard lock(mutex_);
    is_guard_on_ = is_on;
  }
  void release_all() {
    std::lock_guard lock(mutex_);
    while (!free_.empty()) release_oldest();
  }

 private:
  // From the cache, or else from the system, for which cached blocks may have to go. Without data
  // where neither has one.
  Block take(std::int64_t bytes) {
    Block block = take_cached(bytes);
    if (block.data) return block;
    if (limit_ > 0) {
      while (in_use_ + cached_ + bytes > limit_ && !free_.empty()) release_oldest();
      if (in_use_ + cached_ + bytes > limit_) return {};
    }
    block = {nullptr, bytes, bytes + canary_bytes(device_, is_guard_on_)};
    block.data = take_fresh(block.owned);
    if (!block.data) {
      while (!free_.empty()) release_oldest();
      block.data = take_fresh(block.owned);
    }
    if (block.data) ++system_requests_;
    return block;
  }

  // True if somebody was asked to give up a reserve. Not while one is open: nobody may wait for the
  // device then, as the end of recorded work does.
  bool call_in_reserves(std::unique_lock<std::mutex>& lock) {
    if (open_reserve_ != 0) return false;
    const auto owners = std::exchange(owners_, {});
    lock.unlock();  // they come back with their blocks
    for (const auto& [number, give_up] : owners) give_up();
    lock.lock();
    return !owners.empty();
  }

  void* take_fresh(std::int64_t bytes) const {
    return on_memory(device_, [&](auto device) { return detail::system_allocate(device, bytes); });
  }

  void make_free(Block block) {
    block.reserve = 0;
    free_.push_back(std::move(block));
    by_size_.emplace(free_.back().bytes, std::prev(free_.end()));
  }

  // The smallest of the open reserve's blocks, or else of those free to all, that fits, unless it
  // wastes more than a quarter.
  Block take_cached(std::int64_t bytes) {
    const auto fits = [bytes](auto found, const auto& blocks) {
      return found != blocks.end() && found->first <= bytes + bytes / 4;
    };
    if (open_reserve_ != 0) {
      auto& reserve = reserves_[open_reserve_];
      if (auto own = reserve.lower_bound(bytes); fits(own, reserve)) {
        Block block = std::move(own->second);
        reserve.erase(own);
        cached_ -= block.bytes;
        return block;
      }
    }
    auto fit = by_size_.lower_bound(bytes);
    if (!fits(fit, by_size_)) return {};
    auto position = fit->second;
    Block block = std::move(*position);
    by_size_.erase(fit);
    free_.erase(position);
    cached_ -= block.bytes;
    return block;
  }

  void release_oldest() {
    auto position = free_.begin();
    auto [first, last] = by_size_.equal_range(position->bytes);
    by_size_.erase(
        std::find_if(first, last, [&](auto& entry) { return entry.second == position; }));
    cached_ -= position->bytes;
    allow_access(device_, position->data, position->owned, position->owned);
    on_memory(device_, [&](auto device) { detail::system_free(device, position->data); });
    free_.erase(position);
  }

  MemoryReport report_locked() const {
    MemoryReport report{in_use_, cached_, 0, peak_, limit_, system_requests_, {}};
    for (const auto& [number, blocks] : reserves_)
      for (const auto& [bytes, block] : blocks) report.reserved += bytes;
    std::map<std::string, std::int64_t> by_scope;
    for (const auto& [data, block] : used_) by_scope[block.scope] += block.bytes;
    report.holders.assign(by_scope.begin(), by_scope.end());
    std::stable_sort(report.holders.begin(), report.holders.end(),
                     [](auto& a, auto& b) { return a.second > b.second; });
    return report;
  }

  [[noreturn]] void throw_out_of_memory(std::int64_t asked) const {
    fail<OutOfMemory>("out of memory", device_ == Device::cpu ? "" : " on the GPU", ": asked for ",
                      asked, " bytes\n", report_locked().text());
  }

  // Everything behind the tensor's own bytes is the canary's, the rest of the size class too.
  void prepare(Block& block) {
    // Whoever records cannot stop to look at a canary.
    block.is_guarded = is_guard_on_ && open_reserve_ == 0;
    const std::int64_t behind = block.owned - block.asked;
    if (block.is_guarded) {
      allow_access(device_, block.data, block.owned, block.owned);
      on_memory(device_, [&](auto device) {
        detail::fill_bytes(device, block.data, 0xff, block.asked);
        detail::fill_bytes(device, static_cast<char*>(block.data) + block.asked, kCanary, behind);
      });
    }
    allow_access(device_, block.data, block.asked, block.owned);
  }
  void verify(const Block& block) const {
    if (!block.is_guarded || open_reserve_ != 0) return;
    allow_access(device_, block.data, block.owned, block.owned);
    std::vector<unsigned char> behind(static_cast<std::size_t>(block.owned - block.asked));
    try {
      on_memory(device_, [&](auto device) {
        detail::copy_out(device, behind.data(), static_cast<char*>(block.data) + block.asked,
                         std::ssize(behind));
      });
    } catch (const CudaError&) {
      return;  // a kernel failed before; the next op tells, whereas this runs in destructors
    }
    // A kernel wrote out of bounds: nothing is safe now.
    if (std::any_of(behind.begin(), behind.end(), [](auto byte) { return byte != kCanary; }))
      std::abort();
  }

  const Device device_;
  std::mutex mutex_;  // loader threads allocate too
  std::unordered_map<void*, Block> used_;
  std::list<Block> free_;  // oldest first
  std::multimap<std::int64_t, std::list<Block>::iterator> by_size_;
  std::map<std::int64_t, std::multimap<std::int64_t, Block>> reserves_;  // their free blocks
  std::map<std::int64_t, std::function<void()>> owners_;                 // of reserves: give_up
  std::int64_t open_reserve_ = 0, reserves_made_ = 0;
  std::int64_t in_use_ = 0, cached_ = 0, peak_ = 0, limit_ = 0, system_requests_ = 0;
  bool is_guard_on_ = false;
};

// Never destroyed: tensors with static lifetime may outlive any order of destruction.
Pool& pool(Device device) {
  static auto& pools =
      *new std::array<Pool, 3>{Pool(Device::cpu), Pool(Device::cuda), Pool(Device::meta)};
  return pools[static_cast<std::size_t>(device)];
}

std::string mebibytes(std::int64_t bytes) {
  return detail::concat(std::round(10.0 * static_cast<double>(bytes) / kMiB) / 10, " MiB");
}

}  // namespace

std::string MemoryReport::text() const {
  std::string lines = detail::concat("  in use ", mebibytes(in_use), ", cached ", mebibytes(cached),
                                     ", peak ", mebibytes(peak));
  if (limit > 0) lines += ", limit " + mebibytes(limit);
  for (std::size_t i = 0; i < holders.size() && i < kHoldersShown; ++i)
    lines += detail::concat("\n  ", mebibytes(holders[i].second), " in ",
                            holders[i].first.empty() ? "(no scope)" : holders[i].first);
  return lines;
}

MemoryReport memory_report(Device device) { return pool(device).report(); }
void reset_memory_peak(Device device) { pool(device).reset_peak(); }
void set_memory_limit(Device device, std::int64_t bytes) { pool(device).set_limit(bytes); }
void set_memory_guard(Device device, bool is_on) { pool(device).set_guard(is_on); }
void release_cached_memory(Device device) { pool(device).release_all(); }

MemoryReserve::MemoryReserve(Device device, std::function<void()> give_up)
    : device_(device), number_(pool(device).open_reserve(std::move(give_up))) {}
MemoryReserve::~MemoryReserve() { pool(device_).release_reserve(number_); }
void MemoryReserve::close() { pool(device_).close_reserve(number_); }

namespace detail {
void* system_allocate(Meta, std::int64_t bytes) {
  static std::atomic<std::uintptr_t> next = 1 << 20;
  return reinterpret_cast<void*>(  // NOLINT(performance-no-int-to-ptr): of memory nobody has
      next.fetch_add(static_cast<std::uintptr_t>(bytes + 255) / 256 * 256));
}

void* pool_allocate(Device device, std::int64_t bytes) { return pool(device).allocate(bytes); }
void pool_free(Device device, void* data) { pool(device).free(data); }
}  // namespace detail

}  // namespace proxent
