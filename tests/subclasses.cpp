// Classes that hide finer ones: the data sets, the table of fine labels, and what proxies found.
#include "data/subclasses.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <set>

#include "data/glyphs.h"
#include "losses/arcface.h"
#include "losses/proxies.h"
#include "tests/temp_folder.h"
#include "train/proxy_diagnostics.h"

namespace proxent {
namespace {

Dataset small() {
  Dataset dataset{.name = "small"};
  dataset.class_names = {"cat", "dog", "oak", "elm"};
  for (int i = 0; i < 8; ++i)
    dataset.samples.push_back({.path = "p" + std::to_string(i), .label = i % 4});
  return dataset;
}

}  // namespace

TEST_SUITE("subclasses") {
  TEST_CASE("joined classes keep what they were called as the fine label") {
    const Dataset joined = with_joined_classes(
        small(),
        [](const std::string& name) {
          return name == "elm" ? "" : name == "oak" ? "tree" : "animal";
        },
        "coarse");
    CHECK(joined.name == "coarse");
    CHECK(joined.class_names == std::vector<std::string>{"animal", "tree"});
    REQUIRE(joined.size() == 6);  // elms are gone
    CHECK(joined.samples[1].path == "p1");
    CHECK(joined.samples[1].label == 0);
    CHECK(joined.samples[1].fine == "dog");
    CHECK(joined.samples[2].label == 1);
    CHECK(joined.samples[2].fine == "oak");
  }

  TEST_CASE("glyph-cases joins both cases of a letter and tests other families with them apart") {
    const DatasetSplits splits = with_joined_cases(glyph_dataset());
    CHECK(splits.train.classes() == 17);
    CHECK(splits.test.classes() == 34);
    std::set<std::string> train, test;
    for (const Sample& sample : splits.train.samples) {
      train.insert(sample.group);
      const std::string& name = splits.train.class_names[sample.label];
      CHECK((sample.fine == name.substr(0, 1) || sample.fine == name.substr(1)));
    }
    for (const Sample& sample : splits.test.samples) {
      test.insert(sample.group);
      CHECK(sample.fine.empty());
    }
    for (const std::string& family : test) CHECK_FALSE(train.contains(family));
    CHECK(train.size() > test.size());
    CHECK(shared_classes(splits.train, splits.test).empty());
  }

  TEST_CASE("fine labels come from a table, whose paths are relative to it") {
    const TempFolder temp;
    const std::string file = temp.path() / "fine.csv";
    Dataset dataset = small();
    for (Sample& sample : dataset.samples) sample.path = temp.path() / sample.path;
    std::ofstream(file) << "path,fine_label\np0,tabby\n./p3,wych\n";
    read_fine_labels(dataset, file);
    CHECK(dataset.samples[0].fine == "tabby");
    CHECK(dataset.samples[3].fine == "wych");
    CHECK(dataset.samples[1].fine.empty());

    const auto refuses = [&](const char* text, const char* message) {
      std::ofstream(file) << text;
      CHECK_THROWS_WITH_AS(read_fine_labels(dataset, file), doctest::Contains(message), DataError);
    };
    refuses("path,label\np0,tabby\n", "fine_label");
    refuses("path,fine_label\np0,a\n./p0,b\n", "fine.csv:3: ./p0 is there twice");
    refuses("path,fine_label\nq,a\n", "none of its 1 paths is a picture of 8 pictures");
    const std::string no_file = "path,fine_label\n" + std::string(300, 'a') + ",a\n";
    refuses(no_file.c_str(), "none of its 1 paths is a picture of 8 pictures");
  }

  TEST_CASE("purity is the share of pictures that are of their proxy's most frequent kind") {
    // Two classes of two proxies along the axes; class 0 found its kinds, class 1 uses one proxy.
    PlainProxyLoss loss(
        nullptr, "loss", {.classes = 2, .per_class = 2, .dim = 4},
        [](const Variable& z, const Variable& w, const Tensor& y) { return arcface(z, w, y); },
        /*assignment_scale=*/100);
    Tensor axes = Tensor::zeros({2, 2, 4}, DType::f32);
    for (int i = 0; i < 4; ++i) axes.data<float>()[i * 4 + i] = 3;
    loss.proxies.mutable_value().copy_from(axes);
    Dataset dataset = small();
    dataset.class_names.resize(2);
    Embeddings embeddings{.values = Tensor::zeros({8, 4}, DType::f32)};
    const int axis[] = {0, 0, 1, 1, 2, 2, 2, 2};
    const char* fine[] = {"a", "a", "b", "a", "c", "d", "c", "d"};
    for (int i = 0; i < 8; ++i) {
      embeddings.values.data<float>()[i * 4 + axis[i]] = 0.5f;
      embeddings.labels.push_back(i / 4);
      embeddings.samples.push_back(i);
      dataset.samples[i].fine = fine[i];
    }
    const ProxyDiagnostics found = diagnose_proxies(loss, dataset, embeddings);
    CHECK(*found.purity == doctest::Approx((2 + 1 + 2) / 8.0));
    CHECK(*found.purity_of_one == doctest::Approx((3 + 2) / 8.0));
    CHECK(found.report.dead == 1);
    CHECK(found.report.used_per_class == doctest::Approx(1.5));
    CHECK(found.report.effective == doctest::Approx(1.5));
    CHECK(found.spread.mean() == doctest::Approx(1));
    CHECK(to_text(found) ==
          "2 per class, spread 1.00 (1.00 .. 1.00), closest pair 1.00; of 8 pictures: 1.50 used, "
          "1.50 effective, 1 of 4 dead, entropy 0.000, purity 0.625 (0.625 with one) of 8, NMI "
          "0.172");
    CHECK(to_text(diagnose_proxies(loss)) ==
          "2 per class, spread 1.00 (1.00 .. 1.00), closest pair 1.00");
    Json json = to_json(found);
    const Json::Members& of_class = json["assignment_entropy_of_class"].members();
    REQUIRE(of_class.size() == 2);
    CHECK(of_class[1].first == dataset.class_names[1]);
    // Class 0: proxies 0 0 1 1, fine a a b a; class 1 uses one proxy: 0.
    const double h = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));  // of fine; of proxy ln 2
    const double joint = -(0.5 * std::log(0.5) + 2 * 0.25 * std::log(0.25));
    CHECK(*found.nmi ==
          doctest::Approx((std::log(2.0) + h - joint) / ((std::log(2.0) + h) / 2) / 2));
    for (int i = 0; i < 8; ++i) dataset.samples[i].fine = i < 4 ? "a" : "c";
    json = to_json(diagnose_proxies(loss, dataset, embeddings));
    CHECK(json["purity"].number() == 1);
    CHECK(json["nmi"].is_null());
    CHECK(json["reasons"]["nmi"].plain() == "no class has two fine labels");
    for (Sample& sample : dataset.samples) sample.fine.clear();
    CHECK_FALSE(diagnose_proxies(loss, dataset, embeddings).purity);
  }

  TEST_CASE("one proxy per class has no distances, and a reason for it") {
    const PlainProxyLoss loss(
        nullptr, "loss", {.classes = 2, .per_class = 1, .dim = 4},
        [](const Variable& z, const Variable& w, const Tensor& y) { return arcface(z, w, y); },
        /*assignment_scale=*/100);
    CHECK(to_text(diagnose_proxies(loss)) == "1 per class");
    Json json = to_json(diagnose_proxies(loss));
    for (const char* key : {"spread", "spread_least", "spread_greatest", "closest"}) {
      CHECK(json[key].is_null());
      CHECK(json["reasons"][key].plain() == "there is one proxy per class");
    }
  }
}

}  // namespace proxent
