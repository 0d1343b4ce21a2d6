#include "train/safetensors.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <limits>

#include "tensor/random.h"
#include "tests/sha256.h"
#include "tests/temp_folder.h"
#include "train/atomic_file.h"
#include "train/input_file.h"

namespace proxent {
namespace {

std::string bytes_of_file(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string bytes(static_cast<std::size_t>(file.size()), '\0');
  file.read(bytes.data(), 0, file.size());
  return bytes;
}

// A file with this header text and these data.
std::string file_bytes(const std::string& json, const std::string& data) {
  const std::uint64_t length = json.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + json + data;
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

// What reading the file says, without the folder's name; "" if it is accepted.
std::string complaint(const TempFolder& folder, const std::string& bytes,
                      const SafetensorsReadOptions& options = {}) {
  const auto path = folder.write("f", bytes);
  try {
    read_safetensors(path, options);
    return "";
  } catch (const DataError& error) {
    std::string text = error.message();
    REQUIRE(text.find(path.string()) != std::string::npos);
    return text.substr(text.find(path.string()) + path.string().size() + 2);
  }
}

// The published fixture: the reference's order, padding and spelling.
std::string fixture() {
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},)"
      R"("b.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]},)"
      R"("h":{"dtype":"F16","shape":[3],"data_offsets":[32,38]}}  )";
  return file_bytes(json,
                    raw<std::int64_t>({7}) + raw<float>({1, 2, 3, 4, 1, 2}) + std::string(6, '\0'));
}

// While it lives, files may not grow beyond `bytes`: the next write fails as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_;
  void (*handler_)(int);
};

TEST_SUITE("safetensors") {
  TEST_CASE("the published fixture has its digest and reads back") {
    CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(fixture().size() == 310);
    CHECK(sha256(fixture()) == "cda45af2cff9d64fd7856723684bf39ec6612ba5156563f21cfa13c15ada8afc");
    const TempFolder folder;
    const SafetensorsFile file = read_safetensors(folder.write("f", fixture()));
    CHECK(file.metadata == TextMap{{"format", "pt"}});
    CHECK(file.tensors.size() == 4);
    CHECK(file.tensors.at("n").shape() == Shape{});
    CHECK(file.tensors.at("n").to_vector<std::int64_t>() == std::vector<std::int64_t>{7});
    CHECK(file.tensors.at("a.weight").shape() == Shape{2, 2});
    CHECK(file.tensors.at("a.weight").to_vector<float>() == std::vector<float>{1, 2, 3, 4});
    CHECK(file.tensors.at("h").dtype() == DType::f16);
    CHECK(file.tensors.at("h").to_vector<float>() == std::vector<float>{0, 0, 0});
  }

  TEST_CASE("the writer gives the fixture's order, offsets and padding") {
    std::vector<SafetensorsEntry> entries{{"h", "F16", {3}, 0, 0},
                                          {"b.bias", "F32", {2}, 0, 0},
                                          {"a.weight", "F32", {2, 2}, 0, 0},
                                          {"n", "I64", {}, 0, 0}};
    const std::string header = safetensors_header(entries, {{"format", "pt"}});
    CHECK(header == fixture().substr(0, 272));

    const TempFolder folder;
    const SafetensorsFile read = read_safetensors(folder.write("f", fixture()));
    write_safetensors(folder.path() / "g", read.tensors, read.metadata);
    CHECK(bytes_of_file(folder.path() / "g") == fixture());
  }

  TEST_CASE("every dtype, scalars and empty tensors survive a round trip") {
    const TempFolder folder;
    const TensorMap tensors{
        {"f32", Tensor::from<float>({2, 1, 2}, {1.5f, -0.0f, 3e38f, 1e-45f})},
        {"f64", Tensor::from<double>({}, {0.1})},
        {"bf16", Tensor::full({2}, DType::bf16, -1.5)},
        {"f16", Tensor::full({3}, DType::f16, 0.1)},
        {"i32", Tensor::from<std::int32_t>({2}, {-1, 1 << 30})},
        {"i64", Tensor::from<std::int64_t>({}, {std::numeric_limits<std::int64_t>::min()})},
        {"u8", Tensor::from<std::uint8_t>({3}, {0, 128, 255})},
        {"empty", Tensor({0, 5}, DType::f32)},
        {"empty too", Tensor({3, 0}, DType::i64)},
        {"", Tensor::from<float>({1}, {1})},
        {"quote\" back\\ tab\t \xc3\xa9", Tensor::from<float>({1}, {2})},
    };
    const TextMap metadata{{"config", "a = \"b\"\nc = 1\n"}, {"", ""}, {"\xe2\x82\xac", "\x01"}};
    const auto path = folder.path() / "f";
    write_safetensors(path, tensors, metadata);
    const SafetensorsFile file = read_safetensors(path);
    CHECK(file.metadata == metadata);
    REQUIRE(file.tensors.size() == tensors.size());
    for (const auto& [name, tensor] : tensors) {
      CAPTURE(name);
      const Tensor& back = file.tensors.at(name);
      CHECK(back.shape() == tensor.shape());
      CHECK(back.dtype() == tensor.dtype());
      CHECK((tensor.numel() == 0 || std::memcmp(back.raw(), tensor.raw(), tensor.bytes()) == 0));
    }
    CHECK(bytes_of_file(path).size() % 8 != 1);
    CHECK(read_safetensors_header(path).data_start % 8 == 0);
    const std::string first = bytes_of_file(path);
    write_safetensors(path, file.tensors, file.metadata);
    CHECK(bytes_of_file(path) == first);
  }

  TEST_CASE("an empty file of the format: no tensors, no metadata") {
    const TempFolder folder;
    write_safetensors(folder.path() / "f", {});
    CHECK(bytes_of_file(folder.path() / "f") == file_bytes("{}      ", ""));
    CHECK(read_safetensors(folder.path() / "f").tensors.empty());
  }

  TEST_CASE("half precision and narrow integers are widened exactly") {
    const TempFolder folder;
    const auto read_one = [&](const std::string& dtype, std::size_t count,
                              const std::string& data) {
      const std::string n = std::to_string(count), e = std::to_string(data.size());
      return read_safetensors(
                 folder.write("f", file_bytes(R"({"x":{"dtype":")" + dtype + R"(","shape":[)" + n +
                                                  R"(],"data_offsets":[0,)" + e + "]}}",
                                              data)))
          .tensors.at("x");
    };
    const Tensor half = read_one("F16", 9,
                                 raw<std::uint16_t>({0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff, 0x7c00,
                                                     0xfc00, 0x7e00, 0x03ff}));
    const auto values = half.to_vector<float>();
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(std::vector<float>(values.begin(), values.begin() + 7) ==
          std::vector<float>{1, -2, 0x1p-24f, 0, 65504, infinity, -infinity});
    CHECK(std::signbit(values[3]));
    CHECK(std::isnan(values[7]));
    CHECK(values[8] == 1023 * 0x1p-24f);
    CHECK(read_one("I8", 2, raw<std::int8_t>({-128, 127})).to_vector<std::int32_t>() ==
          std::vector<std::int32_t>{-128, 127});
    CHECK(read_one("U16", 1, raw<std::uint16_t>({65535})).to_vector<std::int32_t>() ==
          std::vector<std::int32_t>{65535});
    CHECK(read_one("U32", 1, raw<std::uint32_t>({4294967295u})).to_vector<std::int64_t>() ==
          std::vector<std::int64_t>{4294967295});
    CHECK(read_one("BOOL", 2, raw<std::uint8_t>({1, 0})).dtype() == DType::u8);
  }

  TEST_CASE("every malformed file is refused with its reason") {
    const TempFolder folder;
    const auto header_says = [&](const std::string& json, const std::string& data = "") {
      return complaint(folder, file_bytes(json, data));
    };
    const std::string not_valid = "not a valid safetensors file, ";
    const std::string f32 = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";

    SUBCASE("length and start of the header") {
      CHECK(complaint(folder, "") == "not a safetensors file, it has only 0 bytes");
      CHECK(complaint(folder, "1234567") == "not a safetensors file, it has only 7 bytes");
      CHECK(complaint(folder, raw<std::uint64_t>({100'000'001}) + "{}") ==
            "not a safetensors file, its header would have 100000001 bytes (limit 100000000)");
      CHECK(complaint(folder, raw<std::uint64_t>({~0ull}) + "{}") ==
            "not a safetensors file, its header would have 18446744073709551615 bytes (limit "
            "100000000)");
      CHECK(complaint(folder, raw<std::uint64_t>({99'999'999}) + "{}") ==
            "truncated, the header has 99999999 bytes, the file 10");
      CHECK(header_says("") == "not a safetensors file, the header does not begin with '{'");
      CHECK(header_says(" {}") == "not a safetensors file, the header does not begin with '{'");
      CHECK(header_says("[]") == "not a safetensors file, the header does not begin with '{'");
    }
    SUBCASE("JSON") {
      CHECK(header_says("{") == not_valid + "the header is not valid JSON at its byte 2");
      CHECK(header_says("{}}") == not_valid + "the header is not valid JSON at its byte 3");
      CHECK(header_says("{\"\xff\":1}") ==
            not_valid + "the header is not valid JSON at its byte 3");
      CHECK(header_says(std::string("{}\0}", 4)) == not_valid + "the header holds a zero byte");
      CHECK(header_says(R"({"a":1})") ==
            not_valid + "the header has a number where a tensor's entry belongs, at 'a'");
      CHECK(header_says(R"({"a":[)" + std::string(100'000, '[')) ==
            not_valid + "the header has an array where a tensor's entry belongs, at 'a'");
      CHECK(header_says(R"({"a":{"shape":)" + std::string(100'000, '[')) ==
            not_valid + "tensor 'a' has an array in its shape");
      CHECK(header_says(R"({"a":{"dtype":{}}})") ==
            not_valid + "tensor 'a' has an object in its dtype");
      CHECK(header_says(R"({"a":null})") ==
            not_valid + "the header has null where a tensor's entry belongs, at 'a'");
    }
    SUBCASE("metadata is strings only") {
      CHECK(header_says(R"({"__metadata__":{"a":{"b":"c"}}})") ==
            not_valid + "the metadata 'a' must be a string, got an object");
      CHECK(header_says(R"({"__metadata__":{"a":1}})") ==
            not_valid + "the metadata 'a' must be a string, got a number");
      CHECK(header_says(R"({"__metadata__":"a"})") ==
            not_valid +
                "the header has a string where a tensor's entry belongs, at '__metadata__'");
    }
    SUBCASE("duplicate names") {
      CHECK(header_says(R"({"a":)" + f32 + R"(,"a":)" + f32 + "}", "1234") ==
            not_valid + "the name 'a' occurs twice");
      CHECK(header_says(R"({"__metadata__":{},"__metadata__":{}})") ==
            not_valid + "the name '__metadata__' occurs twice");
      CHECK(header_says(R"({"__metadata__":{"k":"1","k":"2"}})") ==
            not_valid + "the metadata key 'k' occurs twice");
      CHECK(header_says(R"({"a":{"dtype":"F32","dtype":"F64"}})") ==
            not_valid + "tensor 'a' has 'dtype' twice");
    }
    SUBCASE("entries") {
      CHECK(header_says(R"({"a":{"dtype":"F32","shape":[1]}})") ==
            not_valid + "tensor 'a' lacks one of dtype, shape and data_offsets");
      CHECK(header_says(R"({"a":{}})") ==
            not_valid + "tensor 'a' lacks one of dtype, shape and data_offsets");
      CHECK(header_says(R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", "1234") ==
            not_valid + "tensor 'a' has an unknown dtype 'F31'");
      CHECK(header_says(R"({"a":{"type":"F32"}})") ==
            not_valid + "tensor 'a' has an unknown key 'type'");
      CHECK(header_says(R"({"a":{"dtype":"F32","shape":[-1]}})") ==
            not_valid + "tensor 'a' has a negative number in its shape");
      CHECK(header_says(R"({"a":{"dtype":"F32","shape":[1.0]}})") ==
            not_valid + "tensor 'a' has a fraction in its shape");
      CHECK(header_says(R"({"a":{"shape":[9223372036854775808]}})") ==
            not_valid + "tensor 'a': a number in shape is too large");
      CHECK(header_says(R"({"a":{"shape":[99999999999999999999999999]}})") ==
            not_valid + "tensor 'a' has a fraction in its shape");
      CHECK(header_says(R"({"a":{"data_offsets":[0]}})") ==
            not_valid + "tensor 'a': data_offsets must be [begin,end], got [0]");
      CHECK(header_says(R"({"a":{"data_offsets":[4,0]}})") ==
            not_valid + "tensor 'a': data_offsets must be [begin,end], got [4,0]");
    }
    SUBCASE("sizes and offsets") {
      const auto one = [](std::string shape, std::string offsets, std::string dtype = "F32") {
        return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
               offsets + "}}";
      };
      CHECK(header_says(one("[2]", "[0,4]"), "1234") ==
            "tensor 'a' of shape [2] F32 needs 8 bytes, its data_offsets span 4");
      CHECK(header_says(one("[4294967296,4294967296]", "[0,0]")) ==
            "tensor 'a' of shape [4294967296,4294967296] F32 has no valid size in bytes");
      CHECK(header_says(one("[3]", "[0,1]", "F4"), "1") ==
            "tensor 'a' of shape [3] F4 has no valid size in bytes");
      CHECK(header_says(one("[1]", "[4,8]"), "12345678") ==
            "tensor 'a' begins at byte 4 of the data, but the one before ends at 0 (a hole)");
      CHECK(header_says(R"({"a":)" + f32 + R"(,"b":)" + f32 + "}", "12345678") ==
            "tensor 'b' begins at byte 0 of the data, but the one before ends at 4 (they overlap)");
      CHECK(header_says(one("[1]", "[0,4]"), "123") ==
            "truncated, the header promises 4 bytes of data, the file has 3");
      // A terabyte in a header of 60 bytes: refused before anything of that size is allocated.
      CHECK(header_says(one("[250000000000]", "[0,1000000000000]"), "1234") ==
            "truncated, the header promises 1000000000000 bytes of data, the file has 4");
      CHECK(header_says(one("[1]", "[0,4]"), "12345") == "1 bytes follow the last tensor");
    }
    SUBCASE("well-formed, but not ours to read") {
      CHECK(header_says(R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})", "12345678") ==
            "tensor 'a' has dtype C64, which proxent does not read");
      CHECK(header_says(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[0,1]}})", "1") ==
            "tensor 'a' has shape [1,1,1,1,1], more than 4 dimensions");
      CHECK(read_safetensors_header(folder.path() / "f").entries[0].shape.size() == 5);
    }
  }

  TEST_CASE("foreign files may carry trailing bytes, which are counted") {
    const TempFolder folder;
    const auto path = folder.write("f", fixture() + "1234");
    CHECK(complaint(folder, fixture() + "1234") == "4 bytes follow the last tensor");
    CHECK(read_safetensors(path, {.accept_trailing_bytes = true}).trailing_bytes == 4);
    CHECK(read_safetensors(path, {.accept_trailing_bytes = true}).tensors.size() == 4);
  }

  TEST_CASE("a file cut anywhere, or with a byte changed, never crashes the reader") {
    const TempFolder folder;
    const std::string whole = fixture();
    for (std::size_t size = 0; size < whole.size(); size += 3)
      CHECK(complaint(folder, whole.substr(0, size)) != "");
    Philox random(7, 0);
    for (int round = 0; round < 300; ++round) {
      std::string bytes = whole;
      bytes[random.below(272)] = static_cast<char>(random());
      complaint(folder, bytes, {.accept_trailing_bytes = true});
    }
  }

  TEST_CASE("what is not a readable file is named") {
    const TempFolder folder;
    const auto text = [](const std::filesystem::path& path) {
      try {
        read_safetensors(path);
      } catch (const DataError& error) {
        return error.message();
      }
      return std::string();
    };
    const auto missing = folder.path() / "missing";
    CHECK(text(missing) == "cannot read " + missing.string() + ": No such file or directory");
    CHECK(text(folder.path()) == "cannot read " + folder.path().string() + ": not a regular file");
    CHECK(text("/dev/zero") == "cannot read /dev/zero: not a regular file");
  }

  TEST_CASE("a full disk leaves the former file, and no other") {
    const TempFolder folder;
    const auto path = folder.path() / "last.safetensors";
    write_safetensors(path, {{"x", Tensor::full({10}, DType::f32, 1)}});
    const std::string before = bytes_of_file(path);
    for (const rlim_t limit : {0, 16, 100, 4096}) {
      CAPTURE(limit);
      std::string text;
      {
        const FileSizeLimit full(limit);
        try {
          write_safetensors(path, {{"x", Tensor::full({10'000}, DType::f32, 2)}});
        } catch (const DataError& error) {
          text = error.message();
        }
      }
      CHECK(text == "cannot write " + path.string() +
                        ": writing failed (File too large); free some space, a file that was there "
                        "before is unharmed");
      CHECK(bytes_of_file(path) == before);
      CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    }
  }

  TEST_CASE("what a killed writer left is overwritten; two writers at once are refused") {
    const TempFolder folder;
    const auto path = folder.path() / "f";
    folder.write("f.tmp", std::string(100'000, 'x'));
    write_safetensors(path, {{"x", Tensor::full({1}, DType::f32, 1)}});
    CHECK(read_safetensors(path).tensors.size() == 1);
    CHECK_FALSE(std::filesystem::exists(folder.path() / "f.tmp"));
    const AtomicFile first(path);
    CHECK_THROWS_AS(AtomicFile second(path), DataError);
  }

  TEST_CASE("a link stays a link: the file that it leads to is written") {
    const TempFolder folder;
    const auto link = folder.path() / "link";
    folder.write("target", "before");
    std::filesystem::create_symlink("target", link);
    write_file_atomically(link, "after");
    CHECK(std::filesystem::is_symlink(link));
    CHECK(bytes_of_file(folder.path() / "target") == "after");
  }

  TEST_CASE("a pipe is not replaced by a file") {
    const TempFolder folder;
    const auto pipe = folder.path() / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    CHECK_THROWS_WITH_AS(write_file_atomically(pipe, "text"),
                         doctest::Contains("this is a device or a pipe; name a file"), DataError);
    CHECK(std::filesystem::is_fifo(pipe));
  }

  TEST_CASE("places that cannot be written and tensors that cannot be saved are refused") {
    const TempFolder folder;
    CHECK_THROWS_AS(write_safetensors(folder.path() / "no" / "f", {}), DataError);
    CHECK_THROWS_AS(write_safetensors(folder.path(), {}), DataError);
    CHECK_THROWS_AS(write_safetensors(folder.path() / "f", {{"x", Tensor()}}), Error);
    CHECK_THROWS_AS(write_safetensors(folder.path() / "f", {{"\xff", Tensor({1}, DType::u8)}}),
                    Error);
    CHECK_THROWS_AS(
        write_safetensors(folder.path() / "f", {{"__metadata__", Tensor({1}, DType::u8)}}), Error);
    CHECK_FALSE(std::filesystem::exists(folder.path() / "f"));
  }
}

}  // namespace
}  // namespace proxent
