// Lists of "path label", one picture a line.
#include <map>
#include <utility>

#include "data/formats.h"
#include "data/text_lines.h"

namespace proxent::detail {
namespace {

// Calls f(path, label, place) for every line that is not blank or a comment; a path may hold
// blanks.
template <class F>
void for_each_entry(const fs::path& list, F f) {
  const TextLines text(list);
  for (const TextLines::Line& entry : text.lines()) {
    const std::string_view line = entry.text;
    if (line.starts_with('#')) continue;
    const std::size_t blank = line.find_last_of(kBlanks);
    check<DataError>(blank != std::string_view::npos, text.place(entry),
                     ": expected \"path label\", got \"", line, "\"",
                     is_csv_dataset(list) ? ". This is a table: --dataset csv" : "");
    const std::string_view path = line.substr(0, line.find_last_not_of(kBlanks, blank) + 1);
    check<DataError>(!path.empty(), text.place(entry), ": no path before the label");
    f(path, line.substr(blank + 1), text.place(entry));
  }
}

}  // namespace

Dataset read_lists(std::span<const ListFile> lists, std::string name, PictureOnce& known) {
  Dataset dataset;
  dataset.name = std::move(name);
  std::vector<std::string> labels;
  struct Named {
    std::size_t sample = 0;
    const ListFile* last = nullptr;  // the list that named it last
  };
  std::map<std::string, Named> named;
  for (const ListFile& list : lists) {
    for_each_entry(
        list.path, [&](std::string_view path, std::string_view label, const std::string& place) {
          Sample sample{.path = (list.path.parent_path() / path).string()};
          sample.is_query = list.is_query;
          sample.is_gallery = list.is_gallery;
          Named& known_as =
              named.try_emplace(picture_key(sample), Named{dataset.samples.size()}).first->second;
          const ListFile* before = std::exchange(known_as.last, &list);
          if (before != nullptr && before != &list) {
            const std::string& label_before = labels[known_as.sample];
            check<DataError>(label_before == label, place, ": ", sample.path, " has label ", label,
                             " here and ", label_before, " before");
            dataset.samples[known_as.sample].is_query |= list.is_query;
            dataset.samples[known_as.sample].is_gallery |= list.is_gallery;
            return;
          }
          known.add(sample, place);
          dataset.samples.push_back(std::move(sample));
          labels.emplace_back(label);
        });
    dataset.list += (dataset.list.empty() ? "" : " and ") + list.path.string();
  }
  check<DataError>(!dataset.is_empty(), "data set ", lists[0].path.string(),
                   ": the list names no pictures");
  assign_labels(dataset, labels);
  return dataset;
}

}  // namespace proxent::detail
