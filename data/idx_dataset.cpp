// MNIST's four files as a data set: even classes train, odd ones test.
#include "data/formats.h"
#include "data/idx.h"

namespace proxent::detail {
namespace {

// The file, gzipped or not; empty when there is neither.
fs::path find_idx(const fs::path& folder, const std::string& name) {
  for (const char* extension : {".gz", ""})
    if (fs::exists(folder / (name + extension))) return folder / (name + extension);
  return {};
}

Dataset read_part(const fs::path& folder, const std::string& prefix,
                  const std::vector<std::string>& class_names, std::string name) {
  const fs::path image_path = find_idx(folder, prefix + "-images-idx3-ubyte");
  const fs::path label_path = find_idx(folder, prefix + "-labels-idx1-ubyte");
  if (image_path.empty() || label_path.empty())
    refuse_layout(
        "idx",
        prefix + "-images-idx3-ubyte and " + prefix + "-labels-idx1-ubyte, with or without .gz,",
        folder);
  IdxArray images = read_idx(image_path, 3);
  const IdxArray labels = read_idx(label_path, 1);
  check<DataError>(images.sizes[0] == labels.sizes[0], image_path.string(), " has ",
                   images.sizes[0], " pictures, ", label_path.string(), " ", labels.sizes[0],
                   " labels");
  Dataset dataset;
  dataset.name = std::move(name);
  std::vector<std::string> texts;
  for (std::int64_t i = 0; i < images.sizes[0]; ++i) {
    dataset.samples.push_back(
        {.path = image_path.filename().string() + "[" + std::to_string(i) + "]", .stored = i});
    texts.push_back(std::to_string(labels.bytes[i]));
  }
  assign_labels(dataset, texts);
  if (!class_names.empty())
    for (std::string& text : dataset.class_names) {
      const std::size_t value = std::stoul(text);
      check<DataError>(value < class_names.size(), label_path.string(), ": label ", value, " of ",
                       class_names.size(), " classes");
      text = class_names[value];
    }
  dataset.stored = std::make_shared<const StoredPictures>(
      StoredPictures{images.sizes[1], images.sizes[2], std::move(images.bytes)});
  return dataset;
}

Dataset of_parity(const Dataset& dataset, int parity, std::string name) {
  std::vector<std::int32_t> labels;
  for (std::int32_t label = parity; label < dataset.classes(); label += 2) labels.push_back(label);
  return dataset.of_classes(labels, std::move(name));
}

}  // namespace

bool has_idx_files(const fs::path& folder) {
  return !find_idx(folder, "train-images-idx3-ubyte").empty() ||
         !find_idx(folder, "t10k-images-idx3-ubyte").empty();
}

DatasetSplits read_idx_dataset(const fs::path& folder, const std::vector<std::string>& class_names,
                               bool by_parity) {
  Dataset train = read_part(folder, "train", class_names, "train");
  Dataset test = read_part(folder, "t10k", class_names, "test");
  if (!by_parity)
    return {.train = std::move(train),
            .test = std::move(test),
            .description = "IDX files; the same classes train and test"};
  check<DataError>(train.class_names == test.class_names, folder.string(),
                   ": training and test file hold other classes, so the even ones of the first and "
                   "the odd ones of the second need not differ");
  return {.train = of_parity(train, 0, "even classes"),
          .test = of_parity(test, 1, "odd classes"),
          .description =
              "IDX files; even classes of the training file train, odd classes of the "
              "test file test"};
}

}  // namespace proxent::detail
