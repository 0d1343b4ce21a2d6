#include "train/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "train/atomic_file.h"
#include "train/input_file.h"

namespace proxent {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::int64_t kMaxHeader = 1 << 20;  // bytes; an honest header has about a hundred

constexpr std::array<std::pair<std::string_view, DType>, 5> kWritten{{{"<f4", DType::f32},
                                                                      {"<f8", DType::f64},
                                                                      {"<i4", DType::i32},
                                                                      {"<i8", DType::i64},
                                                                      {"|u1", DType::u8}}};

std::optional<DType> dtype_of(std::string_view descr) {
  if (descr == "|b1") return DType::u8;
  if (descr == "<f2") return DType::f16;
  for (const auto& [name, dtype] : kWritten)
    if (name == descr) return dtype;
  return std::nullopt;
}

// Reads "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 512), }": that dictionary in any
// order and spacing, and nothing else.
class DictParser {
 public:
  DictParser(std::string file, std::string_view text) : file_(std::move(file)), rest_(text) {}

  NpyHeader parse() {
    NpyHeader header;
    std::array<bool, 3> is_seen{};
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      expect(':');
      const std::size_t field = key == "descr" ? 0 : key == "fortran_order" ? 1 : 2;
      if (field == 2 && key != "shape") fail("an unknown key '", key, "'");
      if (std::exchange(is_seen[field], true)) fail("the key '", key, "' twice");
      if (field == 0) header.descr = string();
      if (field == 1) header.is_fortran_order = boolean();
      if (field == 2) header.shape = tuple();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (!rest_.empty()) fail("text behind its dictionary");
    if (!std::all_of(is_seen.begin(), is_seen.end(), std::identity()))
      fail("no descr, fortran_order or shape");
    return header;
  }

 private:
  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    proxent::fail<DataError>(file_, ": not a valid .npy file, its header has ",
                             detail::concat(parts...));
  }
  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \n"), rest_.size()));
  }
  bool accept(char wanted) {
    skip_spaces();
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail("no '", wanted, "' where one belongs");
  }
  bool accept_word(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string string() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"' && !accept('"')) {
      if (rest_.starts_with('[')) fail("a record type, which proxent does not read");
      fail("no string where one belongs");
    }
    const std::size_t end = rest_.find(quote);
    if (end == rest_.npos) fail("a string without an end");
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    if (accept_word("True")) return true;
    if (!accept_word("False")) fail("a fortran_order that is neither True nor False");
    return false;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!accept(')')) {
      skip_spaces();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0) fail("a shape with something else than sizes");
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      sizes.push_back(size);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::string file_;
  std::string_view rest_;
};

NpyHeader parse_header(const InputFile& file) {
  const std::string name = file.path().string();
  std::array<char, 12> start{};
  file.read(start.data(), 0, std::min<std::int64_t>(start.size(), file.size()));
  check<DataError>(std::string_view(start.data(), 6) == kMagic && file.size() >= 10, name,
                   ": not a .npy file");
  const auto byte = [&](std::size_t i) {
    return static_cast<std::int64_t>(static_cast<unsigned char>(start[i]));
  };
  const std::int64_t version = byte(6);
  check<DataError>(version >= 1 && version <= 3, name, ": .npy version ", version,
                   " is not known, only 1 to 3");
  std::int64_t length = byte(8) + (byte(9) << 8), text_start = 10;
  if (version >= 2) {
    length += (byte(10) << 16) + (byte(11) << 24);
    text_start = 12;
  }
  check<DataError>(length <= kMaxHeader, name, ": not a valid .npy file, its header would have ",
                   length, " bytes");
  check<DataError>(length <= file.size() - text_start, name, ": truncated inside its header");
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read(text.data(), text_start, length);
  NpyHeader header = DictParser(name, text).parse();
  header.data_start = text_start + length;
  return header;
}

// The elements of a column-major array of this shape in row-major order.
Tensor turned(const Tensor& x) {
  Tensor y(x.shape(), x.dtype());
  visit_any(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    const Shape& shape = x.shape();
    std::array<std::int64_t, Shape::kMaxRank> at{}, stride{};
    for (std::int64_t step = 1, i = 0; i < shape.rank(); step *= shape[static_cast<int>(i++)])
      stride[static_cast<std::size_t>(i)] = step;
    for (std::int64_t n = 0; n < x.numel(); ++n) {
      std::int64_t from = 0;
      for (int i = 0; i < shape.rank(); ++i) from += at[i] * stride[i];
      out[n] = in[from];
      for (int i = shape.rank() - 1; i >= 0 && ++at[i] == shape[i]; --i) at[i] = 0;
    }
  });
  return y;
}

std::string tuple_text(const Shape& shape) {
  std::string text = "(";
  for (int i = 0; i < shape.rank(); ++i) {
    if (i > 0) text += ' ';
    text += std::to_string(shape[i]);
    if (i == 0 || i + 1 < shape.rank()) text += ',';  // (3,) and (3, 4)
  }
  text += ')';
  return text;
}

}  // namespace

NpyHeader read_npy_header(const std::filesystem::path& path) {
  return parse_header(InputFile(path));
}

Tensor read_npy(const std::filesystem::path& path) {
  const InputFile file(path);
  const NpyHeader header = parse_header(file);
  const std::optional<DType> dtype = dtype_of(header.descr);
  check<DataError>(dtype.has_value(), path.string(), ": dtype '", header.descr,
                   "' is not read, only <f2 <f4 <f8 <i4 <i8 |u1 |b1; convert it with astype");
  check<DataError>(header.shape.size() <= Shape::kMaxRank, path.string(), ": ", header.shape.size(),
                   " dimensions, at most ", Shape::kMaxRank, " are read");
  std::int64_t bytes = size_of(*dtype);
  for (const std::int64_t size : header.shape)
    check<DataError>(!__builtin_mul_overflow(bytes, size, &bytes), path.string(),
                     ": its shape is too large");
  const std::int64_t found = file.size() - header.data_start;
  check<DataError>(bytes == found, path.string(), ": ",
                   found < bytes ? "truncated, " : "too long, ", "its shape needs ", bytes,
                   " bytes of data, the file has ", found);
  Tensor array(Shape(std::span(header.shape)), *dtype);
  file.read(array.raw(), header.data_start, bytes);
  if (array.dtype() == DType::f16) array = array.to(DType::f32);
  return header.is_fortran_order ? turned(array) : array;
}

void write_npy(const std::filesystem::path& path, const Tensor& array) {
  check(array.is_defined() && array.device() == Device::cpu,
        "write_npy: the array must be defined and on the CPU");
  const auto found = std::find_if(kWritten.begin(), kWritten.end(),
                                  [&](const auto& entry) { return entry.second == array.dtype(); });
  check(found != kWritten.end(), "write_npy: NumPy has no ", array.dtype(), "; convert it to f32");
  std::string text = "{'descr': '" + std::string(found->first) +
                     "', 'fortran_order': False, 'shape': " + tuple_text(array.shape()) + ", }";
  constexpr std::size_t kPreamble = 10, kAlignment = 64;
  const std::size_t total =
      (kPreamble + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(total - kPreamble - 1, ' ');
  text += '\n';
  std::string header = std::string(kMagic) + '\x01' + '\0';
  header += static_cast<char>(text.size() & 255);
  header += static_cast<char>(text.size() >> 8);

  AtomicFile file(path);
  file.write(header);
  file.write(text);
  file.write(array.raw(), array.bytes());
  file.commit();
}

}  // namespace proxent
