// Python's pickles as PyTorch writes weights in them: a machine with a stack that builds values
// from numbers, texts, lists and dictionaries (Lib/pickletools.py describes each instruction).
//
// A pickle may name any Python function and have it called; that is how pickles attack. Here a name
// is only looked up in a short list of what PyTorch needs for tensors, and whatever is not in it is
// refused.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

class Pickle {
 public:
  using Id = std::uint32_t;  // of a value

  enum class Kind : std::uint8_t {
    none,
    boolean,  // number
    integer,  // number, where it fits
    real,     // real
    text,     // text
    list,     // items; tuples too
    dict,     // items: key, value, key, value, ...
    global,   // text: "torch FloatStorage"
    storage,  // items: the tuple ('storage', class, key, device, elements, ...)
    tensor,   // items: what torch._utils._rebuild_tensor_v2 is called with
  };
  struct Value {
    Kind kind = Kind::none;
    std::int64_t number = 0;
    double real = 0;
    std::string text = {};
    std::vector<Id> items = {};
  };

  // Runs the pickle at the start of `bytes`. Throws DataError naming `origin` and the byte:
  // instructions that PyTorch does not write for tensors, names that are not allowed, truncation,
  // an empty stack, more than a million values.
  Pickle(std::string_view bytes, const std::string& origin);

  const Value& root() const { return values_[root_]; }
  const Value& operator[](Id id) const { return values_[id]; }
  Id count() const { return static_cast<Id>(values_.size()); }  // of values
  std::size_t size() const { return size_; }                    // bytes up to its last instruction
  // The value of a dictionary's key; null where there is none.
  const Value* find(const Value& dict, std::string_view key) const;

 private:
  class Machine;

  std::vector<Value> values_;
  Id root_ = 0;
  std::size_t size_ = 0;
};

}  // namespace proxent
