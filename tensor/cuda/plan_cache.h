// What a library worked out for one set of sizes, kept under the bytes of those sizes.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace proxent::cuda {

// Key: a plain struct that holds everything a plan depends on, without padding.
template <class Key, class Plan>
class PlanCache {
  static_assert(std::has_unique_object_representations_v<Key>, "equal keys must have equal bytes");

 public:
  // Far more than the layers of a network; beyond, sizes change without end and all are forgotten.
  static constexpr std::size_t kMostPlans = 4096;

  // The plan of `key`; make() makes it the first time, and again if it threw.
  template <class Make>
  std::shared_ptr<const Plan> find_or_make(const Key& key, Make&& make) {
    std::lock_guard lock(mutex_);
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    auto plan = std::make_shared<const Plan>(std::forward<Make>(make)());
    if (plans_.size() >= kMostPlans) plans_.clear();
    plans_.emplace(key, plan);
    return plan;
  }

 private:
  static std::string_view bytes(const Key& key) {
    return {reinterpret_cast<const char*>(&key), sizeof(Key)};
  }
  struct Hash {
    std::size_t operator()(const Key& key) const {
      return std::hash<std::string_view>()(bytes(key));
    }
  };
  struct Equal {
    bool operator()(const Key& a, const Key& b) const { return bytes(a) == bytes(b); }
  };

  std::mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<const Plan>, Hash, Equal> plans_;
};

}  // namespace proxent::cuda
