// CSV tables: names, quotes, and what is wrong with them by line.
#include "data/csv_table.h"

#include <doctest/doctest.h>

#include "tensor/check.h"
#include "tests/temp_folder.h"

TEST_SUITE("csv_table") {
  using namespace proxent;

  TEST_CASE("fields come back as they were written, whatever is in them") {
    const TempFolder folder;
    const std::vector<std::string> odd = {"plain",      "a,b",   "say \"hi\"", "two\nlines",
                                          "\"quoted\"", " s p ", "",           "\xC3\xA9"};
    std::string text = "n,value\r\n";
    for (std::size_t i = 0; i < odd.size(); ++i)
      text += std::to_string(i) + "," + csv_field(odd[i]) + "\n";
    const CsvTable table = CsvTable::read(folder.write("t.csv", text));
    REQUIRE(table.rows() == std::ssize(odd));
    for (std::int64_t row = 0; row < table.rows(); ++row)
      CHECK(table.text(row, "value") == odd[row]);
    CHECK(table.text(0, "absent").empty());
    CHECK(table.has_column("n"));
    CHECK_FALSE(table.has_column("absent"));
    CHECK(table.place(4) == (folder.path() / "t.csv").string() + ":7");  // after the two lines
  }

  TEST_CASE("a wrong table is told by file and line") {
    const TempFolder folder;
    const auto message = [&](std::string_view text) -> std::string {
      const auto file = folder.write("t.csv", text);
      try {
        CsvTable::read(file).require_columns({"a", "z"}, "a,z");
      } catch (const DataError& error) {
        return error.message().substr(file.string().size());
      }
      return "";
    };
    CHECK(message("a,b,a\n") == ":1: the column name \"a\" occurs twice");
    CHECK(message("a,z\n1,2\n3\n") == ":3: 1 fields under a header of 2");
    CHECK(message("a,z\n1,\"2\n3,4\n") == ":2: a quoted field begins here and never ends");
    CHECK(message("a,b\n1,2\n") == ":1: the header has no column \"z\"; expected a,z");
    CHECK(
        message(std::string_view("\xFF\xFE"
                                 "a\0,\0",
                                 6)) ==
        ": expected text in UTF-8, got a zero byte; if this is a list or table in UTF-16, save it "
        "as UTF-8");
    CHECK(message("a,z\n").empty());
    const CsvTable table = CsvTable::read(folder.write("f.csv", "q\nTrue\n0\n\nmaybe\nnan\n"));
    REQUIRE(table.rows() == 4);  // an empty line is no row
    CHECK(table.flag(0, "q", false));
    CHECK_FALSE(table.flag(1, "q", true));
    CHECK(table.flag(3, "q", true));
    CHECK_FALSE(table.flag(3, "absent", false));
    CHECK_THROWS_WITH_AS(table.flag(2, "q", true),
                         doctest::Contains("f.csv:5: q must be True or False, got maybe"),
                         DataError);
  }
}
