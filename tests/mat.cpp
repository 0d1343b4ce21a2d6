#include "data/mat.h"

#include <doctest/doctest.h>

#include "data/image.h"
#include "tensor/random.h"
#include "tests/mat_writer.h"
#include "tests/test_data.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;
using Kind = MatArray::Kind;

MatFile parse(std::string_view text) {
  return MatFile::parse({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, "f");
}

std::string reason(std::string_view text) {
  try {
    parse(text);
  } catch (const DataError& error) {
    return error.message();
  }
  return "no error";
}

// Two pictures as Cars196 annotates them.
std::string annotations() {
  return mat::structure("annotations", {"relative_im_path", "class", "test"},
                        {mat::text("car_ims/000001.jpg"), mat::number(1), mat::number(0),
                         mat::text("car_ims/000002.jpg"), mat::number(196), mat::number(1)});
}

std::string class_names() {
  return mat::cell("class_names", {mat::text("AM General Hummer SUV 2000"), mat::text("Acura")});
}

void check_annotations(const MatFile& file) {
  const MatArray& rows = file.require("annotations", Kind::structure);
  REQUIRE(rows.elements() == 2);
  CHECK(rows.fields == std::vector<std::string>{"relative_im_path", "class", "test"});
  CHECK(rows.item(1, 0).text == "car_ims/000002.jpg");
  CHECK(rows.item(1, rows.find_field("class")).number() == 196);
  CHECK(rows.item(0, 2).number() == 0);
  CHECK(rows.find_field("bbox_x1") == -1);
  const MatArray& names = file.require("class_names", Kind::cell);
  CHECK(names.items.at(0).text == "AM General Hummer SUV 2000");
  CHECK(names.items.at(1).text == "Acura");
}

// Every file a reader must survive: cut anywhere, any bytes changed. Reading throws DataError or
// yields arrays; any other exception fails the test, and under sanitizers so does a bad access.
void check_damaged(const std::string& good, int flips) {
  std::int64_t refused = 0;
  for (std::size_t size = 0; size < good.size(); ++size)
    refused += reason(std::string_view(good).substr(0, size)) != "no error";
  // A file may end between its two variables.
  CHECK(refused >= static_cast<std::int64_t>(good.size()) - 1);
  Philox random(1, stream_of("mat flips"));
  refused = 0;
  for (int i = 0; i < flips; ++i) {
    std::string bad = good;
    for (int n = 0; n <= i % 4; ++n)
      bad[random.below(bad.size())] = static_cast<char>(random.below(256));
    refused += reason(bad) != "no error";
  }
  CHECK(refused > flips / 20);
}

TEST_SUITE("mat") {
  TEST_CASE("struct arrays and cells, plain and compressed") {
    check_annotations(parse(mat::header() + annotations() + class_names()));
    check_annotations(
        parse(mat::header() + mat::compressed(annotations()) + mat::compressed(class_names())));
  }

  TEST_CASE("numbers are stored in smaller types than their class says") {
    const auto array = [](std::uint8_t array_class, const std::string& content) {
      return parse(mat::header() + mat::matrix(array_class, {1, 2}, "x", content)).variables()[0];
    };
    CHECK(array(6, mat::small_element(2, {'\x05', '\xff'})).number(1) == 255);
    CHECK(array(6, mat::small_element(1, {'\x05', '\xff'})).number(1) == -1);
    CHECK(array(6, mat::small_element(4, "\x01\x02\xff\xff")).number(1) == 65535);
    CHECK(array(6, mat::small_element(3, "\x01\x02\xff\xff")).number(1) == -1);
    CHECK(array(6, mat::element(5, mat::raw(7) + mat::raw(-70000))).number(1) == -70000);
    CHECK(array(6, mat::element(6, mat::raw(7) + mat::raw(~0u))).number(1) == 4294967295.0);
    CHECK(array(7, mat::element(7, mat::raw(0.5f) + mat::raw(1.5f))).number(1) == 1.5);
    CHECK(array(6, mat::element(9, mat::raw(0.5) + mat::raw(-2.25))).number(1) == -2.25);
    const std::string words = mat::raw(std::int64_t{1}) + mat::raw(std::int64_t{-1});
    CHECK(array(14, mat::element(12, words)).number(1) == -1);
    CHECK(array(15, mat::element(13, words)).number(1) == 0x1p64);
    CHECK_THROWS_AS(array(6, mat::small_element(2, "ab")).number(2), Error);
  }

  TEST_CASE("text: UTF-8 as it stands, 16 and 32 bits converted") {
    const auto text = [](std::uint32_t type, const std::string& data, std::int32_t length) {
      return parse(mat::header() + mat::matrix(4, {1, length}, "t", mat::element(type, data)))
          .variables()[0]
          .text;
    };
    CHECK(text(16, "Citro\xC3\xABn", 7) == "Citro\xC3\xABn");
    CHECK(text(4, mat::raw(u'\u00EB') + mat::raw(u'\u4E2D'), 2) == "\xC3\xAB\xE4\xB8\xAD");
    CHECK(text(17, mat::raw(u'\xD83D') + mat::raw(u'\xDE00'), 2) == "\xF0\x9F\x98\x80");
    CHECK(text(17, mat::raw(u'\xD83D') + mat::raw(u'a'), 2) ==
          "\xEF\xBF\xBD"
          "a");
    CHECK(text(18, mat::raw(U'\U0001F600'), 1) == "\xF0\x9F\x98\x80");
    CHECK(text(16, "", 0).empty());
  }

  TEST_CASE("what no data set needs is passed over, an unset element is empty") {
    const MatFile file =
        parse(mat::header() + mat::matrix(5, {3, 3}, "s", "") + mat::matrix(3, {1, 1}, "o", "") +
              mat::matrix(16, {1, 1}, "", "") + mat::cell("c", {mat::element(14, "")}));
    CHECK(file.variables()[0].kind == Kind::sparse);
    CHECK(file.variables()[0].sizes == std::vector<std::int64_t>{3, 3});
    CHECK(file.variables()[2].kind == Kind::other);
    CHECK(file.require("c", Kind::cell).items.at(0).elements() == 0);
    CHECK_THROWS_WITH_AS(
        file.require("annotations", Kind::structure),
        doctest::Contains(
            "f: expected a variable 'annotations', found s, o, an array without a name, c"),
        DataError);
    CHECK_THROWS_WITH_AS(file.require("c", Kind::structure),
                         doctest::Contains("f: variable 'c' must be a struct, it is a cell"),
                         DataError);
    CHECK_THROWS_WITH_AS(
        file.require("s", Kind::numbers),
        doctest::Contains(
            "f: variable 's' must be numbers, it is a sparse matrix. Store it full, in "
            "MATLAB by full(x), in Python by x.toarray(), and save it again"),
        DataError);
    CHECK_THROWS_WITH_AS(
        file.require("o", Kind::structure),
        doctest::Contains("f: variable 'o' must be a struct, it is an object. Turn it into a "
                          "struct, in MATLAB by struct(x), and save it again"),
        DataError);
  }

  TEST_CASE("files of other versions and machines are named as what they are") {
    const std::string good = mat::header() + annotations();
    CHECK(reason("MATLAB 7.3 MAT-file, Platform: GLNXA64") ==
          "f: a MAT-file of version 7.3, which is HDF5; expected version 5. Save it again, in "
          "MATLAB with save(..., '-v7') or in Python with scipy.io.savemat");
    CHECK(reason(std::string("\x89HDF\r\n\x1a\n", 8)).starts_with("f: a MAT-file of version 7.3"));
    std::string big = good;
    big.replace(124, 4, "\x01\x00MI", 4);
    CHECK(reason(big) ==
          "f: written on a big-endian machine; expected little-endian. Save it again on this "
          "machine");
    CHECK(reason("") == "f: no MAT-file of version 5, which begins \"MATLAB 5.0 MAT-file\"");
    CHECK(reason(good.substr(0, 100)) == "f: truncated, 100 bytes of a header of 128");
    CHECK(reason(good.substr(0, 128)) == "f: truncated, no variable follows its header");
    CHECK(reason(good.substr(0, 131)) ==
          "f (after the header): truncated, 3 bytes at byte 0 where an element begins");
    CHECK(reason(good.substr(0, 136))
              .starts_with("f (after the header): truncated, the element at byte 0 has "));
    std::string cut = mat::compressed(annotations());
    cut.resize(cut.size() - 20);
    const auto size = static_cast<std::uint32_t>(cut.size() - 8);
    std::memcpy(&cut[4], &size, 4);
    CHECK(reason(mat::header() + cut) == "f: cannot be unpacked: incomplete");
  }

  TEST_CASE("sizes that the bytes cannot hold are refused before they are believed") {
    const auto wrong = [](const std::string& variable) { return reason(mat::header() + variable); };
    CHECK(wrong(mat::matrix(1, {1, 1 << 27}, "c", ""))
              .find("claims 134217728 elements in 0 "
                    "bytes") != std::string::npos);
    CHECK(wrong(mat::matrix(1, {1 << 30, 1 << 30}, "c", "")).find("than 256 MiB can hold") !=
          std::string::npos);
    CHECK(wrong(mat::matrix(6, {-1, 1}, "c", "")).find("an array has size -1") !=
          std::string::npos);
    CHECK(wrong(mat::matrix(6, {1, 9}, "c", mat::element(9, "12345678")))
              .find("9 numbers of 8 bytes in 8") != std::string::npos);
    CHECK(wrong(mat::matrix(4, {2, 1}, "t", mat::element(16, "ab"))).find("text 't' of 2 rows") !=
          std::string::npos);
    // Packed zeros: 1 MiB would become 1 GiB.
    CHECK(wrong(mat::compressed(std::string(std::size_t{32} << 20, '\0')))
              .find("unpacks to more than") != std::string::npos);
    std::string nested = mat::number(1);
    for (int depth = 0; depth < 20; ++depth) nested = mat::cell("", {nested});
    CHECK(wrong(nested).find("nested more than 16 deep") != std::string::npos);
  }

  TEST_CASE("no damage does more than throw a DataError") {
    check_damaged(mat::header() + annotations() + class_names(), 4000);
    check_damaged(mat::header() + mat::compressed(annotations()) + mat::compressed(class_names()),
                  4000);
  }

  TEST_CASE("Cars196 in miniature, as MATLAB's and SciPy's writers lay it out") {
    const std::filesystem::path folder = test_data("fixtures/cars196");
    if (folder.empty()) return;
    for (const char* name : {"cars_annos.mat", "cars_annos_uncompressed.mat"}) {
      const MatFile file = MatFile::read(folder / name);
      const MatArray& rows = file.require("annotations", Kind::structure);
      CHECK(rows.elements() == 40);
      CHECK(rows.fields.size() == 7);
      CHECK(rows.item(39, 0).text == "car_ims/000040.jpg");
      CHECK(rows.item(39, 5).number() == 8);
      CHECK(rows.item(0, 3).number() == 48);
      CHECK(file.require("class_names", Kind::cell).items.at(7).text == "Maker Model 8 2012");
      const std::vector<std::uint8_t> bytes = read_file(folder / name);
      check_damaged(std::string(bytes.begin(), bytes.end()), 2000);
    }
  }
}
}  // namespace
}  // namespace proxent
