// The benchmark data sets in their official layouts: miniatures, and all that can be wrong.
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "data/formats.h"
#include "tests/mat_writer.h"
#include "tests/temp_folder.h"
#include "tests/test_data.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;
using Names = std::vector<std::string>;

void add_picture(const TempFolder& folder, const fs::path& name) {
  folder.write(name, encode_png(Image(2, 3, 7)));
}

// The message of the DataError that opening must throw, without the folder's path before names.
std::string reason(const TempFolder& folder, const std::string& name = "auto") {
  std::string message = "no error";
  try {
    open_dataset({.name = name, .path = folder.path()});
  } catch (const DataError& error) {
    message = error.message();
  }
  const std::string root = folder.path().string() + "/";
  for (std::size_t at = message.find(root); at != std::string::npos; at = message.find(root))
    message.erase(at, root.size());
  return message;
}

void write_cub(const TempFolder& folder) {
  folder.write("classes.txt", "1 001.Auk\n2 002.Bee_eater\n3 003.Coot\n4 004.Duck\n");
  folder.write("images.txt",
               "1 001.Auk/a.png\n2 002.Bee_eater/b.png\n3 003.Coot/c.png\n"
               "4 004.Duck/d.png\n");
  folder.write("image_class_labels.txt", "1 1\n2 2\n3 3\n4 4\n");
  for (const char* name :
       {"001.Auk/a.png", "002.Bee_eater/b.png", "003.Coot/c.png", "004.Duck/d.png"})
    add_picture(folder, fs::path("images") / name);
}

// Cars196's annotations; one text and some numbers per picture.
std::string cars_mat(const char* path_field, const std::vector<std::string>& paths,
                     const std::vector<int>& classes, const std::string& more = "") {
  std::vector<std::string> items;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    items.push_back(mat::text(paths[i]));
    items.push_back(mat::number(39));
    items.push_back(mat::number(static_cast<std::uint8_t>(classes[i])));
  }
  return mat::header() +
         mat::compressed(mat::structure("annotations", {path_field, "bbox_x1", "class"}, items)) +
         more;
}

std::string class_names_mat() {
  return mat::compressed(
      mat::cell("class_names",
                {mat::text("Acura RL 2012"), mat::text("Audi R8 2012"), mat::text("BMW M3 2012")}));
}

const Names kCars{"car_ims/000001.png", "car_ims/000002.png", "car_ims/000003.png"};

void write_cars(const TempFolder& folder) {
  folder.write("cars_annos.mat", cars_mat("relative_im_path", kCars, {3, 1, 2}, class_names_mat()));
  for (const std::string& name : kCars) add_picture(folder, name);
}

void write_sop(const TempFolder& folder) {
  folder.write("Ebay_train.txt",
               "image_id class_id super_class_id path\n"
               "1 1 1 bicycle_final/1_0.JPG\n2 2 7 mug_final/2_0.JPG\n");
  folder.write("Ebay_test.txt",
               "image_id class_id super_class_id path\n"
               "3 10 1 bicycle_final/3_0.JPG\n4 9 7 mug_final/4_0.JPG\n");
  for (const char* name :
       {"bicycle_final/1_0.JPG", "mug_final/2_0.JPG", "bicycle_final/3_0.JPG", "mug_final/4_0.JPG"})
    add_picture(folder, name);
}

constexpr const char* kInshopLines =
    "img/MEN/Denim/id_00000001/01_1_front.jpg     id_00000001 train\n"
    "img/MEN/Denim/id_00000001/01_2_side.jpg      id_00000001 train\n"
    "img/WOMEN/Tees/id_00000002/02_1_front.jpg    id_00000002 query\n"
    "img/WOMEN/Tees/id_00000002/02_3_back.jpg     id_00000002 gallery\n";

void write_inshop(const TempFolder& folder, const std::string& pictures = "Img/img",
                  const std::string& list = "Eval/list_eval_partition.txt") {
  folder.write(list, std::string("4\nimage_name   item_id evaluation_status\n") + kInshopLines);
  for (const char* name :
       {"MEN/Denim/id_00000001/01_1_front.jpg", "MEN/Denim/id_00000001/01_2_side.jpg",
        "WOMEN/Tees/id_00000002/02_1_front.jpg", "WOMEN/Tees/id_00000002/02_3_back.jpg"})
    add_picture(folder, fs::path(pictures) / name);
}

TEST_SUITE("benchmarks") {
  TEST_CASE("cub: the first half of the class ids trains") {
    const TempFolder folder;
    write_cub(folder);
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"001.Auk", "002.Bee_eater"});
    CHECK(splits.test.class_names == Names{"003.Coot", "004.Duck"});
    CHECK(splits.test.samples[1].path == (folder.path() / "images/004.Duck/d.png").string());
    CHECK(splits.test.samples[1].label == 1);
    CHECK(splits.description ==
          "CUB-200-2011, the first half of the classes trains; train: 2 pictures of 2 classes; "
          "test: 2 pictures of 2 classes");
    const DatasetSplits whole = open_dataset({.path = folder.path(), .only_test = true});
    CHECK(whole.test.size() == 4);
    CHECK(open_dataset({.name = "cub", .path = folder.path() / "images.txt"}).test.size() == 2);
  }

  TEST_CASE("cub: wrong lists") {
    const TempFolder folder;
    write_cub(folder);
    folder.write("image_class_labels.txt", "1 1\n2 2\n3 3\n");
    CHECK(reason(folder) ==
          "image_class_labels.txt: gives the class of 3 of the 4 pictures in images.txt");
    folder.write("image_class_labels.txt", "1 1\n2 2\n3 3\n4 5\n");
    CHECK(reason(folder) ==
          "image_class_labels.txt:4: class id 5 is not in classes.txt, which has 4 classes");
    folder.write("image_class_labels.txt", "1 1\n2 2\n3 3\n3 4\n");
    CHECK(reason(folder) == "image_class_labels.txt:4: image id 3 occurs twice");
    folder.write("image_class_labels.txt", "1 1\n2 2\n3 3\n5 4\n");
    CHECK(reason(folder) == "image_class_labels.txt:4: image id 5 is not in images.txt");
    folder.write("image_class_labels.txt", "1 1\n2 0\n");
    CHECK(reason(folder) ==
          "image_class_labels.txt:2: the class id must be a number from 1 on, got 0");
    folder.write("images.txt", "1 a.png\n1 b.png\n");
    CHECK(reason(folder) == "images.txt:2: id 1 occurs twice");
    folder.write("images.txt", "1 a.png extra\n");
    CHECK(reason(folder) ==
          "images.txt:1: expected \"1 001.Black_footed_Albatross/name.jpg\", "
          "got \"1 a.png extra\"");
    write_cub(folder);
    folder.write("images.txt",
                 "1 001.Auk/a.png\n2 001.Auk/a.png\n3 003.Coot/c.png\n4 004.Duck/d.png\n");
    CHECK(reason(folder).starts_with("images.txt: image_id 2: images/001.Auk/a.png occurs twice"));
    write_cub(folder);
    fs::remove(folder.path() / "images/003.Coot/c.png");
    CHECK(reason(folder).starts_with(
        "images.txt: 1 of 4 files do not exist:\n  images/003.Coot/c.png\n"));
  }

  TEST_CASE("cub: the first edition is told from the second") {
    const TempFolder folder;
    folder.write("lists/files.txt", "001.Auk/a.jpg\n");
    for (const char* name : {"cub", "auto"})
      CHECK(reason(folder, name)
                .find("looks like CUB-200-2010 (lists/files.txt, 6,033 pictures), "
                      "not CUB-200-2011") != std::string::npos);
    CHECK_THROWS_WITH_AS(
        detail::check_official_counts({.name = "CUB-200-2011",
                                       .train = {100, 5864},
                                       .test = {100, 5924},
                                       .explanations = {{{6033, "It is the first edition"}}}},
                                      "p", {100, 2990}, {100, 3043}),
        doctest::Contains("data set p: all classes of CUB-200-2011 are there, but 2990 of 100 "
                          "classes train and 3043 of 100 classes test; expected 5864 and 5924. It "
                          "is the first edition. To use the pictures as they are, open them as "
                          "--dataset folder or csv"),
        DataError);
  }

  TEST_CASE("a full set must have its published number of pictures, a part of it may have any") {
    const TempFolder folder;
    std::string classes, images, labels;
    for (int c = 1; c <= 200; ++c) {
      const std::string id = std::to_string(c);
      classes += id + " class" + id + "\n";
      images += id + " " + id + ".png\n";
      labels += id + " " + id + "\n";
      add_picture(folder, "images/" + id + ".png");
    }
    folder.write("classes.txt", classes);
    folder.write("images.txt", images);
    folder.write("image_class_labels.txt", labels);
    CHECK(reason(folder).find("all classes of CUB-200-2011 are there, but 100 of 100 classes train "
                              "and 100 of 100 classes test; expected 5864 and 5924. Some pictures "
                              "are missing or too many") != std::string::npos);
    const detail::OfficialCounts counts{.name = "x", .train = {2, 9}, .test = {2, 8}};
    CHECK_NOTHROW(detail::check_official_counts(counts, "p", {2, 9}, {2, 8}));
    CHECK_NOTHROW(detail::check_official_counts(counts, "p", {1, 3}, {2, 8}));
    CHECK_THROWS_AS(detail::check_official_counts(counts, "p", {2, 8}, {2, 9}), DataError);
  }

  TEST_CASE("the published queries and gallery are counted each") {
    const detail::OfficialCounts counts{.name = "x", .train = {2, 9}, .test = {2, 8, 5, 3}};
    CHECK_NOTHROW(detail::check_official_counts(counts, "p", {2, 9}, {2, 8, 5, 3}));
    CHECK_NOTHROW(detail::check_official_counts(counts, "p", {2, 9}, {1, 7, 4, 3}));
    const auto with_test = [&](const detail::OfficialPart& test) -> std::string {
      try {
        detail::check_official_counts(counts, "p", {2, 9}, test);
      } catch (const DataError& error) {
        return error.message();
      }
      return "no error";
    };
    CHECK(with_test({2, 8, 3, 5})
              .starts_with("data set p: all classes of x are there, but 9 of 2 classes train and 8 "
                           "of 2 classes test "
                           "(3 queries, gallery of 5); expected 9 and 8 (5 queries, gallery of 3). "
                           "Queries and "
                           "gallery are exchanged. To use"));
    CHECK(with_test({2, 8, 4, 4}).find("All pictures are there, but others are queries") !=
          std::string::npos);
    CHECK(with_test({2, 7, 4, 3}).find("Some pictures are missing") != std::string::npos);
  }

  TEST_CASE("inshop: a full list with queries and gallery exchanged is refused") {
    const TempFolder folder;
    fs::create_directories(folder.path() / "img");
    std::string list = "52712\nimage_name item_id evaluation_status\n";
    const auto add = [&](int first, int classes, int pictures, const char* status) {
      for (int i = 0; i < pictures; ++i) {
        const std::string id = "id_" + std::to_string(first + i % classes);
        list += "img/" + id + "/" + std::to_string(i) + status + ".jpg " + id + " " + status + "\n";
      }
    };
    add(0, 3997, 25882, "train");
    add(5000, 3985, 12612, "query");
    add(5000, 3985, 14218, "gallery");
    folder.write("list_eval_partition.txt", list);
    CHECK(reason(folder, "inshop")
              .find("26830 of 3985 classes test (12612 queries, gallery of 14218); expected 25882 "
                    "and 26830 (14218 queries, gallery of 12612). Queries and gallery are "
                    "exchanged") != std::string::npos);
  }

  TEST_CASE("cars: one annotation file") {
    const TempFolder folder;
    write_cars(folder);
    for (const DatasetOptions& options :
         {DatasetOptions{.path = folder.path()},
          DatasetOptions{.path = folder.path() / "cars_annos.mat"}}) {
      const DatasetSplits splits = open_dataset(options);
      CHECK(splits.train.class_names == Names{"Acura RL 2012", "Audi R8 2012"});
      CHECK(splits.test.class_names == Names{"BMW M3 2012"});
      CHECK(splits.test.samples[0].path == (folder.path() / kCars[0]).string());
    }
    folder.write("cars_annos.mat",
                 cars_mat("relative_im_path", kCars, {3, 1, 4}, class_names_mat()));
    CHECK(reason(folder) == "cars_annos.mat: annotations(3): class 4 of 3 classes");
    folder.write("cars_annos.mat", cars_mat("relative_im_path", kCars, {3, 0, 1}));
    CHECK(reason(folder) ==
          "cars_annos.mat: annotations(2).class must be a whole number from 1 on, got 0");
    folder.write("cars_annos.mat", cars_mat("relative_im_path", {kCars[0], kCars[0]}, {1, 2}));
    CHECK(reason(folder).starts_with(
        "cars_annos.mat: annotations(2): car_ims/000001.png occurs twice, first at "
        "cars_annos.mat: annotations(1); "));
    folder.write("cars_annos.mat", cars_mat("fname", kCars, {1, 2, 3}));
    CHECK(reason(folder) ==
          "cars_annos.mat: annotations have no field 'relative_im_path', only fname, bbox_x1, "
          "class");
    folder.write("cars_annos.mat", mat::header() + mat::cell("annotations", {mat::number(1)}));
    CHECK(reason(folder) ==
          "cars_annos.mat: variable 'annotations' must be a struct, it is a cell");
    folder.write("cars_annos.mat", "MATLAB 7.3 MAT-file");
    CHECK(reason(folder).starts_with("cars_annos.mat: a MAT-file of version 7.3"));
  }

  TEST_CASE("cars: the development kit") {
    const TempFolder folder;
    folder.write("devkit/cars_train_annos.mat", cars_mat("fname", {"00001.png"}, {1}));
    folder.write("devkit/cars_meta.mat", mat::header() + class_names_mat());
    CHECK(
        reason(folder).find("cars_test_annos.mat does not tell the classes of the test pictures") !=
        std::string::npos);
    folder.write("cars_test_annos_withlabels.mat",
                 cars_mat("fname", {"00001.png", "00002.png"}, {2, 1}));
    for (const char* name : {"cars_train/00001.png", "cars_test/00001.png", "cars_test/00002.png"})
      add_picture(folder, name);
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"Acura RL 2012"});
    CHECK(splits.train.size() == 2);  // from both files
    CHECK(splits.test.samples[0].path == (folder.path() / "cars_test/00001.png").string());
  }

  TEST_CASE("cars: tables without a header") {
    const TempFolder folder;
    folder.write("names.csv", "Ram C/V Cargo Van Minivan 2012\nsmart fortwo 2012\n");
    folder.write("anno_train.csv", "00001.png,39,116,569,375,2\n");
    folder.write("anno_test.csv", "00001.png,1,2,3,4,1\n00002.png,1,2,3,4,1\n");
    const fs::path pictures = "car_data/car_data";
    add_picture(folder, pictures / "train/smart fortwo 2012/00001.png");
    add_picture(folder, pictures / "test/Ram C-V Cargo Van Minivan 2012/00001.png");
    add_picture(folder, pictures / "test/Ram C-V Cargo Van Minivan 2012/00002.png");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"Ram C/V Cargo Van Minivan 2012"});
    CHECK(splits.train.size() == 2);
    CHECK(splits.test.size() == 1);
    folder.write("anno_test.csv", "00001.png,1,2,3,4,3\n");
    CHECK(reason(folder) == "anno_test.csv:1: class 3 of 2 classes in names.csv");
    folder.write("anno_test.csv", "00001.png,1,2,3\n");
    CHECK(reason(folder) == "anno_test.csv:1: 4 fields under a header of 6");
  }

  TEST_CASE("cars: class folders, whose division into train and test is not used") {
    const TempFolder folder;
    for (const char* name : {"train/Acura RL 2012/1.png", "train/BMW M3 2012/1.png",
                             "test/Acura RL 2012/2.png", "test/BMW M3 2012/2.png"})
      add_picture(folder, name);
    const DatasetSplits splits = open_dataset({.name = "cars", .path = folder.path()});
    CHECK(splits.train.class_names == Names{"Acura RL 2012"});
    CHECK(splits.train.size() == 2);
    CHECK(splits.test.size() == 2);
  }

  TEST_CASE("sop: two lists, the kind of product is the category") {
    const TempFolder folder;
    write_sop(folder);
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"1", "2"});
    CHECK(splits.test.class_names == Names{"9", "10"});
    CHECK(splits.test.samples[0].label == 1);
    CHECK(splits.test.samples[0].category == "bicycle");
    folder.write("Ebay_test.txt",
                 "image_id class_id super_class_id path\n"
                 "2 10 1 bicycle_final/3_0.JPG\n");
    CHECK(reason(folder) == "Ebay_test.txt:2: image_id 2 occurs twice");
    folder.write("Ebay_test.txt", "3 10 1 bicycle_final/3_0.JPG\n");
    CHECK(reason(folder) ==
          "Ebay_test.txt:1: expected the header \"image_id class_id super_class_id path\"");
    folder.write("Ebay_test.txt", "image_id class_id super_class_id path\n3 10 1\n");
    CHECK(reason(folder) ==
          "Ebay_test.txt:2: expected \"1 1 1 bicycle_final/111085122871_0.JPG\", "
          "got \"3 10 1\"");
    folder.write("Ebay_test.txt", "image_id class_id super_class_id path\n");
    CHECK(reason(folder) == "Ebay_test.txt: no pictures follow the header");
  }

  TEST_CASE("inshop: queries and gallery apart, wherever the pictures were unpacked") {
    for (const char* pictures : {"Img/img", "Img/img_highres", "img", "img_highres"})
      for (const char* list : {"Eval/list_eval_partition.txt", "list_eval_partition.txt"}) {
        const TempFolder folder;
        write_inshop(folder, pictures, list);
        const DatasetSplits splits = open_dataset({.path = folder.path()});
        CHECK(splits.train.describe() == "2 pictures of 1 class");
        CHECK(splits.test.describe() == "2 pictures of 1 class (1 query, gallery of 1)");
        CHECK(splits.test.class_names == Names{"id_00000002"});
        CHECK(splits.test.samples[0].category == "WOMEN/Tees");
        const fs::path eval = folder.path() / list;
        CHECK(open_dataset({.path = eval}).test.size() == 2);
      }
  }

  TEST_CASE("inshop: a list that was cut off or edited") {
    const TempFolder folder;
    const std::string header = "image_name item_id evaluation_status\n";
    write_inshop(folder);
    const auto with_list = [&](const std::string& text) {
      folder.write("Eval/list_eval_partition.txt", text);
      const std::string message = reason(folder);
      const std::string name = "Eval/list_eval_partition.txt";
      return message.starts_with(name) ? message.substr(name.size()) : message;
    };
    CHECK(with_list("52712\n" + header + kInshopLines) ==
          ": its first line promises 52712 pictures, 4 follow; the file is cut off or was edited");
    CHECK(with_list(header + kInshopLines) ==
          ":1: the count in the first line must be a number from 1 on, got image_name item_id "
          "evaluation_status");
    CHECK(with_list("4\n") == ": expected a count, a header and at least one picture");
    CHECK(with_list("1\n" + header + "img/a.jpg id_1 val\n") ==
          ":3: evaluation_status must be train, query or gallery, got val");
    CHECK(with_list("2\n" + header + "img/a.jpg id_1 train\nimg/a.jpg id_1 train\n") ==
          ":4: Img/img/a.jpg occurs twice, first at Eval/list_eval_partition.txt:3; it would be "
          "learned twice, or found as its own match. Leave one out");
    CHECK(with_list("1\n" + header + "img/a.jpg id_1 train\n")
              .starts_with(": 1 of 1 files do not exist:\n  Img/img/a.jpg\n"));
    fs::remove_all(folder.path() / "Img");
    CHECK(with_list("1\n" + header + "img/a.jpg id_1 train\n")
              .find("expected the pictures in Img/img/, Img/img_highres/, img/ or img_highres/") !=
          std::string::npos);
  }

  TEST_CASE("omniglot: characters of alphabets") {
    const TempFolder folder;
    for (const char* name :
         {"images_background/Latin/character01/1.png", "images_background/Latin/character02/1.png",
          "images_background/Greek/character01/1.png", "images_evaluation/Oriya/character01/1.png"})
      add_picture(folder, name);
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names ==
          Names{"Greek/character01", "Latin/character01", "Latin/character02"});
    CHECK(splits.train.samples[0].category == "Greek");
    CHECK(splits.test.class_names == Names{"Oriya/character01"});
  }

  TEST_CASE("a wrong layout says what was expected where, what lies there, and what is known") {
    const TempFolder folder;
    write_sop(folder);
    const std::string root = folder.path().string();
    const std::string message = reason(folder, "cub");
    CHECK(
        message.starts_with("data set cub: expected images.txt, image_class_labels.txt and "
                            "classes.txt in " +
                            root +
                            " or its CUB_200_2011/; found "
                            "Ebay_test.txt, Ebay_train.txt, bicycle_final/, mug_final/, which is "
                            "layout sop (--dataset sop). Known layouts:\n"));
    for (const char* name :
         {"folder", "idx", "cub", "cars", "sop", "inshop", "omniglot", "list", "csv"})
      CHECK(message.find("\n  " + std::string(name) + ": ") != std::string::npos);
    for (const char* name : {"cars", "inshop", "omniglot"})
      CHECK(reason(folder, name).find("expected ") != std::string::npos);
    const TempFolder above;
    fs::rename(folder.path(), above.path() / "sop");
    fs::create_directory(folder.path());
    CHECK(reason(above) == "data set " + above.path().string() +
                               ": holds data sets, not classes; sop/ is of layout sop. Name it: "
                               "--data sop");
  }

  TEST_CASE("half of a benchmark is no tree of classes") {
    const auto half = [](auto write, const char* lost) {
      const TempFolder folder;
      write(folder);
      fs::remove_all(folder.path() / lost);
      const std::string message = reason(folder), path = folder.path().string();
      const std::size_t end = message.find(". Add it, or say");
      REQUIRE_MESSAGE(end != std::string::npos, message);
      return message.substr(0, end).substr(("data set " + path + ": ").size());
    };
    CHECK(half(write_cub, "image_class_labels.txt") ==
          "looks like cub, but lacks image_class_labels.txt");
    CHECK(half(write_cars, "cars_annos.mat") == "looks like cars, but lacks cars_annos.mat");
    CHECK(half(write_sop, "Ebay_test.txt") == "looks like sop, but lacks Ebay_test.txt");
    const auto inshop = [](const TempFolder& folder) { write_inshop(folder); };
    CHECK(half(inshop, "Eval") == "looks like inshop, but lacks Eval/list_eval_partition.txt");
    const auto omniglot = [](const TempFolder& folder) {
      add_picture(folder, "images_background/Latin/character01/1.png");
    };
    CHECK(half(omniglot, "nothing") == "looks like omniglot, but lacks images_evaluation");
    const auto devkit = [](const TempFolder& folder) { add_picture(folder, "cars_train/1.png"); };
    CHECK(half(devkit, "nothing") == "looks like cars, but lacks devkit/cars_train_annos.mat");
  }

  TEST_CASE("cars divided by pictures, and several tables, are not opened by guess") {
    const TempFolder folder;
    for (const char* name : {"train/BMW M3 2012/1.png", "train/Audi R8 2012/2.png",
                             "test/BMW M3 2012/3.png", "test/Audi R8 2012/4.png"})
      add_picture(folder, name);
    CHECK(reason(folder).find("looks like cars, whose train/ and test/ hold pictures of the same "
                              "classes; for retrieval the classes are divided: --dataset cars") !=
          std::string::npos);
    CHECK(open_dataset({.name = "folder", .path = folder.path()}).train.classes() == 2);
    CHECK(open_dataset({.name = "cars", .path = folder.path()}).train.size() == 2);

    const TempFolder tables;
    for (const char* name : {"a/1.png", "b/2.png"}) add_picture(tables, name);
    tables.write("notes.csv", "a,b\n1,2\n");
    CHECK(reason(tables).find("expected") != std::string::npos);  // the only .csv is the table
    tables.write("x.csv", "label,path\n1,a/1.png\n2,b/2.png\n");
    CHECK(open_dataset({.path = tables.path()}).description.starts_with("x.csv"));
    tables.write("y.csv", "label,path\n1,a/1.png\n2,b/2.png\n");
    CHECK(reason(tables) == "data set " + tables.path().string() +
                                ": holds 2 tables of pictures; name the file: --data x.csv");
  }

  TEST_CASE("the miniatures of the official files open") {
    const std::filesystem::path shared = test_data("fixtures");
    if (shared.empty()) return;
    const auto counts = [&](const DatasetOptions& options) {
      const DatasetSplits splits = open_dataset(options);
      for (const Dataset* part : {&splits.train, &splits.test}) {
        CHECK(part->load(part->size() - 1).width >= 36);
        CHECK(shared_classes(splits.train, splits.test).empty());
      }
      return splits.train.describe() + " / " + splits.test.describe();
    };
    const char* const halves = "20 pictures of 4 classes / 20 pictures of 4 classes";
    CHECK(counts({.path = shared / "CUB_200_2011"}) == halves);
    CHECK(counts({.path = shared / "cars196"}) == halves);
    CHECK(counts({.path = shared / "Stanford_Online_Products"}) ==
          "15 pictures of 5 classes / 15 pictures of 5 classes");
    CHECK(counts({.path = shared / "Inshop_Clothes"}) ==
          "16 pictures of 4 classes / 16 pictures of 4 classes (8 queries, gallery of 8)");
    for (const char* name : {"cub", "cars", "sop", "inshop"})
      CHECK_NOTHROW(counts({.name = name, .path = shared}));
  }
}
}  // namespace
}  // namespace proxent
