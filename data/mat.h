// MATLAB's MAT-file version 5, as much of it as data sets are annotated with: numbers, text, cells
// and struct arrays, compressed or not. Source: MathWorks, "MAT-File Format", R2019b.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

// One array. Elements lie column by column, so that those of a 1 x n or n x 1 array are in order.
class MatArray {
 public:
  // sparse, object and other (function handles): their content is skipped.
  enum class Kind : std::uint8_t { numbers, text, cell, structure, sparse, object, other };
  // How numbers are stored, which is often smaller than their MATLAB class; the file's own codes.
  enum class Stored : std::uint8_t {
    i8 = 1,
    u8 = 2,
    i16 = 3,
    u16 = 4,
    i32 = 5,
    u32 = 6,
    f32 = 7,
    f64 = 9,
    i64 = 12,
    u64 = 13
  };

  Kind kind = Kind::other;
  Stored stored = Stored::f64;
  std::string name;                 // of a variable; empty for what lies inside one
  std::vector<std::int64_t> sizes;  // two or more
  std::vector<std::uint8_t> bytes;  // numbers, as stored
  std::string text;                 // text of one row, as UTF-8
  std::vector<std::string> fields;  // structure: the names
  std::vector<MatArray> items;      // cell: one per element; structure: all fields of the first
                                    // element, then all of the second, ...

  std::int64_t elements() const;  // product of the sizes
  // Element e. Error out of range or of another kind.
  double number(std::int64_t e = 0) const;
  // The index of a field; -1 if there is none.
  std::int64_t find_field(std::string_view field) const;
  const MatArray& item(std::int64_t element, std::int64_t field) const;
};

std::string_view name_of(MatArray::Kind kind);
// What was found where something else was expected, and for kinds that are not read what to do:
// "a sparse matrix. Store it ...".
std::string found_instead(MatArray::Kind kind);

class MatFile {
 public:
  // Reads everything. DataError, naming the file and the byte: truncated or damaged, written by
  // MATLAB 7.3 (HDF5), by version 4 or on a big-endian machine, unpacked more than 256 MiB or than
  // 100 times the file (and 1 MiB). Memory stays within a small multiple of the unpacked bytes,
  // whatever sizes the file claims.
  static MatFile read(const std::filesystem::path& path);
  // The same of bytes in memory; `name` opens the messages.
  static MatFile parse(std::span<const std::uint8_t> bytes, std::string name);

  const std::vector<MatArray>& variables() const { return variables_; }
  // Null if there is none of that name.
  const MatArray* find(std::string_view variable) const;
  // DataError naming what the file holds instead: no such variable, another kind.
  const MatArray& require(std::string_view variable, MatArray::Kind kind) const;

 private:
  std::string name_;
  std::vector<MatArray> variables_;
};

}  // namespace proxent
