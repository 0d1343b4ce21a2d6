// A file is a header of 128 bytes and then elements: a tag of type and length, and that many bytes,
// padded to a multiple of 8. An array is an element of type miMATRIX that consists of elements.
#include "data/mat.h"

#include <zlib.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>

#include "data/image.h"
#include "data/unpacked.h"
#include "data/utf8.h"

namespace proxent {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they stand");

using Bytes = std::span<const std::uint8_t>;

enum Type : std::uint32_t {  // of an element
  kInt8 = 1,
  kUint8 = 2,
  kUint16 = 4,
  kInt32 = 5,
  kUint32 = 6,
  kMatrix = 14,
  kCompressed = 15,
  kUtf8 = 16,
  kUtf16 = 17,
  kUtf32 = 18
};

enum Class : std::uint8_t {
  kCell = 1,
  kStruct = 2,
  kObject = 3,
  kChar = 4,
  kSparse = 5,
  kFirstNumeric = 6,
  kLastNumeric = 15
};

// Far more than the annotations of any data set; a damaged length must not fill the memory.
constexpr std::size_t kMostBytes = std::size_t{256} << 20;
// An array takes some 200 bytes of memory and may take 8 of the file. One for so many bytes that
// the file may unpack to is enough for real ones, which take 56 bytes or more.
constexpr std::int64_t kBytesOfArray = 64;
constexpr int kMostDepth = 16;  // cells within cells; bounds the recursion

// Bytes of a stored number; 0 for what is none.
std::size_t size_of(std::uint32_t type) {
  constexpr std::array<std::uint8_t, 14> kSizes{0, 1, 1, 2, 2, 4, 4, 4, 0, 8, 0, 0, 8, 8};
  return type < kSizes.size() ? kSizes[type] : 0;
}

template <class T>
T load(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string utf8_from_utf16(Bytes data) {
  std::string text;
  for (std::size_t i = 0; i + 1 < data.size(); i += 2) {
    std::uint32_t code = load<std::uint16_t>(&data[i]);
    if (code >= 0xD800 && code < 0xDC00 && i + 3 < data.size()) {
      const std::uint32_t low = load<std::uint16_t>(&data[i + 2]);
      if (low >= 0xDC00 && low < 0xE000) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        i += 2;
      }
    }
    append_utf8(text, code);
  }
  return text;
}

// Reads elements one after the other out of `data`. Every length is checked against what is left
// before anything is done with it.
class Reader {
 public:
  struct Element {
    std::uint32_t type = 0;
    Bytes data{};
  };

  Reader(Bytes data, std::string place) : data_(data), place_(std::move(place)) {}

  bool is_at_end() const { return at_ == data_.size(); }
  std::size_t left() const { return data_.size() - at_; }
  const std::string& place() const { return place_; }

  Element next() {
    const std::size_t begin = at_;
    check<DataError>(left() >= 8, place_, ": truncated, ", left(), " bytes at byte ", begin,
                     " where an element begins");
    const auto first = load<std::uint32_t>(&data_[at_]);
    if (first >> 16 != 0) {  // the small form: length and type in one word, data in the other
      const std::size_t length = first >> 16;
      check<DataError>(length <= 4, place_, ": damaged, a small element of ", length,
                       " bytes at byte ", begin);
      at_ += 8;
      return {first & 0xFFFF, data_.subspan(begin + 4, length)};
    }
    const std::size_t length = load<std::uint32_t>(&data_[at_ + 4]);
    at_ += 8;
    check<DataError>(length <= left(), place_, ": truncated, the element at byte ", begin, " has ",
                     length, " bytes, ", left(), " are left");
    const Element element{first, data_.subspan(at_, length)};
    at_ += length;
    if (first != kCompressed) {
      const std::size_t padding = (8 - length % 8) % 8;
      check<DataError>(padding <= left(), place_, ": truncated, the element at byte ", begin,
                       " lacks its padding");
      at_ += padding;
    }
    return element;
  }

  // The next element, which must be one of a type; `what` it is, for the message.
  Element next(std::initializer_list<std::uint32_t> types, std::string_view what) {
    const std::size_t begin = at_;
    const Element element = next();
    for (const std::uint32_t type : types)
      if (element.type == type) return element;
    fail<DataError>(place_, ": damaged, ", what, " at byte ", begin, " has element type ",
                    element.type);
  }

 private:
  Bytes data_;
  std::size_t at_ = 0;
  std::string place_;  // file, and what in it, for messages
};

class Parser {
 public:
  // `most`: bytes that may be unpacked.
  Parser(std::string name, std::size_t most) : name_(std::move(name)), most_(most) {}

  std::vector<MatArray> variables(Bytes elements) {
    std::vector<MatArray> all;
    Reader reader(elements, name_ + " (after the header)");
    while (!reader.is_at_end()) {
      count_arrays(1);
      const Reader::Element element = reader.next({kMatrix, kCompressed}, "a variable");
      if (element.type == kMatrix) {
        all.push_back(array(element.data, reader.place(), 0));
        continue;
      }
      const std::vector<std::uint8_t> unpacked = inflated(element.data);
      Reader inner(unpacked, name_ + " (unpacked)");
      all.push_back(array(inner.next({kMatrix}, "a variable").data, inner.place(), 0));
      check<DataError>(inner.is_at_end(), inner.place(), ": damaged, ", inner.left(),
                       " bytes follow the variable");
    }
    return all;
  }

 private:
  // zlib's stream, grown as it unpacks.
  std::vector<std::uint8_t> inflated(Bytes packed) {
    z_stream stream{};
    check(inflateInit(&stream) == Z_OK, "zlib: cannot begin to unpack");
    const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
    stream.next_in = const_cast<Bytef*>(packed.data());
    stream.avail_in = static_cast<uInt>(packed.size());
    std::vector<std::uint8_t> out;
    std::vector<std::uint8_t> piece(1 << 16);
    int state = Z_OK;
    while (state != Z_STREAM_END) {
      stream.next_out = piece.data();
      stream.avail_out = static_cast<uInt>(piece.size());
      state = inflate(&stream, Z_NO_FLUSH);
      check<DataError>(state == Z_OK || state == Z_STREAM_END, name_,
                       ": cannot be unpacked: ", stream.msg ? stream.msg : "incomplete");
      const std::size_t got = piece.size() - stream.avail_out;
      check<DataError>(got <= most_ - unpacked_, name_, ": unpacks to more than ", most_,
                       " bytes, too much for a file of its size or for annotations");
      unpacked_ += got;
      out.insert(out.end(), piece.data(), piece.data() + got);
    }
    return out;
  }

  void count_arrays(std::int64_t more) {
    const std::int64_t limit = static_cast<std::int64_t>(most_) / kBytesOfArray;
    check<DataError>(more <= limit - arrays_, name_, ": more than ", limit,
                     " arrays, too many for a file of its size or for annotations");
    arrays_ += more;
  }

  MatArray array(Bytes data, const std::string& place, int depth) {
    check<DataError>(depth <= kMostDepth, place, ": damaged, arrays nested more than ", kMostDepth,
                     " deep");
    MatArray array;
    if (data.empty()) {  // an element of a cell that was never set
      array.kind = MatArray::Kind::numbers;
      array.sizes = {0, 0};
      return array;
    }
    Reader reader(data, place);
    const Bytes flags = reader.next({kUint32}, "an array's flags").data;
    check<DataError>(flags.size() == 8, place, ": damaged, an array's flags have ", flags.size(),
                     " bytes");
    const std::uint8_t array_class = flags[0];
    if (array_class < kCell || array_class > kLastNumeric) return array;
    read_sizes(reader, array);
    const Bytes name = reader.next({kInt8}, "an array's name").data;
    array.name.assign(name.begin(), name.end());
    if (array_class == kSparse || array_class == kObject)
      array.kind = array_class == kSparse ? MatArray::Kind::sparse : MatArray::Kind::object;
    else if (array_class == kCell || array_class == kStruct)
      read_items(reader, array, array_class == kStruct, depth);
    else if (array_class == kChar)
      read_text(reader, array);
    else
      read_numbers(reader, array);
    return array;
  }

  void read_sizes(Reader& reader, MatArray& array) {
    const Bytes data = reader.next({kInt32}, "an array's dimensions").data;
    check<DataError>(data.size() >= 8 && data.size() % 4 == 0, reader.place(),
                     ": damaged, an array's dimensions have ", data.size(), " bytes");
    std::int64_t product = 1;
    for (std::size_t i = 0; i < data.size(); i += 4) {
      const std::int64_t size = load<std::int32_t>(&data[i]);
      check<DataError>(size >= 0, reader.place(), ": damaged, an array has size ", size);
      // No element takes less than a byte.
      check<DataError>(size == 0 || product <= static_cast<std::int64_t>(kMostBytes) / size,
                       reader.place(), ": damaged, an array claims more elements than ",
                       kMostBytes >> 20, " MiB can hold");
      product *= size;
      array.sizes.push_back(size);
    }
  }

  void read_items(Reader& reader, MatArray& array, bool is_struct, int depth) {
    array.kind = is_struct ? MatArray::Kind::structure : MatArray::Kind::cell;
    if (is_struct) read_fields(reader, array);
    const std::int64_t fields = is_struct ? std::ssize(array.fields) : 1;
    const std::int64_t elements = array.elements();
    check<DataError>(
        fields == 0 || elements <= static_cast<std::int64_t>(reader.left() / 8) / fields,
        reader.place(), ": damaged, ", name_of(array.kind), " '", array.name, "' claims ", elements,
        " elements in ", reader.left(), " bytes");
    count_arrays(elements * fields);
    array.items.reserve(static_cast<std::size_t>(elements * fields));
    for (std::int64_t i = 0; i < elements * fields; ++i)
      array.items.push_back(
          this->array(reader.next({kMatrix}, "an item").data, reader.place(), depth + 1));
  }

  void read_fields(Reader& reader, MatArray& array) {
    const Bytes length_data = reader.next({kInt32}, "a struct's field length").data;
    check<DataError>(length_data.size() == 4, reader.place(),
                     ": damaged, a struct's field length has ", length_data.size(), " bytes");
    const std::int64_t length = load<std::int32_t>(length_data.data());
    const Bytes names = reader.next({kInt8}, "a struct's field names").data;
    check<DataError>(length > 0 && std::ssize(names) % length == 0, reader.place(),
                     ": damaged, field names of ", length, " bytes in ", names.size());
    count_arrays(std::ssize(names) / length);  // a name of one byte takes 32 in memory
    for (std::int64_t at = 0; at < std::ssize(names); at += length) {
      const auto* begin = reinterpret_cast<const char*>(names.data() + at);
      array.fields.emplace_back(begin, strnlen(begin, static_cast<std::size_t>(length)));
    }
  }

  static void read_text(Reader& reader, MatArray& array) {
    array.kind = MatArray::Kind::text;
    const Reader::Element element =
        reader.next({kInt8, kUint8, kUint16, kUtf8, kUtf16, kUtf32}, "text");
    const Bytes data = element.data;
    const std::size_t unit = element.type == kUtf32                              ? 4
                             : element.type == kUint16 || element.type == kUtf16 ? 2
                                                                                 : 1;
    check<DataError>(data.size() % unit == 0, reader.place(), ": damaged, text of ", data.size(),
                     " bytes in units of ", unit);
    check<DataError>(array.sizes[0] <= 1 || data.empty(), reader.place(), ": text '", array.name,
                     "' of ", array.sizes[0], " rows; expected one row, or a cell of texts");
    if (unit == 1) {
      array.text.assign(data.begin(), data.end());
    } else if (unit == 2) {
      array.text = utf8_from_utf16(data);
    } else {
      for (std::size_t i = 0; i < data.size(); i += 4)
        append_utf8(array.text, load<std::uint32_t>(&data[i]));
    }
  }

  // An imaginary part, if any, is left unread.
  static void read_numbers(Reader& reader, MatArray& array) {
    array.kind = MatArray::Kind::numbers;
    const Reader::Element element = reader.next();
    const std::size_t size = size_of(element.type);
    check<DataError>(size > 0, reader.place(), ": damaged, numbers of element type ", element.type);
    check<DataError>(element.data.size() == size * static_cast<std::size_t>(array.elements()),
                     reader.place(), ": damaged, ", array.elements(), " numbers of ", size,
                     " bytes in ", element.data.size());
    array.stored = static_cast<MatArray::Stored>(element.type);
    array.bytes.assign(element.data.begin(), element.data.end());
  }

  std::string name_;
  std::size_t most_, unpacked_ = 0;
  std::int64_t arrays_ = 0;
};

// The header of version 5 and little-endian, or what else it is.
void check_header(Bytes bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  constexpr std::string_view kHdf5("\x89HDF\r\n\x1a\n", 8);
  check<DataError>(!text.starts_with("MATLAB 7.3") && !text.starts_with(kHdf5), name,
                   ": a MAT-file of version 7.3, which is HDF5; expected version 5. Save it again, "
                   "in MATLAB with save(..., '-v7') or in Python with scipy.io.savemat");
  check<DataError>(text.starts_with("MATLAB 5.0"), name,
                   ": no MAT-file of version 5, which begins \"MATLAB 5.0 MAT-file\"");
  check<DataError>(bytes.size() >= 128, name, ": truncated, ", bytes.size(),
                   " bytes of a header of 128");
  check<DataError>(text.substr(126, 2) != "MI", name,
                   ": written on a big-endian machine; expected little-endian. Save it again on "
                   "this machine");
  const auto version = load<std::uint16_t>(&bytes[124]);
  check<DataError>(text.substr(126, 2) == "IM" && version == 0x0100, name,
                   ": damaged, its header ends in version ", version,
                   " and no mark of byte order; expected 256 and \"IM\"");
}

template <class T>
double number_at(const std::vector<std::uint8_t>& bytes, std::int64_t e) {
  return static_cast<double>(load<T>(bytes.data() + e * static_cast<std::int64_t>(sizeof(T))));
}

}  // namespace

std::string_view name_of(MatArray::Kind kind) {
  switch (kind) {
    case MatArray::Kind::numbers:
      return "numbers";
    case MatArray::Kind::text:
      return "text";
    case MatArray::Kind::cell:
      return "cell";
    case MatArray::Kind::structure:
      return "struct";
    case MatArray::Kind::sparse:
      return "sparse matrix";
    case MatArray::Kind::object:
      return "object";
    case MatArray::Kind::other:
      break;
  }
  return "function handle or other unknown array";
}

std::string found_instead(MatArray::Kind kind) {
  const std::string name(name_of(kind));
  if (kind == MatArray::Kind::sparse)
    return "a " + name +
           ". Store it full, in MATLAB by full(x), in Python by x.toarray(), and save it again";
  if (kind == MatArray::Kind::object)
    return "an " + name + ". Turn it into a struct, in MATLAB by struct(x), and save it again";
  return kind == MatArray::Kind::numbers || kind == MatArray::Kind::text ? name : "a " + name;
}

std::int64_t MatArray::elements() const {
  if (sizes.empty()) return 0;
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) product *= size;
  return product;
}

double MatArray::number(std::int64_t e) const {
  check(kind == Kind::numbers && e >= 0 && e < elements(), "MatArray: element ", e, " of ",
        elements(), " in ", name_of(kind));
  switch (stored) {
    case Stored::i8:
      return number_at<std::int8_t>(bytes, e);
    case Stored::u8:
      return number_at<std::uint8_t>(bytes, e);
    case Stored::i16:
      return number_at<std::int16_t>(bytes, e);
    case Stored::u16:
      return number_at<std::uint16_t>(bytes, e);
    case Stored::i32:
      return number_at<std::int32_t>(bytes, e);
    case Stored::u32:
      return number_at<std::uint32_t>(bytes, e);
    case Stored::f32:
      return number_at<float>(bytes, e);
    case Stored::f64:
      return number_at<double>(bytes, e);
    case Stored::i64:
      return number_at<std::int64_t>(bytes, e);
    case Stored::u64:
      return number_at<std::uint64_t>(bytes, e);
  }
  fail("MatArray: numbers stored as type ", int{static_cast<std::uint8_t>(stored)});
}

std::int64_t MatArray::find_field(std::string_view field) const {
  for (std::size_t f = 0; f < fields.size(); ++f)
    if (fields[f] == field) return static_cast<std::int64_t>(f);
  return -1;
}

const MatArray& MatArray::item(std::int64_t element, std::int64_t field) const {
  return items.at(static_cast<std::size_t>(element * std::ssize(fields) + field));
}

MatFile MatFile::read(const std::filesystem::path& path) {
  return parse(read_file(path), path.string());
}

MatFile MatFile::parse(std::span<const std::uint8_t> bytes, std::string name) {
  check<DataError>(bytes.size() <= kMostBytes, name, ": ", bytes.size(), " bytes, more than ",
                   kMostBytes >> 20, " MiB, too many for the annotations of a data set");
  check_header(bytes, name);
  MatFile file;
  const auto most = static_cast<std::size_t>(most_unpacked(std::ssize(bytes)));
  file.variables_ = Parser(name, std::min(kMostBytes, most)).variables(bytes.subspan(128));
  check<DataError>(!file.variables_.empty(), name, ": truncated, no variable follows its header");
  file.name_ = std::move(name);
  return file;
}

const MatArray* MatFile::find(std::string_view variable) const {
  for (const MatArray& array : variables_)
    if (array.name == variable) return &array;
  return nullptr;
}

const MatArray& MatFile::require(std::string_view variable, MatArray::Kind kind) const {
  const MatArray* array = find(variable);
  std::string there;
  for (const MatArray& other : variables_)
    there += (there.empty() ? "" : ", ") +
             (other.name.empty() ? std::string("an array without a name") : other.name);
  check<DataError>(array != nullptr, name_, ": expected a variable '", variable, "', found ",
                   there);
  check<DataError>(array->kind == kind, name_, ": variable '", variable, "' must be ",
                   found_instead(kind), ", it is ", found_instead(array->kind));
  return *array;
}

}  // namespace proxent
