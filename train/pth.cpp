#include "train/pth.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <optional>

#include "train/atomic_file.h"
#include "train/pickle.h"

namespace proxent {
namespace {

using Kind = Pickle::Kind;
using Value = Pickle::Value;

constexpr std::int64_t kMaxPickle = 64 << 20;  // bytes

struct Span {
  std::int64_t begin = 0, bytes = 0;  // in the file
};

std::string text_at(const InputFile& file, Span span) {
  std::string text(static_cast<std::size_t>(span.bytes), '\0');
  file.read(text.data(), span.begin, span.bytes);
  return text;
}

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// The stored entries of a zip archive (APPNOTE.TXT of PKWARE), by name.
class ZipArchive {
 public:
  explicit ZipArchive(const InputFile& file) : file_(file) {
    const auto [begin, bytes, count] = find_directory();
    const std::string directory = text_at(file, {begin, bytes});
    std::size_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) at = add_entry(directory, at);
  }

  // The entry whose name ends so; the name itself.
  std::string name_ending_with(std::string_view end) const {
    for (const auto& [name, span] : entries_)
      if (name.ends_with(end)) return name;
    fail("holds no ", end, "; was it written by torch.save?");
  }
  Span find(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail("holds no ", name);
    return found->second;
  }
  bool contains(const std::string& name) const { return entries_.contains(name); }

 private:
  struct Directory {
    std::int64_t begin, bytes;
    std::uint64_t count;
  };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    proxent::fail<DataError>(file_.path().string(), ": this zip archive ", parts...);
  }
  void check_inside(std::uint64_t begin, std::uint64_t bytes) const {
    const auto size = static_cast<std::uint64_t>(file_.size());
    if (begin > size || bytes > size - begin) fail("is truncated or damaged");
  }

  Directory find_directory() const {
    constexpr std::int64_t kEnd = 22, kLongestComment = 65535, kEnd64 = 56, kLocator = 20;
    const std::int64_t tail = std::min(file_.size(), kEnd + kLongestComment + kLocator);
    const std::string bytes = text_at(file_, {file_.size() - tail, tail});
    const std::size_t end = bytes.rfind("PK\5\6");
    if (end == std::string::npos || bytes.size() - end < kEnd) fail("is truncated: it has no end");
    Directory out{number_at<std::uint32_t>(bytes, end + 16),
                  number_at<std::uint32_t>(bytes, end + 12),
                  number_at<std::uint16_t>(bytes, end + 10)};
    const std::size_t locator = end - kLocator;
    if (end >= kLocator && bytes.compare(locator, 4, "PK\6\7") == 0) {  // zip64
      const auto at = number_at<std::uint64_t>(bytes, locator + 8);
      check_inside(at, kEnd64);
      const std::string end64 = text_at(file_, {static_cast<std::int64_t>(at), kEnd64});
      out = {number_at<std::int64_t>(end64, 48), number_at<std::int64_t>(end64, 40),
             number_at<std::uint64_t>(end64, 32)};
    }
    check_inside(static_cast<std::uint64_t>(out.begin), static_cast<std::uint64_t>(out.bytes));
    return out;
  }

  // Returns where the next entry begins.
  std::size_t add_entry(const std::string& directory, std::size_t at) {
    constexpr std::size_t kEntry = 46;
    if (directory.size() - at < kEntry || directory.compare(at, 4, "PK\1\2") != 0)
      fail("has a damaged directory");
    const auto name_bytes = number_at<std::uint16_t>(directory, at + 28),
               extra_bytes = number_at<std::uint16_t>(directory, at + 30),
               comment_bytes = number_at<std::uint16_t>(directory, at + 32);
    const std::size_t next = at + kEntry + name_bytes + extra_bytes + comment_bytes;
    if (next > directory.size()) fail("has a damaged directory");
    const std::string name = directory.substr(at + kEntry, name_bytes);
    if (number_at<std::uint16_t>(directory, at + 10) != 0)
      fail("has '", name, "' compressed, which torch.save never does");
    std::uint64_t bytes = number_at<std::uint32_t>(directory, at + 24),
                  begin = number_at<std::uint32_t>(directory, at + 42);
    read_zip64(std::string_view(directory).substr(at + kEntry + name_bytes, extra_bytes),
               number_at<std::uint32_t>(directory, at + 20) == 0xFFFFFFFF, bytes, begin);
    entries_[name] = data_of(begin, bytes);
    return next;
  }

  // Sizes and places that do not fit 32 bits stand in an extra field, in a fixed order.
  static void read_zip64(std::string_view extra, bool has_packed_size, std::uint64_t& bytes,
                         std::uint64_t& begin) {
    while (extra.size() >= 4) {
      const auto kind = number_at<std::uint16_t>(extra, 0),
                 size = number_at<std::uint16_t>(extra, 2);
      std::string_view field = extra.substr(4, size);
      const auto take = [&](std::uint64_t& value) {
        if (field.size() < 8) return;
        value = number_at<std::uint64_t>(field, 0);
        field.remove_prefix(8);
      };
      if (kind == 1) {
        std::uint64_t ignored = 0;
        if (bytes == 0xFFFFFFFF) take(bytes);
        if (has_packed_size) take(ignored);
        if (begin == 0xFFFFFFFF) take(begin);
        return;
      }
      extra.remove_prefix(std::min<std::size_t>(extra.size(), 4 + std::size_t{size}));
    }
  }

  // The data lie behind a header of their own, whose extra field pads them to 64 bytes.
  Span data_of(std::uint64_t header, std::uint64_t bytes) const {
    constexpr std::uint64_t kHeader = 30;
    check_inside(header, kHeader);
    const std::string text = text_at(file_, {static_cast<std::int64_t>(header), kHeader});
    if (!text.starts_with("PK\3\4")) fail("has a damaged entry");
    const std::uint64_t begin =
        header + kHeader + number_at<std::uint16_t>(text, 26) + number_at<std::uint16_t>(text, 28);
    check_inside(begin, bytes);
    return {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(bytes)};
  }

  const InputFile& file_;
  std::map<std::string, Span> entries_;
};

// How a storage's elements lie in the file, and what they become.
struct ElementType {
  std::string_view storage;
  std::int64_t bytes;
  DType dtype;
};
constexpr std::array<ElementType, 10> kElementTypes{{
    {"torch FloatStorage", 4, DType::f32},
    {"torch HalfStorage", 2, DType::f16},
    {"torch BFloat16Storage", 2, DType::bf16},
    {"torch DoubleStorage", 8, DType::f64},
    {"torch LongStorage", 8, DType::i64},
    {"torch IntStorage", 4, DType::i32},
    {"torch ShortStorage", 2, DType::i32},
    {"torch CharStorage", 1, DType::i32},
    {"torch ByteStorage", 1, DType::u8},
    {"torch BoolStorage", 1, DType::u8},
}};

class PthReader {
 public:
  explicit PthReader(const std::filesystem::path& path) : file_(path) {}

  TensorMap read() {
    const std::string start = text_at(file_, {0, std::min<std::int64_t>(4, file_.size())});
    if (!is_pth(start)) fail("not a PyTorch file: neither a zip archive nor a pickle");
    return start.starts_with("PK") ? read_zip() : read_legacy();
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    proxent::fail<DataError>(file_.path().string(), ": ", parts...);
  }

  TensorMap read_zip() {
    const ZipArchive archive(file_);
    const std::string name = archive.name_ending_with("data.pkl");
    const std::string folder = name.substr(0, name.size() - std::strlen("data.pkl"));
    if (archive.contains(folder + "byteorder") &&
        text_at(file_, archive.find(folder + "byteorder")) != "little")
      fail("its numbers are big-endian");
    const Span span = archive.find(name);
    if (span.bytes > kMaxPickle) fail("its pickle has ", span.bytes, " bytes, too many");
    const std::string bytes = text_at(file_, span);
    const Pickle pickle(bytes, file_.path().string());
    return tensors_of(pickle,
                      [&](const std::string& key) { return archive.find(folder + "data/" + key); });
  }

  // Magic number, protocol, the writer's system, the object, the keys of its storages; then those,
  // each behind its number of elements.
  TensorMap read_legacy() {
    const std::string bytes = text_at(file_, {0, std::min(file_.size(), kMaxPickle)});
    std::string_view rest = bytes;
    const auto next = [&] {
      Pickle pickle(rest, file_.path().string());
      rest.remove_prefix(pickle.size());
      return pickle;
    };
    constexpr std::string_view kMagic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
    if (next().root().text != kMagic)
      fail("a Python pickle, but not of torch.save: its magic number is missing");
    if (const std::int64_t protocol = next().root().number; protocol != 1001)
      fail("PyTorch's protocol is ", protocol, ", expected 1001");
    next();
    const Pickle object = next(), keys = next();
    std::int64_t at = std::ssize(bytes) - std::ssize(rest);
    const std::map<std::string, std::int64_t> element_bytes = element_bytes_of(object);
    std::map<std::string, Span> storages;
    for (const Pickle::Id id : keys.root().items) {
      const std::string& key = keys[id].text;
      const auto size = element_bytes.find(key);
      if (size == element_bytes.end()) fail("no tensor tells the type of its storage '", key, "'");
      if (file_.size() - at < 8) fail("truncated before its storage '", key, "'");
      std::int64_t elements = 0;
      file_.read(&elements, at, 8);
      at += 8;
      if (elements < 0 || elements > (file_.size() - at) / size->second)
        fail("truncated in its storage '", key, "'");
      storages[key] = {at, elements * size->second};
      at += elements * size->second;
    }
    return tensors_of(object, [&](const std::string& key) {
      const auto found = storages.find(key);
      if (found == storages.end()) fail("holds no storage '", key, "'");
      return found->second;
    });
  }

  std::map<std::string, std::int64_t> element_bytes_of(const Pickle& pickle) const {
    std::map<std::string, std::int64_t> bytes;
    for (Pickle::Id id = 0; id < pickle.count(); ++id)
      if (pickle[id].kind == Kind::storage)
        bytes[pickle[pickle[id].items[2]].text] = element_type(pickle, pickle[id]).bytes;
    return bytes;
  }

  template <class FindStorage>
  TensorMap tensors_of(const Pickle& pickle, const FindStorage& find_storage) {
    const Value& dict = state_dict_of(pickle);
    TensorMap tensors;
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const Value& name = pickle[dict.items[i]];
      const Value& value = pickle[dict.items[i + 1]];
      if (name.kind != Kind::text || value.kind != Kind::tensor) continue;
      Tensor tensor = read_tensor(pickle, value, name.text, find_storage);
      // Tied weights share a storage, a few times; a hundred times is an attack on the memory.
      bytes += tensor.bytes();
      if (bytes / 8 > file_.size())
        fail("its tensors would take more than 8 times the file's size");
      if (!tensors.emplace(name.text, std::move(tensor)).second)
        fail("the name '", name.text, "' occurs twice");
    }
    if (tensors.empty()) fail("holds no tensors by name; expected a state dict");
    return tensors;
  }

  const Value& state_dict_of(const Pickle& pickle) const {
    if (pickle.root().kind != Kind::dict) fail("holds no dictionary; expected a state dict");
    for (const char* name : {"state_dict", "model_state_dict", "model", "state_dict_ema"})
      if (const Value* inner = pickle.find(pickle.root(), name); inner && inner->kind == Kind::dict)
        return *inner;
    return pickle.root();
  }

  const ElementType& element_type(const Pickle& pickle, const Value& storage) const {
    const std::string& name = pickle[storage.items[1]].text;
    for (const ElementType& type : kElementTypes)
      if (type.storage == name) return type;
    fail("a storage of '", name, "'");
  }

  std::vector<std::int64_t> sizes_of(const Pickle& pickle, const Value& list,
                                     const std::string& name) const {
    std::vector<std::int64_t> sizes;
    for (const Pickle::Id id : list.items) {
      const Value& size = pickle[id];
      if (size.kind != Kind::integer || size.number < 0)
        fail("tensor '", name, "' has a size or stride that is no number");
      sizes.push_back(size.number);
    }
    return sizes;
  }

  template <class FindStorage>
  Tensor read_tensor(const Pickle& pickle, const Value& value, const std::string& name,
                     const FindStorage& find_storage) const {
    const Value& storage = pickle[value.items[0]];
    const Value& offset = pickle[value.items[1]];
    if (storage.kind != Kind::storage || offset.kind != Kind::integer || offset.number < 0)
      fail("tensor '", name, "' has no storage");
    const auto sizes = sizes_of(pickle, pickle[value.items[2]], name);
    const auto strides = sizes_of(pickle, pickle[value.items[3]], name);
    if (sizes.size() != strides.size() || sizes.size() > Shape::kMaxRank)
      fail("tensor '", name, "' has ", sizes.size(), " dimensions and ", strides.size(),
           " strides, at most ", Shape::kMaxRank, " can be");
    const ElementType& type = element_type(pickle, storage);
    const Span place = find_storage(pickle[storage.items[2]].text);
    const std::int64_t elements = place.bytes / type.bytes;
    const Reach reach = reach_of(sizes, strides);
    if (!reach.is_valid || reach.elements > elements || offset.number > elements - reach.span)
      fail("tensor '", name, "' reaches beyond its storage of ", elements, " elements");
    const Shape shape{std::span<const std::int64_t>(sizes)};
    Tensor tensor(shape, type.dtype);
    if (tensor.numel() > 0)
      copy_elements({place.begin + offset.number * type.bytes, reach.span * type.bytes}, type,
                    sizes, strides, tensor);
    return tensor;
  }

  // How many elements a tensor has, and how many of its storage lie from its first to its last.
  struct Reach {
    bool is_valid = true;
    std::int64_t elements = 1, span = 1;
  };
  static Reach reach_of(const std::vector<std::int64_t>& sizes,
                        const std::vector<std::int64_t>& strides) {
    Reach reach;
    if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) return {true, 0, 0};
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      std::int64_t way = 0;
      if (__builtin_mul_overflow(sizes[i] - 1, strides[i], &way) ||
          __builtin_add_overflow(reach.span, way, &reach.span) ||
          __builtin_mul_overflow(reach.elements, sizes[i], &reach.elements))
        return {false, 0, 0};
    }
    return reach;
  }

  void copy_elements(Span span, const ElementType& type, const std::vector<std::int64_t>& sizes,
                     const std::vector<std::int64_t>& strides, Tensor& tensor) const {
    const std::string from = text_at(file_, span);
    std::array<std::int64_t, Shape::kMaxRank> place{};
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      std::int64_t at = 0;
      for (std::size_t d = 0; d < sizes.size(); ++d) at += place[d] * strides[d];
      copy_element(from.data() + at * type.bytes, type, tensor, i);
      for (std::size_t d = sizes.size(); d-- > 0 && ++place[d] == sizes[d];) place[d] = 0;
    }
  }

  static void copy_element(const char* from, const ElementType& type, Tensor& tensor,
                           std::int64_t i) {
    if (type.dtype == DType::i32 && type.bytes < 4) {
      std::int16_t two = 0;
      if (type.bytes == 2) std::memcpy(&two, from, 2);
      tensor.data<std::int32_t>()[i] =
          type.bytes == 2 ? std::int32_t{two} : std::int32_t{static_cast<signed char>(*from)};
      return;
    }
    std::memcpy(tensor.raw() + i * type.bytes, from, static_cast<std::size_t>(type.bytes));
  }

  InputFile file_;
};

}  // namespace

bool is_pth(std::string_view start) {
  // The magic number of the older form; safetensors may begin with its first byte too.
  return start.starts_with("PK\3\4") || start.starts_with("\x80\x02\x8a");
}

TensorMap read_pth(const std::filesystem::path& path) { return PthReader(path).read(); }

}  // namespace proxent
