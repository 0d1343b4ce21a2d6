// The lines of a text file with their numbers, for lists that people and other programs write.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxent {

class TextLines {
 public:
  struct Line {
    int number = 0;         // from 1
    std::string_view text;  // without blanks at its end; lives as long as the TextLines
  };

  // DataError when the file cannot be read. A byte order mark is dropped, as are empty lines.
  explicit TextLines(const std::filesystem::path& file);
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  const std::vector<Line>& lines() const { return lines_; }
  std::string place(const Line& line) const;  // "images.txt:12", with the file's whole path
  // The fields of a line, separated by runs of blanks. DataError unless there are as many as in
  // `example`, which the message shows.
  std::vector<std::string_view> fields(const Line& line, std::string_view example) const;
  // A field as a number from 1 on; DataError naming the place and `what` it is.
  std::int64_t id(const Line& line, std::string_view field, std::string_view what) const;

 private:
  std::filesystem::path file_;
  std::vector<std::uint8_t> bytes_;
  std::vector<Line> lines_;
};

// The bytes of a text file, without a byte order mark. Throws DataError naming the file if one of
// them is 0: the file is UTF-16, or no text.
std::string_view text_in(std::span<const std::uint8_t> bytes, const std::filesystem::path& file);

inline constexpr std::string_view kBlanks = " \t\r";
// What stands between runs of blanks.
std::vector<std::string_view> split_at_blanks(std::string_view text);

}  // namespace proxent
