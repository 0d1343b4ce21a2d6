// CUB-200-2011 (Wah et al. 2011): lists of image ids beside a folder of pictures.
#include <map>

#include "data/formats.h"
#include "data/text_lines.h"

namespace proxent::detail {
namespace {

constexpr OfficialCounts kOfficial{
    .name = "CUB-200-2011",
    .train = {100, 5864},
    .test = {100, 5924},
    .explanations = {{{6033,
                       "6,033 pictures are those of CUB-200-2010, the smaller first edition: "
                       "results on it are not those of CUB-200-2011"}}}};

// "1 text" on every line, each id once.
std::map<std::int64_t, std::string> read_names(const fs::path& file, std::string_view example) {
  std::map<std::int64_t, std::string> names;
  const TextLines text(file);
  for (const TextLines::Line& line : text.lines()) {
    const auto fields = text.fields(line, example);
    const std::int64_t id = text.id(line, fields[0], "the id");
    check<DataError>(names.emplace(id, fields[1]).second, text.place(line), ": id ", id,
                     " occurs twice");
  }
  check<DataError>(!names.empty(), file.string(), ": empty, expected lines like \"", example, "\"");
  return names;
}

// The class of every image id.
std::map<std::int64_t, std::int64_t> read_classes(
    const fs::path& file, const std::map<std::int64_t, std::string>& images,
    const std::map<std::int64_t, std::string>& names) {
  std::map<std::int64_t, std::int64_t> class_of;
  const TextLines text(file);
  for (const TextLines::Line& line : text.lines()) {
    const auto fields = text.fields(line, "1 1");
    const std::int64_t image = text.id(line, fields[0], "the image id");
    const std::int64_t label = text.id(line, fields[1], "the class id");
    check<DataError>(images.contains(image), text.place(line), ": image id ", image,
                     " is not in images.txt");
    check<DataError>(names.contains(label), text.place(line), ": class id ", label,
                     " is not in classes.txt, which has ", names.size(), " classes");
    check<DataError>(class_of.emplace(image, label).second, text.place(line), ": image id ", image,
                     " occurs twice");
  }
  check<DataError>(class_of.size() == images.size(), file.string(), ": gives the class of ",
                   class_of.size(), " of the ", images.size(), " pictures in images.txt");
  return class_of;
}

}  // namespace

bool has_cub_files(const fs::path& folder) {
  return fs::exists(folder / "images.txt") && fs::exists(folder / "image_class_labels.txt");
}

void refuse_cub_2010(const fs::path& folder) {
  check<DataError>(has_cub_files(folder) || !fs::exists(folder / "lists" / "files.txt"),
                   "data set cub: ", folder.string(),
                   " looks like CUB-200-2010 (lists/files.txt, 6,033 pictures), not "
                   "CUB-200-2011 (images.txt, 11,788 pictures). To use it all the same: --dataset "
                   "folder --data ",
                   (folder / "images").string());
}

Dataset read_cub(const fs::path& path) {
  refuse_cub_2010(path);
  const fs::path root = find_layout(path, {"CUB_200_2011"}, has_cub_files, "cub",
                                    "images.txt, image_class_labels.txt and classes.txt");
  const auto images = read_names(root / "images.txt", "1 001.Black_footed_Albatross/name.jpg");
  const auto names = read_names(root / "classes.txt", "1 001.Black_footed_Albatross");
  const auto class_of = read_classes(root / "image_class_labels.txt", images, names);
  PartBuilder part;
  part.dataset.list = (root / "images.txt").string();
  PictureOnce known;
  for (const auto& [id, file] : images) {
    Sample sample{.path = (root / "images" / file).string()};
    known.add(sample, concat(part.dataset.list, ": image_id ", id));
    part.add(std::move(sample), std::to_string(class_of.at(id)));
  }
  Dataset all = part.finish("cub");
  for (std::string& name : all.class_names) name = names.at(std::stoll(name));
  check_official_halves(kOfficial, path, all);
  return all;
}

}  // namespace proxent::detail
