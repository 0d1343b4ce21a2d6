// How a data set becomes a run's training, validation and test parts, and what is refused.
#include "train/task.h"

#include <doctest/doctest.h>

#include "data/dataset_report.h"
#include "tests/temp_folder.h"

namespace proxent {
namespace {

// train.txt and test.txt naming empty files: a task opens no picture.
Config listed(const TempFolder& folder, std::string_view train, std::string_view test) {
  for (const char* name : {"a.png", "b.png", "c.png", "d.png", "e.png"}) folder.write(name, "");
  folder.write("train.txt", train);
  folder.write("test.txt", test);
  Config config;
  config.data.path = folder.path().string();
  config.batch.size = 2;
  config.run.protocol = "last";
  return config;
}

std::string refusal(const Config& config) {
  try {
    open_task(config);
  } catch (const Error& error) {
    return error.message();
  }
  return "none";
}

}  // namespace
}  // namespace proxent

TEST_SUITE("task") {
  using namespace proxent;

  TEST_CASE("a class in training and in test is refused by name, unless it is meant") {
    TempFolder folder;
    Config config = listed(folder, "a.png owl\nb.png jay\nc.png tit\n", "d.png jay\ne.png tit\n");
    CHECK(refusal(config) ==
          "data: 2 classes are both in training and in test (jay, tit), so the numbers would not "
          "be of unseen classes. Divide the classes, or give --allow-shared-classes if that is "
          "meant");
    config.data.allow_shared_classes = true;
    CHECK(open_task(config).test.classes() == 2);
  }

  TEST_CASE("no class of the test chooses the epoch") {
    TempFolder folder;
    Config config = listed(folder, "a.png owl\nb.png jay\n", "c.png tit\n");
    folder.write("val.txt", "d.png tit\ne.png elk\n");
    CHECK(refusal(config).starts_with("data: 1 class is both in validation and in test (tit), so"));
    const DatasetSplits splits = open_dataset(dataset_options_of(config.data));
    CHECK(check_datasets(splits).shared_classes == std::vector<std::string>{"tit"});
  }

  TEST_CASE("all pictures are those of every part") {
    TempFolder folder;
    Config config = listed(folder, "a.png owl\nb.png jay\n", "c.png tit\nd.png owl\n");
    folder.write("val.txt", "e.png elk\n");
    const Dataset all = open_split(config, "all");
    CHECK(all.class_names == std::vector<std::string>{"jay", "owl", "elk", "tit"});
    std::string found;
    for (const Sample& sample : all.samples)
      found += std::filesystem::path(sample.path).stem().string() + " " +
               all.class_names[sample.label] + ", ";
    CHECK(found == "a owl, b jay, e elk, c tit, d owl, ");
    config.run.limit_test = 3;
    CHECK(open_split(config, "all").size() == 3);

    // Of a data set in memory too.
    const auto gray = [](std::uint8_t value, std::int32_t label) {
      Dataset part;
      part.class_names = {"x", "y"};
      part.samples = {{.stored = 0, .label = label}};
      part.stored = std::make_shared<StoredPictures>(StoredPictures{1, 1, {value}});
      return part;
    };
    const Dataset both = all_parts({.train = gray(7, 0), .test = gray(9, 1)});
    CHECK(both.load(0) == Image(1, 1, 7));
    CHECK(both.load(1) == Image(1, 1, 9));
    CHECK(both.samples[1].label == 1);
    DatasetSplits unlike{.train = gray(7, 0), .test = gray(9, 1)};
    unlike.test.stored = std::make_shared<StoredPictures>(StoredPictures{1, 2, {9, 9}});
    CHECK_THROWS_WITH_AS(all_parts(unlike), doctest::Contains("pictures of 1x1 and of 2x1"),
                         UsageError);
  }

  TEST_CASE("a batch larger than the training set is refused with one that fits") {
    TempFolder folder;
    Config config = listed(folder, "a.png owl\nb.png jay\nc.png tit\n", "d.png elk\n");
    config.batch.size = 4;
    CHECK(refusal(config) ==
          "batch.size: 4 is larger than the training set, 3 pictures of 3 classes. Choose --batch "
          "3 or less");
  }

  TEST_CASE("a limited test set keeps queries and gallery, however the files name them") {
    TempFolder folder;
    std::string table = "label,path,split,is_query,is_gallery\n1,a.png,train,,\n2,b.png,train,,\n";
    for (const std::string i : {"0", "1", "2", "3"}) {
      for (const char* kind : {"q", "g"}) folder.write(kind + i + ".png", "");
      table += "3,q" + i + ".png,test,True,False\n3,g" + i + ".png,test,False,True\n";
    }
    Config config = listed(folder, "a.png 1\n", "b.png 2\n");
    config.data.path = folder.write("table.csv", table).string();
    config.run.limit_test = 4;
    CHECK(open_task(config).test.describe() == "4 pictures of 1 class (2 queries, gallery of 2)");
  }

  TEST_CASE("one class alone cannot be trained on") {
    TempFolder folder;
    CHECK(refusal(listed(folder, "a.png owl\nb.png owl\n", "d.png elk\n")) ==
          "data: training needs at least two classes, got 2 pictures of 1 class");
    Config config = listed(folder, "a.png owl\nb.png elk\n", "d.png yak\n");
    config.run.protocol = "val";
    CHECK(
        refusal(config) ==
        "data: training needs at least two classes, got 1 picture of 1 class; --protocol val holds "
        "out 1 picture of 1 class, --protocol last none");
  }

  TEST_CASE("the protocol says how the numbers were chosen") {
    TempFolder folder;
    Config config = listed(folder, "a.png w\nb.png x\nc.png y\nd.png z\n", "e.png elk\n");
    CHECK(open_task(config).selection == Selection::last_epoch);
    CHECK(open_task(config).validation.is_empty());
    config.run.protocol = "val";
    const Task task = open_task(config);
    CHECK(task.selection == Selection::val_selected);
    CHECK(task.validation.classes() == 2);  // 0.2 of 4, but at least 2
    CHECK(task.train.classes() == 2);
    CHECK(shared_classes(task.train, task.validation).empty());
  }

  TEST_CASE("folds hold out every class once, in order, whatever the seed") {
    TempFolder folder;
    std::string train;
    for (const std::string c : {"0", "1", "2", "3", "4", "5", "6"})
      train += folder.write("a" + c + ".png", "").filename().string() + " class" + c + "\n";
    Config config = listed(folder, train, "e.png elk\n");
    config.run.protocol = "mlrc";
    std::vector<std::string> held_out;
    for (const char* fold : {"0/3", "1/3", "2/3"}) {
      config.run.fold = fold;
      config.run.seed += 1;
      const Task task = open_task(config);
      CHECK(task.selection == Selection::val_selected);
      CHECK(task.train.classes() + task.validation.classes() == 7);
      CHECK(shared_classes(task.train, task.validation).empty());
      for (const std::string& name : task.validation.class_names) held_out.push_back(name);
      CHECK(open_split(config, "validation").class_names == task.validation.class_names);
      config.run.limit_test = 1;
      CHECK(open_split(config, "validation").size() == 1);
      CHECK(open_task(config).validation.size() == 1);
      config.run.limit_test = 0;
    }
    CHECK(held_out == std::vector<std::string>{"class0", "class1", "class2", "class3", "class4",
                                               "class5", "class6"});
    config.run.fold = "0/4";
    CHECK(refusal(config).ends_with("4 folds need at least 8, two classes each"));
    for (const std::string fold : {"3/3", "", "1", "1/", "0/2/3"}) {
      config.run.fold = fold;
      CHECK_THROWS_WITH_AS(check_config(config), doctest::Contains(("got '" + fold + "'").c_str()),
                           UsageError);
    }
  }
}
