// proxent data stats, convert and preview.
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "data/dataset_stats.h"
#include "tests/run_binary.h"
#include "tests/temp_folder.h"
#include "tests/test_data.h"
#include "train/exit_code.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

// Pictures of some classes; `width` tells them apart.
void write_tree(const TempFolder& folder) {
  const auto add = [&](const char* name, std::int64_t height, std::int64_t width) {
    Image image(height, width);
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<std::uint8_t>(i * 37 % 251);
    folder.write(name, encode_png(image));
  };
  add("train/a/1.png", 20, 10);
  add("train/a/2.png", 20, 20);
  add("train/b/1.png", 20, 30);
  add("test/c/1.png", 20, 40);
  add("test/d, \"e\"/1.png", 20, 60);
  add("test/d, \"e\"/2.png", 30, 60);
}

fs::path canonical(const std::string& path) { return fs::canonical(path); }

void check_same(const Dataset& a, const Dataset& b) {
  CHECK(a.class_names == b.class_names);
  REQUIRE(a.size() == b.size());
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const Sample &x = a.samples[i], &y = b.samples[i];
    CHECK(canonical(x.path) == canonical(y.path));
    CHECK(x.label == y.label);
    CHECK(x.category == y.category);
    CHECK(x.fine == y.fine);
    CHECK(x.is_query == y.is_query);
    CHECK(x.is_gallery == y.is_gallery);
    CHECK(x.box == y.box);
  }
}

// Writes the data set as a table and opens that.
DatasetSplits check_round_trip(const DatasetSplits& splits, const fs::path& table) {
  std::ofstream(table) << to_csv(splits, table);
  DatasetSplits again = open_dataset({.path = table});
  check_same(splits.train, again.train);
  check_same(splits.validation, again.validation);
  check_same(splits.test, again.test);
  return again;
}

std::string read_text(const fs::path& file) {
  const std::vector<std::uint8_t> bytes = read_file(file);
  return {bytes.begin(), bytes.end()};
}

TEST_SUITE("data_command") {
  TEST_CASE("any layout as a table opens as the same data set") {
    const TempFolder folder;
    write_tree(folder);
    const fs::path table = folder.path() / "table.csv";
    check_round_trip(open_dataset({.path = folder.path()}), table);
    CHECK(read_text(table) ==
          "label,path,split,is_query,is_gallery,class_name\n"
          "0,train/a/1.png,train,,,a\n0,train/a/2.png,train,,,a\n1,train/b/1.png,train,,,b\n"
          "2,test/c/1.png,validation,True,True,c\n"
          "3,\"test/d, \"\"e\"\"/1.png\",validation,True,True,\"d, \"\"e\"\"\"\n"
          "3,\"test/d, \"\"e\"\"/2.png\",validation,True,True,\"d, \"\"e\"\"\"\n");

    // Numbers are labels already, and boxes, categories, queries and validation survive.
    folder.write("list.csv",
                 "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2\n"
                 "10,train/a/1.png,train,,,bird,0,5,1,9\n9,train/b/1.png,train,,,,,,,\n"
                 "11,test/c/1.png,validation,True,False,,,,,\n"
                 "11,train/a/2.png,validation,False,True,,,,,\n"
                 "12,test/d/1.png,test,True,True,,,,,\n");
    folder.write("test/d/1.png", encode_png(Image(2, 2)));
    check_round_trip(open_dataset({.path = folder.path() / "list.csv"}), table);
    CHECK(read_text(table).starts_with(
        "label,path,split,is_query,is_gallery,category,x_1,x_2,y_1,y_2\n"
        "10,train/a/1.png,train,,,bird,0,5,1,9\n"));
    CHECK(read_text(table).find("\n12,test/d/1.png,test,True,True") != std::string::npos);

    folder.write("fine.csv",
                 "label,path,split,fine_label\n10,train/a/1.png,train,wren\n"
                 "10,train/b/1.png,train,\n12,test/d/1.png,test,\n");
    check_round_trip(open_dataset({.path = folder.path() / "fine.csv"}), table);
    CHECK(
        read_text(table).starts_with("label,path,split,is_query,is_gallery,fine_label\n"
                                     "10,train/a/1.png,train,,,wren\n"));

    // A table elsewhere names the whole path; classes in both parts have one label.
    const TempFolder elsewhere;
    folder.write("test/b/1.png", encode_png(Image(2, 2)));
    folder.write("test/Z/1.png", encode_png(Image(2, 2)));
    const DatasetSplits again = check_round_trip(
        open_dataset({.name = "folder", .path = folder.path()}), elsewhere.path() / "table.csv");
    CHECK(fs::path(again.train.samples[0].path).is_absolute());
    CHECK(shared_classes(again.train, again.test) == std::vector<std::string>{"b"});
  }

  TEST_CASE("the official layouts survive as tables") {
    const std::filesystem::path shared = test_data("fixtures");
    if (shared.empty()) return;
    const TempFolder folder;
    for (const char* name : {"cub", "cars", "sop", "inshop"})
      check_round_trip(open_dataset({.name = name, .path = shared}), folder.path() / "table.csv");
  }

  TEST_CASE("names of classes in a table must belong to one label each") {
    const TempFolder folder;
    write_tree(folder);
    const auto reason = [&](std::string_view rows) {
      const fs::path file =
          folder.write("x.csv", "label,path,split,class_name\n" + std::string(rows));
      try {
        open_dataset({.path = file});
      } catch (const DataError& error) {
        return error.message().substr(file.string().size());
      }
      return std::string("no error");
    };
    CHECK(reason("1,train/a/1.png,train,x\n1,train/a/2.png,train,y\n") ==
          ":3: label 1 is called y here and x before");
    CHECK(reason("1,train/a/1.png,train,x\n2,train/a/2.png,train,x\n") ==
          ": two labels are called x");
    CHECK_THROWS_WITH_AS(to_csv(open_dataset({}), "x.csv"),
                         doctest::Contains("its pictures are generated or lie in one file"),
                         UsageError);
  }

  TEST_CASE("stats count classes, sizes, aspects and categories of each part") {
    const TempFolder folder;
    write_tree(folder);
    folder.write("test/c/broken.png", "no picture");
    DatasetSplits splits = open_dataset({.path = folder.path()});
    splits.test.samples[0].is_query = false;
    splits.test.samples[0].category = "k";
    const std::vector<PartStats> parts = dataset_stats(splits, 2);
    REQUIRE(parts.size() == 2);
    CHECK(parts[0].role == "train");
    CHECK(parts[0].pictures == 3);
    CHECK(parts[0].per_class.least == 1);
    CHECK(parts[0].per_class.most == 2);
    REQUIRE(parts[0].per_class_bins.size() == 2);
    CHECK(parts[0].per_class_bins[1].classes == 1);
    CHECK(parts[0].width.median == 20);
    CHECK(parts[0].aspect_bins == std::array<std::int64_t, 7>{0, 1, 0, 1, 0, 1, 0});
    CHECK(parts[1].unreadable == 1);
    CHECK(parts[1].queries == 3);
    CHECK(parts[1].gallery == 4);
    CHECK(parts[1].height.most == 30);
    CHECK(parts[1].aspect.most == 3);
    CHECK(parts[1].aspect_bins.back() == 3);
    CHECK(parts[1].categories == std::map<std::string, std::int64_t>{{"k", 1}});
    CHECK(parts[0].to_text() ==
          "train: 3 pictures of 2 classes\n"
          "  pictures per class: 1 to 2, median 1\n"
          "    1        1 ########################################\n"
          "    2        1 ########################################\n"
          "  width: 10 to 30, median 20\n  height: 20 to 20, median 20\n"
          "  width / height: 0.5 to 1.5, median 1\n"
          "    below 1:2           0\n"
          "    1:2 to 2:3          1 ########################################\n"
          "    2:3 to 9:10         0\n"
          "    about square        1 ########################################\n"
          "    10:9 to 3:2         0\n"
          "    3:2 to 2:1          1 ########################################\n"
          "    2:1 or wider        0\n");
    CHECK(dataset_stats({}).empty());
  }

  TEST_CASE("wide ranges of pictures per class share ten bins") {
    Dataset dataset;
    for (std::int32_t c = 0; c < 3; ++c) {
      dataset.class_names.push_back(std::to_string(c));
      const int count = c == 0 ? 1 : c == 1 ? 14 : 105;
      for (int i = 0; i < count; ++i) {
        dataset.samples.push_back({});
        dataset.samples.back().stored = 0;
        dataset.samples.back().label = c;
      }
    }
    dataset.stored = std::make_shared<const StoredPictures>(StoredPictures{1, 1, {0}});
    const auto bins = dataset_stats({.train = dataset})[0].per_class_bins;
    REQUIRE(bins.size() == 10);
    CHECK((bins[0].low == 1 && bins[0].high == 11 && bins[0].classes == 1));
    CHECK((bins[1].low == 12 && bins[1].classes == 1));
    CHECK((bins[9].low == 100 && bins[9].high == 110 && bins[9].classes == 1));
  }

  TEST_CASE("data check tells scripts by its exit code whether a number would be wrong") {
    const TempFolder folder;
    write_tree(folder);
    const std::string command =
        "data check --data '" + folder.path().string() + "' --json 2>/dev/null";
    const Outcome sound = run_binary(command);
    CHECK(sound.code == 0);
    CHECK(nlohmann::json::parse(sound.out)["sound"] == true);
    fs::copy_file(folder.path() / "train/a/1.png", folder.path() / "test/c/2.png");
    const Outcome leaky = run_binary(command);
    CHECK(leaky.code == 3);
    const auto json = nlohmann::json::parse(leaky.out);
    CHECK(json["sound"] == false);
    CHECK(json["identical"].size() == 1);
  }

  TEST_CASE("the commands: files whole, previews by seed, errors before any work") {
    const TempFolder folder;
    write_tree(folder);
    const std::string data = " --data " + folder.path().string();
    const auto stats = run_json("data stats" + data);
    CHECK(stats["train"]["pictures"] == 3);
    CHECK(stats["test"]["per_class"]["max"] == 2);
    CHECK(stats["test"]["aspect_histogram"][6]["below"].is_null());

    const fs::path table = folder.path() / "t.csv";
    CHECK(run_binary("data convert" + data + " -o " + table.string()).code == 0);
    CHECK(open_dataset({.path = table}).test.size() == 3);
    CHECK(!fs::exists(table.string() + ".tmp"));
    fs::remove(table);
    const Outcome cut_off =
        run_binary("data convert" + data + " -o " + table.string() + " 2>&1", "ulimit -f 0;");
    CHECK(cut_off.code == kDataError);
    CHECK_MESSAGE(cut_off.out.find("free some space") != std::string::npos, cut_off.out);
    CHECK(!fs::exists(table));

    const auto preview = [&](const std::string& name, const std::string& flags) {
      const fs::path file = folder.path() / name;
      CHECK(run_binary("data preview --image-size 16 --rows 9 --columns 3 -o " + file.string() +
                       data + flags)
                .code == 0);
      return load_image(file);
    };
    const Image first = preview("1.png", "");
    CHECK(first.width == 3 * (96 + 8 + 6) + 18);
    CHECK(first.height == 6 + 2 * (96 + 8 + 6));  // one row for each of two classes
    CHECK(preview("2.png", "") == first);
    CHECK(preview("3.png", " --seed 2") != first);

    const auto usage_error = [&](const std::string& arguments) {
      const Outcome outcome = run_binary("data " + arguments + data + " 2>&1");
      CHECK(outcome.code == 2);
      return outcome.out;
    };
    CHECK(usage_error("chek").find("data: expected check, stats, convert or preview, got 'chek'. "
                                   "Did you mean 'check'?") != std::string::npos);
    CHECK(usage_error("convert").find("data convert: needs the file to write, -o data.csv") !=
          std::string::npos);
    CHECK(usage_error("stats -o x").find("data stats: writes no file") != std::string::npos);
    CHECK(run_binary("data --help").out.find("\ncub: images.txt") != std::string::npos);
  }
}
}  // namespace
}  // namespace proxent
