// Small boxed tables for the terminal.
#pragma once

#include <string>
#include <vector>

namespace proxent {

class Table {
 public:
  explicit Table(std::string title = {}) : title_(std::move(title)) {}

  // Column heads; without them the table is a list of names and values.
  Table& head(std::vector<std::string> cells);
  Table& row(std::vector<std::string> cells);
  Table& line();                           // a rule between rows
  Table& align_right(std::size_t column);  // numbers

  // Lines with a box around them, each at most `width` columns; long cells of the last column are
  // broken at spaces.
  std::string text(int width) const;
  // Several tables beside each other where the width allows, else below.
  static std::string beside(const std::vector<Table>& tables, int width);

 private:
  std::vector<std::string> lines(int width) const;
  std::vector<int> column_widths(int width) const;

  std::string title_;
  std::vector<std::string> head_;
  std::vector<std::vector<std::string>> rows_;  // an empty row is a rule
  std::vector<std::size_t> right_;
};

}  // namespace proxent
