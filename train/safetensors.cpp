#include "train/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "train/atomic_file.h"
#include "train/input_file.h"

namespace proxent {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr std::int64_t kMaxHeader = 100'000'000;  // bytes; the reference reader's limit
constexpr std::string_view kMetadataKey = "__metadata__";

// In the reference's order, by which files are sorted: from the last to the first.
struct FileDType {
  std::string_view name;
  std::int64_t bits;
};
constexpr std::array<FileDType, 22> kFileDTypes{{
    {"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
    {"I64", 64},        {"U64", 64},
}};

const FileDType* find_dtype(std::string_view name) {
  const auto found = std::find_if(kFileDTypes.begin(), kFileDTypes.end(),
                                  [&](const FileDType& dtype) { return dtype.name == name; });
  return found == kFileDTypes.end() ? nullptr : &*found;
}

std::string_view file_dtype(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::i32:
      return "I32";
    case DType::u8:
      return "U8";
    case DType::i64:
      return "I64";
  }
  fail("safetensors: no name for dtype ", dtype);
}

// Bytes that a tensor takes; none if the product overflows or does not fill whole bytes.
std::optional<std::int64_t> bytes_of(const SafetensorsEntry& entry) {
  std::int64_t bits = find_dtype(entry.dtype)->bits;
  for (const std::int64_t size : entry.shape)
    if (__builtin_mul_overflow(bits, size, &bits)) return std::nullopt;
  return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    if (text.size() > 1) text += ',';
    text += std::to_string(size);
  }
  return text + "]";
}

// Builds the entries while the JSON is parsed. Duplicate names, which a parsed tree would hide, are
// seen here, and whatever does not belong is refused before it takes memory.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderParser(std::string file, SafetensorsHeader& header)
      : file_(std::move(file)), header_(header) {}

  bool start_object(std::size_t) override {
    if (where_ == Where::outside) return enter(Where::top);
    if (where_ != Where::top) refuse("an object");
    if (name_ == kMetadataKey) return enter(Where::metadata);
    header_.entries.push_back({name_, "", {}, 0, 0});
    fields_.clear();
    return enter(Where::entry);
  }

  bool end_object() override {
    if (where_ == Where::entry && fields_.size() != 3)
      fail("tensor '", name_, "' lacks one of dtype, shape and data_offsets");
    return enter(where_ == Where::top ? Where::outside : Where::top);
  }

  bool key(string_t& text) override {
    if (where_ == Where::top) {
      if (!names_.insert(text).second) fail("the name '", text, "' occurs twice");
      name_ = text;
    } else if (where_ == Where::metadata) {
      if (!header_.metadata.try_emplace(text).second)
        fail("the metadata key '", text, "' occurs twice");
      field_ = text;
    } else {
      if (text != "dtype" && text != "shape" && text != "data_offsets")
        fail("tensor '", name_, "' has an unknown key '", text, "'");
      if (!fields_.insert(text).second) fail("tensor '", name_, "' has '", text, "' twice");
      field_ = text;
    }
    return true;
  }

  bool string(string_t& text) override {
    if (where_ == Where::metadata) {
      header_.metadata[field_] = text;
    } else if (where_ == Where::entry && field_ == "dtype") {
      if (!find_dtype(text)) fail("tensor '", name_, "' has an unknown dtype '", text, "'");
      header_.entries.back().dtype = text;
    } else {
      refuse("a string");
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (where_ != Where::entry || field_ == "dtype") refuse("an array");
    numbers_.clear();
    return enter(Where::numbers);
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (where_ != Where::numbers) refuse("a number");
    if (value > std::numeric_limits<std::int64_t>::max())
      fail("tensor '", name_, "': a number in ", field_, " is too large");
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool end_array() override {
    SafetensorsEntry& entry = header_.entries.back();
    if (field_ == "shape") {
      entry.shape = numbers_;
    } else {
      if (numbers_.size() != 2 || numbers_[0] > numbers_[1])
        fail("tensor '", name_, "': data_offsets must be [begin,end], got ", text_of(numbers_));
      entry.begin = numbers_[0];
      entry.end = numbers_[1];
    }
    return enter(Where::entry);
  }

  bool null() override { refuse("null"); }
  bool boolean(bool) override { refuse("true or false"); }
  bool number_integer(number_integer_t) override { refuse("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { refuse("a fraction"); }
  bool binary(binary_t&) override { refuse("binary data"); }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::json::exception&) override {
    fail("the header is not valid JSON at its byte ", at);
  }

 private:
  enum class Where { outside, top, metadata, entry, numbers };

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    proxent::fail<DataError>(file_, ": not a valid safetensors file, ", detail::concat(parts...));
  }
  [[noreturn]] void refuse(std::string_view what) const {
    if (where_ == Where::outside || where_ == Where::top)
      fail("the header has ", what, " where a tensor's entry belongs",
           name_.empty() ? "" : ", at '" + name_ + "'");
    if (where_ == Where::metadata) fail("the metadata '", field_, "' must be a string, got ", what);
    fail("tensor '", name_, "' has ", what, " in its ", field_.empty() ? "entry" : field_);
  }
  bool enter(Where where) {
    where_ = where;
    return true;
  }

  std::string file_;
  SafetensorsHeader& header_;
  Where where_ = Where::outside;
  std::set<std::string> names_, fields_;
  std::string name_, field_;  // the keys we are below
  std::vector<std::int64_t> numbers_;
};

// Each tensor's bytes fit its shape, follow the tensor before it, and end where the file ends.
void check_layout(const std::string& file, SafetensorsHeader& header, std::int64_t data_bytes,
                  const SafetensorsReadOptions& options) {
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::int64_t covered = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    const std::optional<std::int64_t> bytes = bytes_of(entry);
    check<DataError>(bytes.has_value(), file, ": tensor '", entry.name, "' of shape ",
                     text_of(entry.shape), " ", entry.dtype, " has no valid size in bytes");
    check<DataError>(*bytes == entry.end - entry.begin, file, ": tensor '", entry.name,
                     "' of shape ", text_of(entry.shape), " ", entry.dtype, " needs ", *bytes,
                     " bytes, its data_offsets span ", entry.end - entry.begin);
    check<DataError>(entry.begin == covered, file, ": tensor '", entry.name, "' begins at byte ",
                     entry.begin, " of the data, but the one before ends at ", covered,
                     entry.begin < covered ? " (they overlap)" : " (a hole)");
    covered = entry.end;
  }
  check<DataError>(covered <= data_bytes, file, ": truncated, the header promises ", covered,
                   " bytes of data, the file has ", data_bytes);
  header.trailing_bytes = data_bytes - covered;
  check<DataError>(options.accept_trailing_bytes || header.trailing_bytes == 0, file, ": ",
                   header.trailing_bytes, " bytes follow the last tensor");
}

SafetensorsHeader parse_header(const InputFile& file, const SafetensorsReadOptions& options) {
  const std::string name = file.path().string();
  check<DataError>(file.size() >= 8, name, ": not a safetensors file, it has only ", file.size(),
                   " bytes");
  std::uint64_t length = 0;
  file.read(&length, 0, 8);
  check<DataError>(length <= kMaxHeader, name, ": not a safetensors file, its header would have ",
                   length, " bytes (limit ", kMaxHeader, ")");
  const auto bytes = static_cast<std::int64_t>(length);
  check<DataError>(bytes <= file.size() - 8, name, ": truncated, the header has ", bytes,
                   " bytes, the file ", file.size());
  std::string text(length, '\0');
  file.read(text.data(), 8, bytes);
  check<DataError>(text.starts_with('{'), name,
                   ": not a safetensors file, the header does not begin with '{'");
  // To the parser a zero byte is the end of its input; the rest would go unseen.
  check<DataError>(text.find('\0') == std::string::npos, name,
                   ": not a valid safetensors file, the header holds a zero byte");
  SafetensorsHeader header;
  HeaderParser parser(name, header);
  nlohmann::json::sax_parse(text, &parser);
  header.data_start = 8 + bytes;
  check_layout(name, header, file.size() - header.data_start, options);
  return header;
}

// Reads elements of a type that no Tensor has and converts each.
template <class From, class To, class Convert>
void read_converted(const InputFile& file, std::int64_t at, Tensor& tensor, Convert convert) {
  std::vector<From> raw(static_cast<std::size_t>(tensor.numel()));
  file.read(raw.data(), at, tensor.numel() * static_cast<std::int64_t>(sizeof(From)));
  std::transform(raw.begin(), raw.end(), tensor.data<To>(), convert);
}

Tensor read_tensor(const InputFile& file, const SafetensorsHeader& header,
                   const SafetensorsEntry& entry) {
  const std::optional<DType> dtype = dtype_of_safetensors(entry.dtype);
  check<DataError>(dtype.has_value(), file.path().string(), ": tensor '", entry.name,
                   "' has dtype ", entry.dtype, ", which proxent does not read");
  check<DataError>(entry.shape.size() <= Shape::kMaxRank, file.path().string(), ": tensor '",
                   entry.name, "' has shape ", text_of(entry.shape), ", more than ",
                   Shape::kMaxRank, " dimensions");
  Tensor tensor(Shape(std::span(entry.shape)), *dtype);
  const std::int64_t at = header.data_start + entry.begin;
  const auto to_i32 = [](auto value) { return std::int32_t{value}; };
  if (entry.dtype == "I8")
    read_converted<std::int8_t, std::int32_t>(file, at, tensor, to_i32);
  else if (entry.dtype == "I16")
    read_converted<std::int16_t, std::int32_t>(file, at, tensor, to_i32);
  else if (entry.dtype == "U16")
    read_converted<std::uint16_t, std::int32_t>(file, at, tensor, to_i32);
  else if (entry.dtype == "U32")
    read_converted<std::uint32_t, std::int64_t>(file, at, tensor,
                                                [](auto value) { return std::int64_t{value}; });
  else
    file.read(tensor.raw(), at, tensor.bytes());
  return tensor;
}

// A string as JSON writes it, quotes included.
std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("safetensors: '", text, "' is not valid UTF-8");
  }
}

}  // namespace

std::optional<DType> dtype_of_safetensors(std::string_view dtype) {
  constexpr std::array<std::pair<std::string_view, DType>, 12> kReadAs{{
      {"F32", DType::f32},
      {"F64", DType::f64},
      {"BF16", DType::bf16},
      {"F16", DType::f16},
      {"I64", DType::i64},
      {"I32", DType::i32},
      {"U8", DType::u8},
      {"BOOL", DType::u8},
      {"I8", DType::i32},
      {"I16", DType::i32},
      {"U16", DType::i32},
      {"U32", DType::i64},
  }};
  for (const auto& [name, read_as] : kReadAs)
    if (name == dtype) return read_as;
  return std::nullopt;
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& path,
                                          const SafetensorsReadOptions& options) {
  return parse_header(InputFile(path), options);
}

SafetensorsFile read_safetensors(const std::filesystem::path& path,
                                 const SafetensorsReadOptions& options) {
  const InputFile file(path);
  SafetensorsHeader header = parse_header(file, options);
  SafetensorsFile result{{}, std::move(header.metadata), header.trailing_bytes};
  for (const SafetensorsEntry& entry : header.entries)
    result.tensors.emplace(entry.name, read_tensor(file, header, entry));
  return result;
}

std::string safetensors_header(std::vector<SafetensorsEntry>& entries, const TextMap& metadata) {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    const FileDType *type_a = find_dtype(a.dtype), *type_b = find_dtype(b.dtype);
    return std::tie(type_b, a.name) < std::tie(type_a, b.name);  // later in the table goes first
  });
  std::string json = "{";
  const auto append = [&](const std::string& key, const std::string& value) {
    if (!json.ends_with('{')) json += ',';
    json += quoted(key) + ":" + value;
  };
  if (!metadata.empty()) {
    json += quoted(std::string(kMetadataKey)) + ":{";
    for (const auto& [key, value] : metadata) append(key, quoted(value));
    json += "}";
  }
  std::int64_t end = 0;
  for (SafetensorsEntry& entry : entries) {
    check(find_dtype(entry.dtype) && bytes_of(entry), "safetensors: tensor '", entry.name,
          "' cannot be written, shape ", text_of(entry.shape), " dtype '", entry.dtype, "'");
    check(entry.name != kMetadataKey, "safetensors: no tensor may be named ", kMetadataKey);
    entry.begin = std::exchange(end, end + *bytes_of(entry));
    entry.end = end;
    append(entry.name, "{\"dtype\":\"" + entry.dtype + "\",\"shape\":" + text_of(entry.shape) +
                           ",\"data_offsets\":" + text_of({entry.begin, entry.end}) + "}");
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = json.size();
  std::string header(sizeof length, '\0');
  std::memcpy(header.data(), &length, sizeof length);
  return header + json;
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const TextMap& metadata) {
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    check(tensor.is_defined(), "write_safetensors: tensor '", name, "' is not defined");
    SafetensorsEntry& entry = entries.emplace_back();
    entry.name = name;
    entry.dtype = file_dtype(tensor.dtype());
    for (int i = 0; i < tensor.shape().rank(); ++i) entry.shape.push_back(tensor.dim(i));
  }
  const std::string header = safetensors_header(entries, metadata);
  AtomicFile file(path);
  file.write(header);
  for (const SafetensorsEntry& entry : entries) {
    const Tensor tensor = tensors.at(entry.name).to(Device::cpu);
    file.write(tensor.raw(), tensor.bytes());
  }
  file.commit();
}

}  // namespace proxent
