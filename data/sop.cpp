// Stanford Online Products (Oh Song et al. 2016): two lists with a header, one folder per kind of
// product.
#include <set>

#include "data/formats.h"
#include "data/text_lines.h"

namespace proxent::detail {
namespace {

constexpr std::string_view kHeader = "image_id class_id super_class_id path";

constexpr OfficialCounts kOfficial{
    .name = "Stanford Online Products", .train = {11318, 59551}, .test = {11316, 60502}};

// "bicycle" of bicycle_final/111085122871_0.JPG
std::string category_of(std::string_view path) {
  const std::string_view folder = path.substr(0, path.find('/'));
  return std::string(folder.substr(0, folder.rfind("_final")));
}

// Both lists count on: neither an id nor a picture may be in them twice.
struct Known {
  std::set<std::int64_t> ids;
  PictureOnce pictures;
};

Dataset read_part(const fs::path& list, std::string name, Known& known) {
  const TextLines text(list);
  const auto& lines = text.lines();
  check<DataError>(!lines.empty() && lines[0].text == kHeader, list.string(),
                   ":1: expected the header \"", kHeader, "\"");
  check<DataError>(lines.size() > 1, list.string(), ": no pictures follow the header");
  PartBuilder part;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto fields = text.fields(lines[i], "1 1 1 bicycle_final/111085122871_0.JPG");
    const std::int64_t id = text.id(lines[i], fields[0], "image_id");
    check<DataError>(known.ids.insert(id).second, text.place(lines[i]), ": image_id ", id,
                     " occurs twice");
    const std::int64_t label = text.id(lines[i], fields[1], "class_id");
    Sample sample{.path = (list.parent_path() / fields[3]).string()};
    sample.category = category_of(fields[3]);
    known.pictures.add(sample, text.place(lines[i]));
    part.add(std::move(sample), std::to_string(label));
  }
  part.dataset.list = list.string();
  return part.finish(std::move(name));
}

}  // namespace

bool has_sop_files(const fs::path& folder) {
  return fs::exists(folder / "Ebay_train.txt") && fs::exists(folder / "Ebay_test.txt");
}

DatasetSplits read_sop(const fs::path& path) {
  const fs::path root = find_layout(path, {"Stanford_Online_Products"}, has_sop_files, "sop",
                                    "Ebay_train.txt and Ebay_test.txt");
  Known known;
  DatasetSplits splits{.train = read_part(root / "Ebay_train.txt", "sop train", known),
                       .test = read_part(root / "Ebay_test.txt", "sop test", known),
                       .description = "Stanford Online Products"};
  check_official_counts(kOfficial, path, part_of(splits.train), part_of(splits.test));
  return splits;
}

}  // namespace proxent::detail
