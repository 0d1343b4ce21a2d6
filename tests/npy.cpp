#include "train/npy.h"

#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "tensor/random.h"
#include "tests/temp_folder.h"
#include "train/input_file.h"

namespace proxent {
namespace {

std::string bytes_of_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string bytes(static_cast<std::size_t>(file.size()), '\0');
  file.read(bytes.data(), 0, file.size());
  return bytes;
}

// A version 1 file with this dictionary and these data.
std::string npy(const std::string& header, const std::string& data = "") {
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 255);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}
std::string dict(const std::string& descr, const std::string& shape,
                 const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}
template <class T>
std::string raw(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

std::string complaint(const TempFolder& folder, const std::string& bytes) {
  const auto path = folder.write("f.npy", bytes);
  try {
    read_npy(path);
    return "";
  } catch (const DataError& error) {
    REQUIRE(error.message().starts_with(path.string() + ": "));
    return error.message().substr(path.string().size() + 2);
  }
}

TEST_SUITE("npy") {
  TEST_CASE("the bytes are np.save's") {
    const TempFolder folder;
    const auto path = folder.path() / "a.npy";
    write_npy(path, Tensor::from<float>({3, 2}, {1, 2, 3, 4, 5, 6}));
    const std::string header = dict("<f4", "(3, 2)");
    std::string padded = header.substr(0, header.size() - 1);
    padded.resize(117, ' ');
    CHECK(bytes_of_file(path) == npy(padded + "\n", raw<float>({1, 2, 3, 4, 5, 6})));
    for (const auto& [shape, text] :
         {std::pair(Shape{}, "()"), {Shape{5}, "(5,)"}, {Shape{1, 2, 3, 4}, "(1, 2, 3, 4)"}}) {
      write_npy(path, Tensor::zeros(shape, DType::i64));
      const std::string bytes = bytes_of_file(path);
      CHECK(bytes.find(std::string("'shape': ") + text + ", }") != bytes.npos);
      CHECK((bytes.size() - shape.numel() * 8) % 64 == 0);
    }
  }

  TEST_CASE("every dtype and shape survives a round trip") {
    const TempFolder folder;
    const auto path = folder.path() / "a.npy";
    for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8})
      for (const Shape& shape : {Shape{}, Shape{1}, Shape{0}, Shape{3, 0, 2}, Shape{7, 5}}) {
        Tensor x(shape, DType::f32);
        fill_uniform(x, Philox(1, 2), 0, 200);
        x = x.to(dtype);
        write_npy(path, x);
        const Tensor y = read_npy(path);
        CHECK(y.shape() == x.shape());
        CHECK(y.dtype() == x.dtype());
        CHECK((x.numel() == 0 || std::memcmp(x.raw(), y.raw(), x.bytes()) == 0));
      }
    CHECK_THROWS_AS(write_npy(path, Tensor::zeros({2}, DType::bf16)), Error);
    CHECK_THROWS_AS(write_npy(path, Tensor()), Error);
    CHECK_THROWS_AS(write_npy(folder.path() / "no" / "a.npy", Tensor::zeros({2}, DType::u8)),
                    DataError);
  }

  TEST_CASE("versions 2 and 3, other spacing, booleans and Fortran order are read") {
    const TempFolder folder;
    const auto read = [&](const std::string& bytes) {
      return read_npy(folder.write("f.npy", bytes));
    };
    for (const char version : {'\x02', '\x03'}) {
      const std::string header = dict("<i4", "(2,)");
      std::string bytes = "\x93NUMPY";
      bytes += version;
      bytes += '\0';
      bytes += raw<std::uint32_t>({static_cast<std::uint32_t>(header.size())});
      CHECK(read(bytes + header + raw<std::int32_t>({-7, 8})).to_vector<std::int32_t>() ==
            std::vector<std::int32_t>{-7, 8});
    }
    CHECK(read(npy("{\"shape\":(2),\"descr\":\"|b1\",\"fortran_order\":False}", raw<char>({1, 0})))
              .to_vector<std::uint8_t>() == std::vector<std::uint8_t>{1, 0});
    CHECK(read(npy(dict("<f2", "(3,)"), raw<std::uint16_t>({0x3c00, 0xc100, 0x3555})))
              .to_vector<float>() == std::vector<float>{1, -2.5f, 0.333251953125f});
    const Tensor turned = read(
        npy(dict("<f4", "(2, 3, 2)", "True"), raw<float>({0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11})));
    CHECK(turned.shape() == Shape{2, 3, 2});
    CHECK(turned.to_vector<float>() == std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  }

  TEST_CASE("malformed files are refused with their reason") {
    const TempFolder folder;
    const auto says = [&](const std::string& header, const std::string& data = "") {
      return complaint(folder, npy(header, data));
    };
    const std::string no = "not a valid .npy file, its header has ";
    CHECK(complaint(folder, "") == "not a .npy file");
    CHECK(complaint(folder, "\x93NUMPX\x01") == "not a .npy file");
    CHECK(complaint(folder, std::string("\x93NUMPY\x04\0\0\0\0\0", 12)) ==
          ".npy version 4 is not known, only 1 to 3");
    CHECK(complaint(folder, std::string("\x93NUMPY\x01\0\x76\0{", 11)) ==
          "truncated inside its header");
    CHECK(complaint(folder, std::string("\x93NUMPY\x02\0\xff\xff\xff\xff{", 13)) ==
          "not a valid .npy file, its header would have 4294967295 bytes");
    CHECK(says("") == no + "no '{' where one belongs");
    CHECK(says("{}") == no + "no descr, fortran_order or shape");
    CHECK(says("{'descr': '<f4'") == no + "no '}' where one belongs");
    CHECK(says("{'descr': '<f4}") == no + "a string without an end");
    CHECK(says("{'descr': [('a', '<f4')]}") == no + "a record type, which proxent does not read");
    CHECK(says("{'descr': '<f4', 'descr': '<f4'}") == no + "the key 'descr' twice");
    CHECK(says("{'colour': 3}") == no + "an unknown key 'colour'");
    CHECK(says(dict("<f4", "(2,)", "Maybe")) ==
          no + "a fortran_order that is neither True nor False");
    CHECK(says(dict("<f4", "(-2,)")) == no + "a shape with something else than sizes");
    CHECK(says(dict("<f4", "(99999999999999999999,)")) ==
          no + "a shape with something else than sizes");
    CHECK(says(dict("<f4", "(1 2)")) == no + "no ')' where one belongs");
    CHECK(says(dict("<f4", "(1,)") + "x", "1234") == no + "text behind its dictionary");
    CHECK(says(dict(">f4", "(1,)"), "1234") ==
          "dtype '>f4' is not read, only <f2 <f4 <f8 <i4 <i8 |u1 |b1; convert it with astype");
    CHECK(says(dict("|O", "(1,)"), "1234").starts_with("dtype '|O' is not read"));
    CHECK(says(dict("<f4", "(1, 1, 1, 1, 1)"), "1234") == "5 dimensions, at most 4 are read");
    CHECK(says(dict("<f4", "(4294967296, 4294967296)")) == "its shape is too large");
    CHECK(says(dict("<f4", "(2,)"), "1234567") ==
          "truncated, its shape needs 8 bytes of data, the file has 7");
    CHECK(says(dict("<f4", "(2,)"), "123456789") ==
          "too long, its shape needs 8 bytes of data, the file has 9");
    // A terabyte promised by a file of 80 bytes: refused before anything is allocated.
    CHECK(says(dict("<f4", "(250000000000,)"), "1234") ==
          "truncated, its shape needs 1000000000000 bytes of data, the file has 4");
  }

  TEST_CASE("damaged headers never crash the reader") {
    const TempFolder folder;
    const std::string whole = npy(dict("<f4", "(2, 3)"), raw<float>({1, 2, 3, 4, 5, 6}));
    for (std::size_t size = 0; size < whole.size(); size += 3)
      CHECK(complaint(folder, whole.substr(0, size)) != "");
    Philox random(7, 0);
    for (int round = 0; round < 300; ++round) {
      std::string bytes = whole;
      bytes[random.below(70)] = static_cast<char>(random());
      complaint(folder, bytes);
    }
  }
}

}  // namespace
}  // namespace proxent
