// Who may know whom (the arrows of the architecture), read from the #include lines; and the few
// rules of the house that a machine can check.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/text_of.h"

namespace {
namespace fs = std::filesystem;

const fs::path kRoot = PROXENT_SOURCE_DIR;

struct Source {
  std::string path;  // from the root, "tensor/cpu/matmul.cpp"
  std::string text;
  std::string folder() const { return path.substr(0, path.find('/')); }
  bool is_under(const std::string& prefix) const { return path.starts_with(prefix); }
  bool is_header() const { return path.ends_with(".h") || path.ends_with(".cuh"); }
};

const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    std::vector<Source> found;
    for (const char* folder : {"tensor", "autograd", "layers", "losses", "data", "train", "tests"})
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
        const std::string extension = entry.path().extension();
        if (!std::set<std::string>{".h", ".cpp", ".cu", ".cuh", ".def"}.contains(extension))
          continue;
        found.push_back(
            {fs::relative(entry.path(), kRoot).generic_string(), proxent::text_of(entry.path())});
      }
    return found;
  }();
  return all;
}

// What the pattern's group is where it fits; \n stands before every line, also the first.
std::vector<std::string> matches(const Source& source, const std::string& pattern) {
  std::vector<std::string> found;
  const std::regex regex(pattern);
  const std::string text = "\n" + source.text;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it)
    found.push_back((*it)[1]);
  return found;
}
std::vector<std::string> own_includes(const Source& source) {
  return matches(source, R"(\n#include "([^"]+)\")");
}
std::vector<std::string> system_includes(const Source& source) {
  return matches(source, R"(\n#include <([^>]+)>)");
}
}  // namespace

TEST_SUITE("layering") {
  TEST_CASE("each folder includes only the folders it may know") {
    const std::map<std::string, std::set<std::string>> may_know = {
        {"tensor", {"tensor"}},
        {"autograd", {"autograd", "tensor"}},
        {"layers", {"layers", "autograd", "tensor"}},
        {"losses", {"losses", "autograd", "tensor"}},
        {"data", {"data", "tensor"}},
        {"train", {"train", "layers", "losses", "data", "autograd", "tensor"}},
    };
    CHECK(sources().size() > 100);
    for (const Source& source : sources()) {
      if (source.folder() == "tests") continue;
      for (const std::string& include : own_includes(source)) {
        INFO(source.path, " includes ", include);
        CHECK(may_know.at(source.folder()).contains(include.substr(0, include.find('/'))));
        CHECK(fs::exists(kRoot / include));
      }
    }
  }

  TEST_CASE("a folder's private headers are its own, and the tests'") {
    std::set<std::string> headers;
    for (const Source& source : sources()) {
      const std::string purpose = source.text.substr(0, source.text.find('\n'));
      if (purpose.ends_with("private to " + source.folder() + "/.")) headers.insert(source.path);
    }
    CHECK(headers.contains("data/formats.h"));
    for (const Source& source : sources())
      for (const std::string& include : own_includes(source)) {
        if (source.folder() == "tests" || !headers.contains(include)) continue;
        INFO(source.path, " includes ", include);
        CHECK(include.starts_with(source.folder() + "/"));
      }
  }

  TEST_CASE("a library's headers are known in one place") {
    struct Library {
      std::string pattern;              // of its headers
      std::vector<std::string> places;  // where they may be included
    };
    const std::vector<Library> libraries = {
        {"oneapi/|dnnl", {"tensor/onednn/"}},
        {"cuda|cudnn|cublas|nvtx", {"tensor/cuda/", "tests/cuda_emulator", "tests/gpu.cpp"}},
        {"stb_|jpeglib|turbojpeg", {"data/"}},
        {"zlib", {"data/", "train/checksum.cpp", "tests/"}},
        {"fmt/|nlohmann/|toml\\+\\+", {"train/", "tests/"}},
        {"doctest", {"tests/"}},
    };
    for (const Source& source : sources())
      for (const std::string& include : system_includes(source))
        for (const Library& library : libraries) {
          if (!std::regex_search(include, std::regex("^(" + library.pattern + ")"))) continue;
          INFO(source.path, " includes ", include);
          bool is_allowed = false;
          for (const std::string& place : library.places) is_allowed |= source.is_under(place);
          CHECK(is_allowed);
          if (source.is_under("train/")) CHECK_FALSE(source.is_header());  // slow to compile
        }
  }

  TEST_CASE("backends are included by the ops they belong to") {
    for (const Source& source : sources())
      for (const std::string& include : own_includes(source)) {
        if (!include.starts_with("tensor/onednn/")) continue;
        INFO(source.path, " includes ", include);
        CHECK(source.is_under("tensor/"));
      }
  }

  TEST_CASE("only tensor/ goes through the door to a device") {
    for (const Source& source : sources()) {
      if (source.is_under("tensor/") || source.is_under("tests/")) continue;
      INFO(source.path);
      CHECK(matches(source, R"(\W(launch|on_device)\()").empty());
      CHECK(source.text.find("PROXENT_CUDA") == std::string::npos);
    }
  }

  TEST_CASE("library code neither prints nor exits, and opens no namespace") {
    for (const Source& source : sources()) {
      INFO(source.path);
      if (source.is_under("tests/")) continue;
      CHECK(matches(source, R"(\n\s*(using namespace [a-z]))").empty());
      if (source.is_under("train/")) continue;
      CHECK(matches(source, R"([^\w](std::cout|std::cerr|printf\(|fprintf\(|exit\())").empty());
    }
  }

  TEST_CASE("every header says what it is for and guards itself") {
    for (const Source& source : sources()) {
      if (!source.is_header()) continue;
      INFO(source.path);
      CHECK(source.text.starts_with("// "));
      CHECK(source.text.find("#pragma once") != std::string::npos);
    }
  }

  TEST_CASE("variables named PROXENT_... are settings alone") {
    // A command refuses any other, so that one with a mistake in it is not passed over.
    int read = 0;
    for (const Source& source : sources())
      for (const std::string& name : matches(source, R"(getenv\("(\w+)\"\))")) {
        INFO(source.path, " reads ", name);
        CHECK_FALSE(name.starts_with("PROXENT_"));
        ++read;
      }
    CHECK(read > 0);
  }

  TEST_CASE("no line is longer than 100 columns") {
    for (const Source& source : sources()) {
      // In tables one row is one line, in help pages one paragraph.
      if (source.path == "train/op_table.cpp" || source.path == "train/command_help.cpp" ||
          source.path.ends_with(".def"))
        continue;
      std::size_t begin = 0, number = 1;
      for (std::size_t end; (end = source.text.find('\n', begin)) != std::string::npos;
           begin = end + 1, ++number) {
        std::size_t columns = 0;  // of UTF-8: continuation bytes count nothing
        for (std::size_t i = begin; i < end; ++i) columns += (source.text[i] & 0xc0) != 0x80;
        INFO(source.path, ":", number);
        if (columns > 100) CHECK(columns <= 100);
      }
    }
  }
}
