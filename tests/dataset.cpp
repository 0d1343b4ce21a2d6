#include "data/dataset.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <set>

#include "data/dataset_report.h"
#include "tests/pillow_golden.h"
#include "tests/temp_folder.h"
#include "tests/test_data.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

// The message of the Error E that opening must throw.
template <class E = DataError>
std::string reason(const DatasetOptions& options) {
  try {
    open_dataset(options);
  } catch (const E& error) {
    return error.message();
  }
  return "no error";
}

void add_picture(const TempFolder& folder, const fs::path& name, std::uint8_t value = 1) {
  folder.write(name, encode_png(Image(2, 3, value)));
}

std::vector<std::string> file_names(const Dataset& dataset) {
  std::vector<std::string> names;
  for (const Sample& sample : dataset.samples)
    names.push_back(fs::path(sample.path).filename().string());
  return names;
}

using Names = std::vector<std::string>;

std::string idx_bytes(std::initializer_list<int> sizes, std::string_view data) {
  std::string text{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
  for (const int size : sizes)
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(size >> shift);
  return text.append(data);
}

void write_idx_set(const TempFolder& folder) {
  for (const char* part : {"train", "t10k"}) {
    folder.write(std::string(part) + "-images-idx3-ubyte", idx_bytes({4, 1, 2}, "abcdefgh"));
    folder.write(std::string(part) + "-labels-idx1-ubyte",
                 idx_bytes({4}, std::string_view("\0\1\2\1", 4)));
  }
}

TEST_SUITE("dataset") {
  TEST_CASE("a tree of class folders is read in ImageFolder's order") {
    const TempFolder folder;
    add_picture(folder, "train/b/2.PNG");
    add_picture(folder, "train/b/10.png");
    add_picture(folder, "train/B/x.png");
    add_picture(folder, "train/a/deep/1.png");
    add_picture(folder, "train/a/z.png");
    add_picture(folder, "train/.cache/z.png");
    folder.write("train/a/notes.txt", "no picture");
    folder.write("train/a/notes.csv", "no picture");
    add_picture(folder, "test/q/1.png", 9);
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"B", "a", "b"});
    CHECK(file_names(splits.train) == Names{"x.png", "z.png", "1.png", "10.png", "2.PNG"});
    CHECK(splits.train.samples[1].label == 1);
    CHECK(splits.test.load(0) == Image(2, 3, 9));
    CHECK(splits.description ==
          "class folders train/ and test/; train: 5 pictures of 3 classes; test: 1 picture of 1 "
          "class");
  }

  TEST_CASE("a link to a folder above is no endless tree") {
    const TempFolder folder;
    add_picture(folder, "a/1.png");
    add_picture(folder, "b/1.png");
    fs::create_directory_symlink(folder.path() / "a", folder.path() / "a" / "again");
    fs::create_directory_symlink(folder.path() / "b", folder.path() / "a" / "other");
    const DatasetSplits splits = open_dataset({.path = folder.path(), .only_test = true});
    CHECK(splits.test.size() == 3);  // a/1, a/other/1, b/1
  }

  TEST_CASE("one tree: the first half of the classes trains, the second half tests") {
    const TempFolder folder;
    for (const char* name : {"c1", "c2", "c3", "c4", "c5"}) {
      add_picture(folder, fs::path(name) / "1.png");
      folder.write(fs::path(name) / "notes.csv", "not a table");
    }
    CHECK(open_dataset({.path = folder.path()}).train.classes() == 3);
    const DatasetSplits splits = open_dataset({.name = "folder", .path = folder.path()});
    CHECK(splits.train.class_names == Names{"c1", "c2", "c3"});
    CHECK(splits.test.class_names == Names{"c4", "c5"});
    CHECK(splits.test.samples[1].label == 1);
    const DatasetSplits whole = open_dataset({.path = folder.path(), .only_test = true});
    CHECK(whole.train.is_empty());
    CHECK(whole.test.classes() == 5);
  }

  TEST_CASE("what is wrong with a tree is named") {
    const TempFolder folder;
    add_picture(folder, "one/1.png");
    CHECK(reason({.path = folder.path()})
              .find("splitting it into training and test classes needs "
                    "at least 2") != std::string::npos);
    fs::create_directory(folder.path() / "two");
    fs::create_directory(folder.path() / "three");
    const std::string root = folder.path().string();
    CHECK(reason({.path = root}) == "data set " + root +
                                        ": no pictures (.jpg, .png, ...) in class folders\n  " +
                                        root + "/three\n  " + root + "/two");
    const TempFolder empty;
    CHECK(reason({.path = empty.path()}) ==
          "data set " + empty.path().string() +
              ": found nothing, which is none of the known layouts:\n" + known_layouts());
    CHECK(reason({.name = "folder", .path = empty.path()}) ==
          "data set folder: expected one folder per class in " + empty.path().string() +
              "; found nothing. Known layouts:\n" + known_layouts());
    CHECK(reason({.name = "folder", .path = folder.write("a.txt", "one/1.png 1\n")})
              .starts_with("data set folder: expected one folder per class in " + root +
                           "/a.txt; found a file. Known layouts:\n"));
    CHECK(reason({.path = root + "/none"}) == "data set " + root + "/none: no such file or folder");
    CHECK(
        reason<UsageError>({.name = "cifar", .path = root}) ==
        "data set must be auto, glyphs, fashion-mnist, glyph-cases, fashion-mnist-coarse, folder, "
        "idx, cub, cars, sop, inshop, omniglot, list or csv, got cifar");
    CHECK(reason<UsageError>({.name = "list"}) ==
          "data set list: needs the path of its files (--data)");
  }

  TEST_CASE("files of another layout are named, and the layout where it is known") {
    const TempFolder folder;
    add_picture(folder, "im/1.png");
    const std::string root = folder.path().string();
    const auto refused = [&](const char* name) {
      const std::string message = reason({.name = name, .path = folder.path()});
      CHECK(message.ends_with(". Known layouts:\n" + known_layouts()));
      return message.substr(0, message.find(". Known layouts"));
    };
    CHECK(refused("list") ==
          "data set list: expected train.txt, test.txt, or query.txt and "
          "gallery.txt in " +
              root + "; found im/");
    folder.write("train.txt", "im/1.png 1\n");
    CHECK(refused("csv") ==
          "data set csv: expected a .csv file with the columns label and path in " + root +
              "; found im/, train.txt, which is layout list (--dataset list)");
    CHECK(refused("idx") ==
          "data set idx: expected train-images-idx3-ubyte and train-labels-idx1-ubyte, with or "
          "without .gz, in " +
              root + "; found im/, train.txt, which is layout list (--dataset list)");
    CHECK(reason({.name = "fashion-mnist", .path = folder.path()})
              .find("; found im/, train.txt. On Debian") != std::string::npos);
    CHECK(reason({.name = "csv", .path = folder.path() / "train.txt"})
              .ends_with("lines \"path label\" are --dataset list"));
    CHECK(reason({.name = "list", .path = folder.write("a.csv", "label,path\n1,im/1.png\n")})
              .ends_with(". This is a table: --dataset csv"));
    folder.write("b.csv", "label,path\n1,im/1.png\n");
    CHECK(reason({.name = "csv", .path = folder.path()}).find("holds 2 tables of pictures; name") !=
          std::string::npos);
  }

  TEST_CASE("lists: paths with blanks, comments, numbers in order of value") {
    const TempFolder folder;
    for (const char* name : {"im/a b.png", "im/c.png", "im/d.png", "im/e.png", "im/f.png"})
      add_picture(folder, name);
    folder.write("train.txt",
                 "\xEF\xBB\xBF# path label\r\nim/a b.png 10\r\n\nim/c.png\t9\nim/d.png  10");
    folder.write("test.txt", "im/e.png owl\nim/f.png auk\n");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"9", "10"});
    CHECK(file_names(splits.train) == Names{"a b.png", "c.png", "d.png"});
    CHECK(splits.train.samples[0].label == 1);
    CHECK(splits.train.samples[1].label == 0);
    CHECK(splits.test.class_names == Names{"auk", "owl"});
    CHECK(!splits.test.has_query_split());
    CHECK(splits.train.load(0) == Image(2, 3, 1));
  }

  TEST_CASE("query and gallery lists make one test set, a file in both one sample") {
    const TempFolder folder;
    for (const char* name : {"1.png", "2.png", "3.png"}) add_picture(folder, name);
    folder.write("query.txt", "1.png 0\n2.png 1\n");
    folder.write("gallery.txt", "2.png 1\n3.png 0\n");
    folder.write("test.txt", "1.png 0\n");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    const Dataset& test = splits.test;
    REQUIRE(test.size() == 3);
    CHECK(test.has_query_split());
    CHECK(test.describe() == "3 pictures of 2 classes (2 queries, gallery of 2)");
    CHECK((test.samples[0].is_query && !test.samples[0].is_gallery));
    CHECK((test.samples[1].is_query && test.samples[1].is_gallery));
    CHECK((!test.samples[2].is_query && test.samples[2].is_gallery));
    CHECK(splits.train.is_empty());
    folder.write("query.txt", "1.png 0\n2.png 1\n1.png 0\n");
    CHECK(reason({.path = folder.path()}).find("query.txt:3: ") ==
          folder.path().string().size() + 1);
    folder.write("query.txt", "1.png 0\n2.png 1\n");
    fs::remove(folder.path() / "gallery.txt");
    CHECK(reason({.path = folder.path()})
              .ends_with("query.txt and gallery.txt belong together, but gallery.txt is missing. "
                         "Add it, or rename "
                         "the other one to test.txt if all search all"));
    folder.write("gallery.txt", "2.png 5\n");
    CHECK(reason({.path = folder.path()}).ends_with("2.png has label 5 here and 1 before"));
  }

  TEST_CASE("a picture is one, however and wherever lists spell it") {
    const TempFolder folder;
    for (const char* name : {"1.png", "2.png", "3.png", "4.png"}) add_picture(folder, name);
    folder.write("train.txt", "3.png 2\n4.png 3\n");
    folder.write("query.txt", "1.png 0\n2.png 1\n");
    folder.write("gallery.txt", "./1.png 0\nx/../2.png 1\n");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.test.size() == 2);
    CHECK_FALSE(splits.test.has_query_split());
    const std::string root = folder.path().string() + "/";
    const auto twice = [&](const std::string& second, const std::string& first) {
      const std::string message = reason({.path = folder.path()});
      CHECK_MESSAGE(message.starts_with(root + second + ": "), message);
      CHECK_MESSAGE(message.find(" occurs twice, first at " + root + first) != std::string::npos,
                    message);
    };
    folder.write("gallery.txt", "./1.png 0\n1.png 0\n");
    twice("gallery.txt:2", "query.txt:1");
    folder.write("gallery.txt", "./3.png 2\n");
    twice("gallery.txt:1", "train.txt:1");
    folder.write("gallery.txt", "2.png 1\n");
    folder.write("val.txt", "x/../4.png 3\n");
    twice("val.txt:1", "train.txt:2");
  }

  TEST_CASE("every missing file of a list counts, twenty are named") {
    const TempFolder folder;
    add_picture(folder, "here.png");
    std::string text = "here.png 0\n";
    for (int i = 0; i < 23; ++i) text += "gone" + std::to_string(i) + ".png 1\n";
    const fs::path list = folder.write("train.txt", text);
    const std::string message = reason({.path = folder.path()});
    CHECK(message.starts_with(list.string() + ": 23 of 24 files do not exist:\n  "));
    CHECK(message.find("gone19.png") != std::string::npos);
    CHECK(message.find("gone20.png") == std::string::npos);
    CHECK(
        message.ends_with("\n  and 3 more\n`proxent data check --json` names all; "
                          "--on-bad-image skip leaves them out"));
    const fs::path test = folder.write("test.txt", "lost.png 7\n");
    const std::string both = reason({.path = folder.path()});
    CHECK(both.starts_with(test.string() + ": 1 of 1 files do not exist:\n  "));
    CHECK(both.find("\n" + list.string() + ": 23 of 24 files do not exist:") != std::string::npos);
    const DatasetSplits kept = open_dataset({.path = folder.path(), .accept_missing = true});
    CHECK(check_datasets(kept).unreadable.size() == 24);
    fs::create_symlink("loop.png", folder.path() / "loop.png");
    folder.write("train.txt", "here.png 0\nloop.png 1\n");
    CHECK(reason({.path = folder.path()}).find("/loop.png (Too many levels of symbolic links)\n") !=
          std::string::npos);
    folder.write("train.txt", "here.png\n");
    CHECK(reason({.path = list}) ==
          list.string() + ":1: expected \"path label\", got \"here.png\"");
    folder.write("train.txt", "\n\n");
    CHECK(reason({.path = list}).ends_with("the list names no pictures"));
  }

  TEST_CASE("CSV as open-metric-learning writes it") {
    const TempFolder folder;
    for (const char* name : {"a.png", "b,c.png", "d\"e.png", "f.png"}) add_picture(folder, name);
    const fs::path file =
        folder.write("df.csv",
                     "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2,extra\r\n"
                     "7,a.png,train,,,bird,,,,,\r\n"
                     "3,\"b,c.png\",train,,,bird,1.0,3.0,0,1,\r\n"
                     "12,\"d\"\"e.png\",validation,True,False,\"two\nlines\",,,,,\r\n"
                     "12,f.png,validation,False,True,,,,,,\r\n");
    const DatasetSplits splits = open_dataset({.path = folder.path()});
    CHECK(splits.train.class_names == Names{"3", "7"});
    CHECK(splits.train.samples[0].label == 1);
    CHECK(splits.train.samples[0].category == "bird");
    CHECK(!splits.train.samples[0].box);
    CHECK(*splits.train.samples[1].box == CropBox{0, 1, 1, 2});
    CHECK(splits.train.load(1).width == 2);
    CHECK(splits.train.load(1).height == 1);
    CHECK(splits.test.samples[0].category == "two\nlines");
    CHECK(splits.test.describe() == "2 pictures of 1 class (1 query, gallery of 1)");
    CHECK(open_dataset({.path = file}).test.size() == 2);
  }

  TEST_CASE("CSV with a test split keeps validation apart; without a split, halves") {
    const TempFolder folder;
    for (const char* name : {"a.png", "b.png", "c.png"}) add_picture(folder, name);
    const fs::path file =
        folder.write("x.csv", "path,label,split\na.png,u,train\nb.png,v,val\nc.png,w,test\n");
    DatasetSplits splits = open_dataset({.path = file});
    CHECK(splits.validation.class_names == Names{"v"});
    CHECK(splits.test.class_names == Names{"w"});
    folder.write("x.csv", "path,label\na.png,u\nb.png,v\nc.png,w\n");
    splits = open_dataset({.path = file});
    CHECK(splits.train.class_names == Names{"u", "v"});
    CHECK(splits.test.class_names == Names{"w"});
  }

  TEST_CASE("what is wrong with a CSV is named with its line") {
    const TempFolder folder;
    add_picture(folder, "a.png");
    const fs::path file = folder.path() / "x.csv";
    const auto message = [&](std::string_view text) {
      folder.write("x.csv", text);
      const std::string full = reason({.path = file});
      return full.starts_with(file.string()) ? full.substr(file.string().size()) : full;
    };
    CHECK(message("label,path\n") == ": expected a header and at least one row");
    CHECK(message("1,a.png\n2,b.png\n") ==
          ":1: expected a header such as label,path,split; this line names neither column. Put one "
          "above it; lines \"path label\" are --dataset list");
    CHECK(message("label,file\n1,a.png\n") ==
          ":1: the header has no column \"path\"; expected label,path,split,is_query,is_gallery");
    CHECK(message("label,path\n\n1\n") == ":3: 1 fields under a header of 2");
    CHECK(message("label,path\n1,\"a.png\n") == ":2: a quoted field begins here and never ends");
    CHECK(message("label,path,split\n1,a.png,dev\n") ==
          ":2: split must be train, validation or test, got \"dev\"");
    CHECK(message("label,path,split,is_query\n1,a.png,test,maybe\n") ==
          ":2: is_query must be True or False, got maybe");
    CHECK(message("label,path,split,is_query,is_gallery\n1,a.png,test,0,0\n") ==
          ":2: a picture that does not train must be a query or in the gallery");
    CHECK(message("label,path,x_1,x_2,y_1,y_2\n1,a.png,5,2,0,1\n") ==
          ":2: a box needs 0 <= x_1 < x_2 and 0 <= y_1 < y_2, got x 5 to 2, y 0 to 1");
    CHECK(message("label,path\n2,a.png\n1,gone.png\n") ==
          ": 1 of 2 files do not exist:\n  " + (folder.path() / "gone.png").string() +
              "\n`proxent data check --json` names all; --on-bad-image skip leaves them out");
    CHECK(message("label,path\n1,a.png\n2,./a.png\n") ==
          ":3: " + (folder.path() / "./a.png").string() + " occurs twice, first at " +
              file.string() +
              ":2; it would be learned twice, or found as its own match. "
              "Leave one out");
    CHECK(message("label,label,path\n1,1,a.png\n") == ":1: the column name \"label\" occurs twice");
    folder.write("x.csv", "label,path,x_1,x_2,y_1,y_2\n1,a.png,0,9,0,1\n2,a.png,,,,\n");
    CHECK_THROWS_WITH_AS(open_dataset({.path = file}).train.load(0),
                         doctest::Contains("its box of 9x1 at (0, 0) leaves the picture of 3x2"),
                         DataError);
  }

  TEST_CASE("IDX files, by class and by parity") {
    const TempFolder folder;
    write_idx_set(folder);
    const DatasetSplits all = open_dataset({.path = folder.path()});
    CHECK(all.train.describe() == "4 pictures of 3 classes");
    CHECK(all.test.class_names == Names{"0", "1", "2"});
    CHECK(all.train.load(3).pixel(0, 1)[2] == 'h');
    const DatasetSplits parity = open_dataset({.name = "fashion-mnist", .path = folder.path()});
    CHECK(parity.train.class_names == Names{"T-shirt/top", "Pullover"});
    CHECK(parity.test.class_names == Names{"Trouser"});
    CHECK(parity.test.size() == 2);
    CHECK(parity.test.load(1).pixel(0, 0)[0] == 'g');
  }

  TEST_CASE("even and odd classes are told apart only where both files have the same classes") {
    const TempFolder folder;
    write_idx_set(folder);
    const DatasetSplits splits = open_dataset({.name = "fashion-mnist", .path = folder.path()});
    CHECK(shared_classes(splits.train, splits.test).empty());
    folder.write("t10k-labels-idx1-ubyte", idx_bytes({4}, std::string_view("\1\2\3\1", 4)));
    CHECK(reason({.name = "fashion-mnist", .path = folder.path()})
              .find("training and test file hold other classes") != std::string::npos);
  }

  TEST_CASE("broken IDX files are refused without trusting their sizes") {
    const TempFolder folder;
    write_idx_set(folder);
    const fs::path images = folder.path() / "train-images-idx3-ubyte";
    const auto message = [&](std::string_view bytes) {
      folder.write("train-images-idx3-ubyte", bytes);
      const std::string full = reason({.path = folder.path()});
      return full.starts_with(images.string()) ? full.substr(images.string().size()) : full;
    };
    CHECK(message("") == ": truncated, 4 bytes are missing");
    CHECK(message("text").starts_with(": expected an IDX file of bytes with 3 dimensions"));
    CHECK(message(idx_bytes({4, 1, 2}, "abc")) == ": truncated, 5 bytes are missing");
    CHECK(message(idx_bytes({4, 1, 2}, "abcdefghi")) == ": longer than its header says");
    CHECK(message(idx_bytes({2147483647, 2147483647, 9}, "a")).find("asks for more than") !=
          std::string::npos);
    CHECK(message(idx_bytes({1 << 20, 1, 1}, "a")).starts_with(": truncated"));
    CHECK(message(idx_bytes({0, 28, 28}, "")).find("is zero") != std::string::npos);
    CHECK(message(idx_bytes({3, 1, 2}, "abcdef")).find(" has 3 pictures") != std::string::npos);
    const std::string gzip_start("\x1f\x8b\x08\0\0\0\0\0\0\3garbage", 17);
    CHECK(message(gzip_start).starts_with(": cannot be unpacked"));
  }

  TEST_CASE("validation classes are split off by seed, classes stay whole") {
    Dataset train;
    train.name = "t";
    for (int c = 0; c < 10; ++c) {
      train.class_names.push_back("c" + std::to_string(c));
      for (int i = 0; i <= c; ++i) {
        Sample sample;
        sample.path = "p" + std::to_string(c);
        sample.label = c;
        train.samples.push_back(sample);
      }
    }
    const auto [rest, taken] = split_off_classes(train, 0.3, 7);
    CHECK(taken.classes() == 3);
    CHECK(rest.classes() == 7);
    CHECK(rest.size() + taken.size() == train.size());
    std::set<std::string> names(rest.class_names.begin(), rest.class_names.end());
    for (const std::string& name : taken.class_names) CHECK(!names.contains(name));
    for (const Dataset* part : {&rest, &taken})
      for (const Sample& sample : part->samples)
        CHECK("p" + part->class_names[sample.label].substr(1) == sample.path);
    CHECK(split_off_classes(train, 0.3, 7).second.class_names == taken.class_names);
    std::set<Names> choices;
    for (std::uint64_t seed = 0; seed < 20; ++seed)
      choices.insert(split_off_classes(train, 0.3, seed).second.class_names);
    CHECK(choices.size() > 10);
    CHECK(split_off_classes(train, 0.001, 7).second.classes() == 2);
    CHECK(split_off_classes(train, 0.999, 7).first.classes() == 2);
    CHECK_THROWS_AS(split_off_classes(train, 0, 7), UsageError);
    CHECK_THROWS_AS(split_off_classes(train, 1, 7), UsageError);
    CHECK_THROWS_AS(split_off_classes(Dataset(), 0.5, 7), UsageError);
  }

  TEST_CASE("the shared data sets open with their known counts") {
    const std::filesystem::path shared = test_data("cub200-2010").parent_path();
    if (shared.empty()) return;
    const DatasetSplits cub = open_dataset({.path = shared / "cub200-2010"});
    CHECK(cub.train.describe() == "2990 pictures of 100 classes");
    CHECK(cub.test.describe() == "3043 pictures of 100 classes");
    CHECK(cub.test.class_names[0] == "100");
    CHECK(cub.train.load(0).width == 224);
    const DatasetSplits grocery = open_dataset({.path = shared / "grocery-store"});
    CHECK(grocery.test.describe() == "2640 pictures of 40 classes (1197 queries, gallery of 1443)");
    const DatasetSplits tree = open_dataset({.path = shared / "fixtures/CUB_200_2011/images"});
    CHECK(tree.train.classes() == 4);
    CHECK(tree.test.size() == 20);
  }

  TEST_CASE("Fashion-MNIST opens from Debian's package") {
    if (!fs::exists("/usr/share/datasets/fashion-mnist")) {
      MESSAGE("skipped: the package dataset-fashion-mnist is not installed");
      return;
    }
    const DatasetSplits splits = open_dataset({.name = "fashion-mnist"});
    CHECK(splits.train.describe() == "30000 pictures of 5 classes");
    CHECK(splits.test.describe() == "5000 pictures of 5 classes");
    CHECK(splits.test.class_names[4] == "Ankle boot");
    CHECK(splits.test.load(0).width == 28);
  }
}
}  // namespace
}  // namespace proxent
