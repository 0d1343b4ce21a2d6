// Event files of TensorBoard: known bytes, what a crash leaves, and being cut to a checkpoint.
#include "train/event_file.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>

#include "tensor/check.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/crc32c.h"

namespace proxent {
namespace {

namespace fs = std::filesystem;

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    constexpr const char* kDigits = "0123456789abcdef";
    text += kDigits[static_cast<std::uint8_t>(c) >> 4];
    text += kDigits[c & 15];
  }
  return text;
}

std::vector<std::int64_t> steps_in(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  for (const EventScalars& event : read_events(event_file_in(folder))) steps.push_back(event.step);
  return steps;
}

TEST_SUITE("event file") {
  TEST_CASE("checksums and records have the bytes that TensorBoard's own code writes") {
    CHECK(crc32c("123456789") == 0xe3069283u);
    CHECK(hex(event_record(event_file_version(1700000000.0))) ==
          "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d");
    CHECK(hex(event_record(event_message(
              {.wall_time = 1700000001.0, .step = 7, .values = {{"train/loss", 0.5}}}))) ==
          "200000000000000029eda9500900004040fc54d94110072a130a110a0a747261696e2f6c6f73731500"
          "00003f5469987d");
  }

  TEST_CASE("what is written is read back, and goes on in the same file") {
    const TempFolder temporary;
    const fs::path folder = temporary.path() / "tb";
    {
      EventFile file(folder);
      CHECK(file.path().filename().string().starts_with("events.out.tfevents."));
      file.add({.wall_time = 5, .step = 1, .values = {{"train/loss", 0.5}, {"train/lr", 1e-4}}});
    }
    EventFile file(folder);
    file.add({.wall_time = 6, .step = std::int64_t{1} << 40, .values = {{"val/R@1", 0.25}}});
    file.sync();
    const auto events = read_events(event_file_in(folder));
    REQUIRE(events.size() == 2);
    CHECK(events[0].wall_time == 5);
    CHECK(events[0].values == std::vector<std::pair<std::string, double>>{
                                  {"train/loss", 0.5}, {"train/lr", double{1e-4f}}});
    CHECK(events[1].step == std::int64_t{1} << 40);
    CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator()) == 1);
  }

  TEST_CASE("cut to a checkpoint: later steps, half records and damage go") {
    const TempFolder temporary;
    const fs::path folder = temporary.path() / "tb";
    const auto cut_after = [&](std::int64_t step) {
      cut_events(folder, [&](const EventScalars& event) { return event.step > step; });
    };
    cut_after(3);  // no file: nothing to do
    CHECK_FALSE(fs::exists(folder));
    fs::path path;
    {
      EventFile file(folder);
      for (int step = 1; step <= 5; ++step) file.add({.step = step, .values = {{"x", step}}});
      path = file.path();
    }
    const std::string whole = text_of(path);
    std::ofstream(path, std::ios::app | std::ios::binary) << whole.substr(0, 20);  // killed there
    CHECK(steps_in(folder) == std::vector<std::int64_t>{1, 2, 3, 4, 5});
    cut_after(9);
    CHECK(text_of(path) == whole);
    cut_after(3);
    CHECK(steps_in(folder) == std::vector<std::int64_t>{1, 2, 3});
    CHECK(whole.starts_with(text_of(path)));

    std::string damaged = text_of(path);
    damaged[damaged.size() - 6] ^= 1;  // in the last message
    std::ofstream(path, std::ios::binary) << damaged;
    cut_after(3);
    CHECK(steps_in(folder) == std::vector<std::int64_t>{1, 2});
    EventFile(folder).add({.step = 4});
    CHECK(steps_in(folder) == std::vector<std::int64_t>{1, 2, 4});

    std::ofstream(path, std::ios::binary) << "no events";
    CHECK_THROWS_WITH_AS(read_events(path), doctest::Contains("not an event file"), DataError);
    cut_after(3);  // nothing of it is whole ...
    EventFile(folder).add({.step = 4});
    CHECK(steps_in(folder) == std::vector<std::int64_t>{4});  // ... so the file starts anew
  }
}

}  // namespace
}  // namespace proxent
