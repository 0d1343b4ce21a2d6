// In-Shop Clothes Retrieval of DeepFashion (Liu et al. 2016): one list of train, query and gallery.
#include "data/formats.h"
#include "data/text_lines.h"

namespace proxent::detail {
namespace {

constexpr const char* kList = "list_eval_partition.txt";

constexpr OfficialCounts kOfficial{
    .name = "In-Shop Clothes Retrieval",
    .train = {3997, 25882},
    .test = {3985, 14218 + 12612, /*queries=*/14218, /*gallery=*/12612}};

fs::path list_of(const fs::path& folder) {
  const fs::path inside = folder / "Eval" / kList;
  return fs::exists(inside) ? inside : folder / kList;
}

// The folder that "img/..." of the list is found in, and what "img" is called there.
struct PictureFolder {
  fs::path base;
  std::string img;
  std::string path_of(std::string_view listed) const {
    constexpr std::string_view kListed = "img/";
    if (listed.starts_with(kListed)) listed.remove_prefix(kListed.size());
    return (base / img / listed).string();
  }
};

PictureFolder find_pictures(const fs::path& root) {
  const fs::path home = root.filename() == "Eval" ? root.parent_path() : root;
  for (const char* img : {"img", "img_highres"})
    for (const fs::path& base : {home / "Img", home})
      if (fs::is_directory(base / img)) return {base, img};
  fail<DataError>(
      "data set inshop: expected the pictures in Img/img/, Img/img_highres/, img/ or "
      "img_highres/ of ",
      home.string(), "; unpack img.zip there");
}

// "WOMEN/Dresses" of img/WOMEN/Dresses/id_00000002/02_1_front.jpg
std::string category_of(std::string_view path) {
  path.remove_prefix(std::min(path.find('/'), path.size() - 1) + 1);
  return std::string(path.substr(0, path.find("/id_")));
}

// Lines from the third on are pictures; the first must say how many.
void check_head(const TextLines& text, const fs::path& list) {
  const auto& lines = text.lines();
  check<DataError>(lines.size() > 2, list.string(),
                   ": expected a count, a header and at least one picture");
  const std::int64_t promised = text.id(lines[0], lines[0].text, "the count in the first line");
  text.fields(lines[1], "image_name item_id evaluation_status");
  const std::int64_t follow = std::ssize(lines) - 2;
  check<DataError>(promised == follow, list.string(), ": its first line promises ", promised,
                   " pictures, ", follow, " follow; the file is cut off or was edited");
}

}  // namespace

bool has_inshop_files(const fs::path& folder) { return fs::exists(list_of(folder)); }

DatasetSplits read_inshop(const fs::path& path) {
  const fs::path root = find_layout(path, {"Inshop_Clothes", "In-shop Clothes Retrieval Benchmark"},
                                    has_inshop_files, "inshop", "Eval/list_eval_partition.txt");
  const fs::path list = list_of(root);
  const TextLines text(list);
  check_head(text, list);
  const PictureFolder pictures = find_pictures(root);
  PartBuilder train, test;
  PictureOnce known;
  for (std::size_t i = 2; i < text.lines().size(); ++i) {
    const TextLines::Line& line = text.lines()[i];
    const auto fields =
        text.fields(line, "img/WOMEN/Dresses/id_00000002/02_1_front.jpg id_00000002 train");
    const std::string_view status = fields[2];
    check<DataError>(status == "train" || status == "query" || status == "gallery",
                     text.place(line), ": evaluation_status must be train, query or gallery, got ",
                     status);
    Sample sample{.path = pictures.path_of(fields[0])};
    known.add(sample, text.place(line));
    sample.category = category_of(fields[0]);
    if (status != "train") {
      sample.is_query = status == "query";
      sample.is_gallery = status == "gallery";
    }
    (status == "train" ? train : test).add(std::move(sample), std::string(fields[1]));
  }
  train.dataset.list = test.dataset.list = list.string();
  DatasetSplits splits{.train = train.finish("inshop train"),
                       .test = test.finish("inshop query and gallery"),
                       .description = "In-Shop Clothes Retrieval"};
  check_official_counts(kOfficial, path, part_of(splits.train), part_of(splits.test));
  return splits;
}

}  // namespace proxent::detail
