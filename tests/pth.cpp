// PyTorch's files: those that it wrote, and those that somebody broke.
#include "train/pth.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <numeric>

#include "tests/temp_folder.h"
#include "tests/test_data.h"
#include "tests/text_of.h"
#include "train/pickle.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;
const fs::path kGolden = PROXENT_SOURCE_DIR "/tests/golden";

template <class F>
std::string complaint(F&& f) {
  try {
    f();
    return "";
  } catch (const DataError& error) {
    return error.message();
  }
}

std::string complaint_of_pickle(const std::string& bytes) {
  return complaint([&] { Pickle(bytes, "f"); });
}

using Values = std::vector<double>;

TEST_SUITE("pth") {
  TEST_CASE("what torch.save wrote, as zip and as pickles in a row") {
    for (const char* name : {"weights.pth", "weights_legacy.pth"}) {
      CAPTURE(std::string(name));
      const TensorMap weights = read_pth(kGolden / "pth" / name);
      CHECK(weights.size() == 14);  // not epoch, best and name beside them
      const auto check_tensor = [&](const std::string& key, Shape shape, DType dtype,
                                    const Values& values) {
        CAPTURE(key);
        REQUIRE(weights.contains(key));
        CHECK(weights.at(key).shape() == shape);
        CHECK(weights.at(key).dtype() == dtype);
        CHECK(weights.at(key).to(DType::f64).to_vector<double>() == values);
      };
      check_tensor("module.a.weight", {2, 3}, DType::f32, {-2, -1, 0, 1, 2, 3});
      check_tensor("turned", {3, 2}, DType::f32, {-2, 1, -1, 2, 0, 3});
      check_tensor("part", {2, 2}, DType::f32, {2, 3, 4, 5});
      check_tensor("column", {3}, DType::f32, {-1, 3, 7});
      check_tensor("half", {4}, DType::f16, {-2, -1, 0, 1});
      check_tensor("bfloat", {4}, DType::bf16, {-2, -1, 0, 1});
      check_tensor("double", {4}, DType::f64, {-2, -1, 0, 1});
      check_tensor("long", {}, DType::i64, {7});
      check_tensor("int", {4}, DType::i32, {-2, -1, 0, 1});
      check_tensor("short", {4}, DType::i32, {-2, -1, 0, 1});
      check_tensor("char", {4}, DType::i32, {-2, -1, 0, 1});
      check_tensor("byte", {4}, DType::u8, {2, 1, 0, 1});
      check_tensor("bool", {4}, DType::u8, {0, 0, 0, 1});
      check_tensor("empty", {0, 3}, DType::f32, {});
    }
  }

  TEST_CASE("a file of the wild loads") {
    const std::filesystem::path path = test_data("weights/cifar10_resnet20-12fca82f.th");
    if (path.empty()) return;
    const TensorMap weights = read_pth(path);
    CHECK(weights.at("module.conv1.weight").shape() == Shape{16, 3, 3, 3});
    CHECK(weights.at("module.linear.weight").shape() == Shape{10, 64});
    // The sums as PyTorch 1.13 computes them.
    const auto sum_of = [&](const std::string& name) {
      const auto values = weights.at(name).to_vector<float>();
      return std::accumulate(values.begin(), values.end(), 0.0);
    };
    CHECK(weights.size() == 97);
    CHECK(sum_of("module.conv1.weight") == doctest::Approx(1.3100982000032673).epsilon(1e-12));
    CHECK(sum_of("module.layer3.2.bn2.running_var") ==
          doctest::Approx(10.665690739639103).epsilon(1e-12));
  }

  TEST_CASE("a changed byte is refused by the entry's name, where there is a checksum") {
    const TempFolder folder;
    std::string bytes = text_of(kGolden / "pth" / "weights.pth");
    const std::string name = "weights/data/0";
    // Data begin at multiples of 64 bytes; the entry in the directory comes last.
    bytes[(bytes.find(name) + name.size() + 63) / 64 * 64] ^= 1;
    const auto read = [&] { return complaint([&] { read_pth(folder.write("w.pth", bytes)); }); };
    CHECK(read().find(": this zip archive is damaged: the CRC-32 of 'weights/data/0' should be "
                      "47dfff97 and is ") != std::string::npos);
    constexpr std::size_t kChecksum = 16, kSize = 24, kHeader = 42, kName = 46;  // in the directory
    bytes.replace(bytes.rfind(name) - kName + kChecksum, 4, 4, '\0');
    CHECK(read() == "");

    bytes = text_of(kGolden / "pth" / "weights.pth");
    const std::string directory = bytes.substr(bytes.find("PK\1\2"));
    // The size and the place of the first entry, the largest, for all of them.
    for (std::size_t at = 0; (at = bytes.find("PK\1\2", at)) != std::string::npos; at += kName) {
      bytes.replace(at + kChecksum, 4, 4, '\0');
      for (const std::size_t field : {kSize, kHeader})
        bytes.replace(at + field, 4, directory, field, 4);
    }
    CHECK(read().ends_with("this zip archive has entries that overlap"));
  }

  TEST_CASE("a big-endian file is refused") {
    const TempFolder folder;
    std::string bytes = text_of(kGolden / "pth" / "weights_legacy.pth");
    constexpr char kTrue = '\x88', kFalse = '\x89';
    bytes[bytes.find(kTrue, bytes.find("little_endian"))] = kFalse;
    const auto legacy = folder.write("legacy.pth", bytes);
    CHECK(complaint([&] { read_pth(legacy); }) ==
          legacy.string() + ": its numbers are big-endian; load it with PyTorch and save it again");
  }

  TEST_CASE("an expanded tensor is refused with what to do") {
    using std::string_literals::operator""s;
    const auto text = [](const std::string& word) {
      return "X" + std::string(1, static_cast<char>(word.size())) + "\0\0\0"s + word;
    };
    // One element of storage '0', as torch.zeros(1).expand(4) lies in a file of the older form.
    const std::string storage =
        "(" + text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\1NtQ";
    const std::string tensor =
        "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + "K\0K\4\x85K\0\x85\x89}tR"s;
    const TempFolder folder;
    const auto file = folder.write(
        "w.pth", "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.M\xe9\3.}.}"s + text("w") +
                     tensor + "s.]" + text("0") + "a." + "\1\0\0\0\0\0\0\0\0\0\0\0"s);
    CHECK(complaint([&] { read_pth(file); }) ==
          file.string() +
              ": tensor 'w' is an expanded one, which repeats elements by a stride of 0; save it "
              "by .contiguous()");
  }

  TEST_CASE("no function of Python is run") {
    const std::string message = complaint([] { read_pth(kGolden / "hostile.pth"); });
    CHECK(message.find("needs Python's 'posix system'") != std::string::npos);
    CHECK(message.find("save model.state_dict() alone") != std::string::npos);
  }

  TEST_CASE("pickles that make no sense") {
    const std::pair<std::string, const char*> rows[] = {
        {"", "truncated"},
        {".", "the stack is empty"},
        {"K", "truncated"},
        {"X\xff\xff\xff\x7fyes.", "truncated"},
        {"(.", "the stack is empty"},
        {"t.", "there is no mark"},
        {"N(0.", "the stack is empty"},  // a mark protects what is below it
        {"h\1.", "nothing was remembered"},
        {"NNa.", "items for what is no list"},
        {"}(Nu.", "a key without a value"},
        {"(Nd.", "a key without a value"},
        {"NNR.", "a call of what is no function"},
        {"NQ.", "no storage of a tensor"},
        {"cos\nsystem\n.", "needs Python's 'os system'"},
        {"ccollections\nOrderedDict\nN\x85R.", "do not suit it"},
        {"ctorch._utils\n_rebuild_parameter\nN\x85R.", "do not suit it"},
        {"ctorch._utils\n_rebuild_tensor_v2\n(" + std::string(17, 'N') + "tR.",
         "more than 16 arguments"},
        {"I1\n.", "instruction 73"},
        {std::string(1'000'001, 'N') + ".", "more than 1000000 values"},
    };
    for (const auto& [bytes, expected] : rows) {
      CAPTURE(bytes.substr(0, 60));
      CHECK(complaint_of_pickle(bytes).find(expected) != std::string::npos);
    }
    // A list within itself is no endless one.
    CHECK(complaint_of_pickle("]q\1h\1a.") == "");
  }
}

}  // namespace
}  // namespace proxent
