#include "train/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tensor/check.h"

namespace proxent {
namespace {

constexpr std::size_t kMaxValues = 1'000'000;  // a state dict of a thousand tensors has 20,000

// PyTorch's have at most 7. Arguments are copied with each call, so a long list called again and
// again would fill the memory.
constexpr std::size_t kMaxArguments = 16;

constexpr std::array<std::string_view, 14> kAllowedGlobals{
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor",  // of PyTorch before 0.4, with the same first arguments
    "torch._utils _rebuild_parameter",
    "torch FloatStorage",
    "torch HalfStorage",
    "torch BFloat16Storage",
    "torch DoubleStorage",
    "torch LongStorage",
    "torch IntStorage",
    "torch ShortStorage",
    "torch CharStorage",
    "torch ByteStorage",
    "torch BoolStorage",
};

// Under the names of Python's pickletools.
enum class Opcode : unsigned char {
  proto = 0x80,
  frame = 0x95,
  mark = '(',
  stop = '.',
  pop = '0',
  none = 'N',
  newtrue = 0x88,
  newfalse = 0x89,
  binint1 = 'K',
  binint2 = 'M',
  binint = 'J',
  long1 = 0x8a,
  binfloat = 'G',
  binunicode = 'X',
  short_binunicode = 0x8c,
  binstring = 'T',
  short_binstring = 'U',
  empty_dict = '}',
  empty_list = ']',
  empty_tuple = ')',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  tuple = 't',
  list = 'l',
  dict = 'd',
  append = 'a',
  appends = 'e',
  setitem = 's',
  setitems = 'u',
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94,
  binget = 'h',
  long_binget = 'j',
  global = 'c',
  binpersid = 'Q',
  reduce = 'R',
  newobj = 0x81,
  build = 'b',
};

}  // namespace

class Pickle::Machine {
 public:
  Machine(std::string_view bytes, const std::string& origin, std::vector<Value>& values)
      : bytes_(bytes), origin_(origin), values_(values) {}

  Id run() {
    while (true) {
      const auto opcode = static_cast<Opcode>(take(1)[0]);
      if (opcode == Opcode::stop) return pop();
      step(opcode);
    }
  }
  std::size_t position() const { return at_; }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    proxent::fail<DataError>(origin_, ": pickle, byte ", at_, ": ", parts...);
  }

  void step(Opcode opcode) {
    switch (opcode) {
      case Opcode::proto:
        take(1);
        break;
      case Opcode::frame:
        take(8);
        break;
      case Opcode::mark:
        marks_.push_back(stack_.size());
        break;
      case Opcode::pop:
        pop();
        break;
      case Opcode::none:
        push({.kind = Kind::none});
        break;
      case Opcode::newtrue:
      case Opcode::newfalse:
        push({.kind = Kind::boolean, .number = opcode == Opcode::newtrue});
        break;
      case Opcode::binint1:
        push_integer(number<std::uint8_t>());
        break;
      case Opcode::binint2:
        push_integer(number<std::uint16_t>());
        break;
      case Opcode::binint:
        push_integer(number<std::int32_t>());
        break;
      case Opcode::long1:
        push_long();
        break;
      case Opcode::binfloat:
        push({.kind = Kind::real,
              .real = std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()))});
        break;
      case Opcode::binunicode:
      case Opcode::binstring:
        push_text(number<std::uint32_t>());
        break;
      case Opcode::short_binunicode:
      case Opcode::short_binstring:
        push_text(number<std::uint8_t>());
        break;
      case Opcode::empty_dict:
        push({.kind = Kind::dict});
        break;
      case Opcode::empty_list:
      case Opcode::empty_tuple:
        push({.kind = Kind::list});
        break;
      case Opcode::tuple1:
        push_tuple(1);
        break;
      case Opcode::tuple2:
        push_tuple(2);
        break;
      case Opcode::tuple3:
        push_tuple(3);
        break;
      case Opcode::tuple:
      case Opcode::list:
        push_tuple(since_mark());
        break;
      case Opcode::dict:
        push_tuple(since_mark());
        values_[stack_.back()].kind = Kind::dict;
        check_pairs(values_[stack_.back()].items);
        break;
      case Opcode::append:
        extend(1, Kind::list);
        break;
      case Opcode::appends:
        extend(since_mark(), Kind::list);
        break;
      case Opcode::setitem:
        extend(2, Kind::dict);
        break;
      case Opcode::setitems:
        extend(since_mark(), Kind::dict);
        break;
      case Opcode::binput:
        remember(number<std::uint8_t>());
        break;
      case Opcode::long_binput:
        remember(number<std::uint32_t>());
        break;
      case Opcode::memoize:
        remember(static_cast<std::uint32_t>(memo_.size()));
        break;
      case Opcode::binget:
        recall(number<std::uint8_t>());
        break;
      case Opcode::long_binget:
        recall(number<std::uint32_t>());
        break;
      case Opcode::global:
        push_global();
        break;
      case Opcode::binpersid:
        push_storage();
        break;
      case Opcode::reduce:
      case Opcode::newobj:
        call();
        break;
      case Opcode::build:  // attributes of an OrderedDict (its _metadata), of no use here
        pop();
        top();
        break;
      default:
        fail("instruction ", int{static_cast<unsigned char>(opcode)},
             " is not one that PyTorch writes for tensors");
    }
  }

  std::string_view take(std::size_t count) {
    if (count > bytes_.size() - at_) fail("truncated");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail("truncated");
    const std::string_view text = bytes_.substr(at_, end - at_);
    at_ = end + 1;
    return text;
  }

  void push(Value value) {
    if (values_.size() >= kMaxValues) fail("more than ", kMaxValues, " values");
    values_.push_back(std::move(value));
    stack_.push_back(static_cast<Id>(values_.size() - 1));
  }
  // A mark must stay above what it marked.
  void need(std::size_t count) const {
    const std::size_t floor = marks_.empty() ? 0 : marks_.back();
    if (stack_.size() < floor + count) fail("the stack is empty");
  }
  Id pop() {
    need(1);
    const Id id = stack_.back();
    stack_.pop_back();
    return id;
  }
  Id top() const {
    need(1);
    return stack_.back();
  }
  std::size_t since_mark() {
    if (marks_.empty()) fail("there is no mark");
    const std::size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }
  std::vector<Id> pop_many(std::size_t count) {
    need(count);
    const auto first = stack_.end() - static_cast<std::ptrdiff_t>(count);
    std::vector<Id> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    return items;
  }

  void push_integer(std::int64_t value) { push({.kind = Kind::integer, .number = value}); }
  // As many bytes as it says, the last with the sign.
  void push_long() {
    Value out{.kind = Kind::integer, .text = std::string(take(number<std::uint8_t>()))};
    std::uint64_t bits = !out.text.empty() && out.text.back() < 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&bits, out.text.data(), std::min<std::size_t>(out.text.size(), 8));
    out.number = static_cast<std::int64_t>(bits);
    push(std::move(out));
  }
  void push_text(std::size_t length) {
    push({.kind = Kind::text, .text = std::string(take(length))});
  }

  void push_tuple(std::size_t count) {
    std::vector<Id> items = pop_many(count);
    push({.kind = Kind::list, .items = std::move(items)});
  }
  void check_pairs(const std::vector<Id>& items) const {
    if (items.size() % 2 != 0) fail("a key without a value");
  }
  void extend(std::size_t count, Kind kind) {
    const std::vector<Id> items = pop_many(count);
    Value& to = values_[top()];
    if (to.kind != kind) fail("items for what is no ", kind == Kind::list ? "list" : "dictionary");
    if (kind == Kind::dict) check_pairs(items);
    to.items.insert(to.items.end(), items.begin(), items.end());
  }

  void remember(std::uint32_t place) { memo_[place] = top(); }
  void recall(std::uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("nothing was remembered as ", place);
    stack_.push_back(found->second);
    if (stack_.size() > kMaxValues) fail("more than ", kMaxValues, " values");
  }

  void push_global() {
    std::string name(line());
    name += ' ';
    name += line();
    if (std::find(kAllowedGlobals.begin(), kAllowedGlobals.end(), name) == kAllowedGlobals.end())
      fail("needs Python's '", name.substr(0, 100),
           "', which is neither a tensor nor a dictionary of tensors and is not run; in Python, "
           "save model.state_dict() alone");
    push({.kind = Kind::global, .text = std::move(name)});
  }
  void push_storage() {
    const Value& tuple = values_[pop()];
    const auto& items = tuple.items;
    const bool is_storage =
        tuple.kind == Kind::list && items.size() >= 5 && items.size() <= kMaxArguments &&
        values_[items[0]].text == "storage" && values_[items[1]].text.ends_with("Storage") &&
        values_[items[2]].kind == Kind::text && values_[items[4]].kind == Kind::integer;
    if (!is_storage) fail("a persistent id that is no storage of a tensor");
    if (items.size() > 5 && values_[items[5]].kind != Kind::none)
      fail("a storage that is a view of another one, as PyTorch before 0.4 wrote them");
    push({.kind = Kind::storage, .items = std::vector<Id>(items)});
  }
  void call() {
    const Id arguments = pop(), function = pop();
    if (values_[function].kind != Kind::global || values_[arguments].kind != Kind::list)
      fail("a call of what is no function");
    const std::string& name = values_[function].text;
    if (values_[arguments].items.size() > kMaxArguments)
      fail("a call of '", name, "' with more than ", kMaxArguments, " arguments");
    const std::vector<Id> items = values_[arguments].items;
    if (name == "collections OrderedDict" && items.empty()) {
      push({.kind = Kind::dict});
    } else if (name.starts_with("torch._utils _rebuild_tensor") && items.size() >= 4) {
      push({.kind = Kind::tensor, .items = items});
    } else if (name == "torch._utils _rebuild_parameter" && !items.empty() &&
               values_[items[0]].kind == Kind::tensor) {
      stack_.push_back(items[0]);
    } else {
      fail("a call of '", name, "' with ", items.size(), " arguments that do not suit it");
    }
  }

  std::string_view bytes_;
  const std::string& origin_;
  std::vector<Value>& values_;
  std::size_t at_ = 0;
  std::vector<Id> stack_;
  std::vector<std::size_t> marks_;  // sizes of the stack
  std::map<std::uint32_t, Id> memo_;
};

Pickle::Pickle(std::string_view bytes, const std::string& origin) {
  Machine machine(bytes, origin, values_);
  root_ = machine.run();
  size_ = machine.position();
}

const Pickle::Value* Pickle::find(const Value& dict, std::string_view key) const {
  if (dict.kind != Kind::dict) return nullptr;
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    const Value& name = values_[dict.items[i]];
    if (name.kind == Kind::text && name.text == key) return &values_[dict.items[i + 1]];
  }
  return nullptr;
}

}  // namespace proxent
