#include "train/pth.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "train/input_file.h"
#include "train/pickle.h"
#include "train/zip_archive.h"

namespace proxent {
namespace {

using Kind = Pickle::Kind;
using Value = Pickle::Value;

constexpr std::int64_t kMaxPickle = 64 << 20;  // bytes
constexpr std::string_view kBigEndian =
    "its numbers are big-endian; load it with PyTorch and save it again";

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
    const std::string start = file_.text({0, std::min<std::int64_t>(4, file_.size())});
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
        file_.text(archive.find(folder + "byteorder")) != "little")
      fail(kBigEndian);
    const FileSpan span = archive.find(name);
    if (span.bytes > kMaxPickle) fail("its pickle has ", span.bytes, " bytes, too many");
    const std::string bytes = file_.text(span);
    const Pickle pickle(bytes, file_.path().string());
    return tensors_of(pickle,
                      [&](const std::string& key) { return archive.find(folder + "data/" + key); });
  }

  // Magic number, protocol, the writer's system, the object, the keys of its storages; then those,
  // each behind its number of elements.
  TensorMap read_legacy() {
    const std::string bytes = file_.text({0, std::min(file_.size(), kMaxPickle)});
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
    const Pickle system = next();
    const Value* little_endian = system.find(system.root(), "little_endian");
    if (little_endian && little_endian->kind == Kind::boolean && little_endian->number == 0)
      fail(kBigEndian);
    const Pickle object = next(), keys = next();
    std::int64_t at = std::ssize(bytes) - std::ssize(rest);
    const std::map<std::string, std::int64_t> element_bytes = element_bytes_of(object);
    std::map<std::string, FileSpan> storages;
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
    const FileSpan place = find_storage(pickle[storage.items[2]].text);
    const std::int64_t elements = place.bytes / type.bytes;
    const Reach reach = reach_of(sizes, strides);
    // A few bytes could stand for any amount of memory.
    if (reach.elements > elements && std::find(strides.begin(), strides.end(), 0) != strides.end())
      fail("tensor '", name, "' is an expanded one, which repeats elements by a stride of 0; save ",
           "it by .contiguous()");
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

  void copy_elements(FileSpan span, const ElementType& type, const std::vector<std::int64_t>& sizes,
                     const std::vector<std::int64_t>& strides, Tensor& tensor) const {
    const std::string from = file_.text(span);
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
