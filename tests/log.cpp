// The log of a run: the terminal with its live line, the file, and many threads at once.
#include "train/log.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <vector>

#include "tensor/check.h"
#include "tests/recorder.h"
#include "tests/temp_folder.h"
#include "tests/text_of.h"
#include "train/text.h"

namespace proxent {

TEST_SUITE("log") {
  TEST_CASE("the live line stays below the others") {
    std::string out;
    {
      Log log(recorder(out, true));
      log.status("bar");
      log.info("line");
      log.status("a line that is longer than the sixty columns of this terminal, much");
    }
    CHECK(out ==
          "\r\x1b[Kbar"
          "\r\x1b[Kline\nbar"
          "\r\x1b[Ka line that is longer than the sixty columns of this ter..."
          "\r\x1b[K");
  }

  TEST_CASE("without a terminal there are only lines, without colour") {
    std::string out;
    Log log(recorder(out, false, false));
    log.status("bar");
    log.info(bold("a │ b"));
    log.warning("w");
    CHECK(out == "a | b\nwarning: w\n");
  }

  TEST_CASE("quiet keeps warnings and results; the file keeps all") {
    const TempFolder temp;
    const std::string path = temp.path() / "log.txt";
    std::string out;
    {
      Log log(recorder(out, true), true);
      log.copy_to(path);
      log.info(green("é"));
      log.status("bar");
      log.result("r");
      log.warning("w\x1b[2J");  // a picture's name may be anything
    }
    CHECK(out == "r\nwarning: w\\x1b[2J\n");
    const std::string text = text_of(path);
    CHECK(text == "é\nr\nwarning: w\\x1b[2J\n");
    Log log(recorder(out, false));
    CHECK_THROWS_AS(log.copy_to(temp.path() / "none/log.txt"), Error);
  }

  TEST_CASE("lines of many threads stay whole, on the terminal and in the file") {
    constexpr int kThreads = 4, kLines = 200;
    const TempFolder temp;
    std::string out;
    {
      Log log(recorder(out, true));
      log.copy_to(temp.path() / "log.txt");
      std::vector<std::thread> threads;
      for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&log, t] {
          for (int i = 0; i < kLines; ++i) {
            log.status("working " + std::to_string(i));
            log.warning("thread " + std::to_string(t) + " line " + std::to_string(i));
          }
        });
      for (std::thread& thread : threads) thread.join();
    }
    std::ifstream file(temp.path() / "log.txt");
    std::vector<int> next(kThreads);  // each thread's lines come in its order
    int lines = 0;
    for (std::string line; std::getline(file, line); ++lines) {
      int t = -1, i = -1;
      REQUIRE(std::sscanf(line.c_str(), "warning: thread %d line %d", &t, &i) == 2);
      REQUIRE((t >= 0 && t < kThreads));
      CHECK(i == next[static_cast<std::size_t>(t)]++);
    }
    CHECK(lines == kThreads * kLines);
    CHECK(std::count(out.begin(), out.end(), '\n') == kThreads * kLines);
  }
}

}  // namespace proxent
