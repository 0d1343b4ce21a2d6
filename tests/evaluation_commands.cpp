// The commands eval and embed through the binary, and the files between them.
#include <doctest/doctest.h>

#include <cmath>

#include "data/dataset.h"
#include "losses/proxy_statistics.h"
#include "tensor/gpu.h"
#include "tensor/random.h"
#include "tests/run_binary.h"
#include "tests/temp_folder.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/exit_code.h"
#include "train/input_file.h"
#include "train/labelled_embeddings.h"
#include "train/loss.h"
#include "train/model.h"
#include "train/npy.h"
#include "train/query_expansion.h"
#include "train/saved_model.h"

namespace proxent {
namespace {
namespace fs = std::filesystem;

// Four classes of three pictures, split in halves by the class tree's rule: c and d are unseen.
void write_pictures(const TempFolder& folder) {
  for (int c = 0; c < 4; ++c)
    for (int i = 0; i < 3; ++i) {
      Image image(12, 12);
      for (std::int64_t p = 0; p < std::ssize(image.pixels); ++p)
        image.pixels[p] = static_cast<std::uint8_t>((p * (c + 3) + 40 * i) % 256);
      folder.write(std::string("pictures/") + "abcd"[c] + "/" + std::to_string(i) + ".png",
                   encode_png(image));
    }
}

Config small_config(const TempFolder& folder) {
  Config config;
  config.data.path = (folder.path() / "pictures").string();
  config.data.image_size = 12;
  config.data.resize = 0;
  config.data.crop = "none";
  config.batch.size = 4;
  config.model.stem = "small";
  config.model.embed_dim = 6;
  config.run.protocol = "val";
  config.run.metrics = {"r@1", "r@2", "map@r", "rp"};
  return config;
}

// A run's folder with weights that nobody trained, or only some of them as its last.
void write_run(const TempFolder& folder, const Config& config, bool has_best) {
  CheckpointFolder checkpoints(folder.path() / "run" / "ckpt");
  const CheckpointInfo info{.arch = config.model.arch, .config = to_toml(config)};
  if (has_best)
    checkpoints.save_best(weights_of({build_model(config.model, 3).get()}), info);
  else
    checkpoints.save_last({{"embedding.bias", Tensor::zeros({6}, DType::f32)}}, info, {});
}

}  // namespace

TEST_SUITE("evaluation_commands") {
  TEST_CASE("a pair of files comes back with labels, groups and roles") {
    const TempFolder folder;
    Dataset dataset;
    dataset.class_names = {"cat, black", "dog"};
    for (int i = 0; i < 3; ++i) {
      Sample sample;
      sample.path = "p" + std::to_string(i) + ".png";
      sample.label = i % 2;
      dataset.samples.push_back(sample);
    }
    dataset.samples[0].group = "g";
    dataset.samples[1].is_query = false;
    dataset.samples[2].is_gallery = false;
    Embeddings embeddings;
    embeddings.values = Tensor::from<float>({2, 2}, {1, 2, 3, 4});
    embeddings.samples = {2, 1};
    const fs::path npy = folder.path() / "e.npy";
    const EmbeddingOrigin origin{.selection = Selection::val_selected, .provenance = "a, b"};
    write_labelled_embeddings(npy, dataset, embeddings, origin);
    const LabelledEmbeddings read = read_labelled_embeddings(npy);
    CHECK(read.origin.selection == Selection::val_selected);
    CHECK(read.origin.provenance == "a, b");
    CHECK(read.embeddings.values.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
    CHECK(read.embeddings.labels == std::vector<std::int32_t>{0, 1});
    CHECK(read.options.queries == std::vector<std::int64_t>{0});
    CHECK(read.options.gallery == std::vector<std::int64_t>{1});
    CHECK(read.options.groups == std::vector<std::int32_t>{-1, -1});
    CHECK_THROWS_WITH_AS(
        write_labelled_embeddings(folder.path() / "e.txt", dataset, embeddings, origin),
        doctest::Contains("must end in .npy"), UsageError);
  }

  TEST_CASE("embeddings carry how their weights were chosen, and keep it when tables are joined") {
    const TempFolder folder;
    write_pictures(folder);
    Config config = small_config(folder);
    config.run.protocol = "paper";
    write_run(folder, config, true);
    const std::string npy = (folder.path() / "e.npy").string();
    const auto written = run_json("embed " + (folder.path() / "run").string() + " -o " + npy);
    CHECK(written["selection"] == "test-selected");
    const std::string text = run_binary("eval " + npy).out;
    CHECK(text.find("e.npy, test-selected ") != std::string::npos);
    CHECK(text.find("\ntest-selected (protocol paper), whole picture at 12x12, ") !=
          std::string::npos);
    CHECK(run_binary("eval " + npy + " --few-shot 2 --shots 1 --queries 2 --tasks 2")
              .out.find("\ntest-selected (protocol paper), ") != std::string::npos);

    const auto origin_of = [&](std::string_view table) {
      write_npy(npy, Tensor::zeros({2, 1}, DType::f32));
      return read_labelled_embeddings(npy, folder.write("e.csv", table)).origin;
    };
    const EmbeddingOrigin joined =
        origin_of("label,selection,provenance\na,test-selected,p\nb,val-selected,q\n");
    CHECK(joined.selection == Selection::test_selected);
    CHECK(joined.provenance == "p; q");
    CHECK_FALSE(
        origin_of("label,selection,provenance\na,last-epoch,\nb,val-selected,\n").selection);
    CHECK_FALSE(origin_of("label,selection\na,first\nb,second\n").selection);
    CHECK(origin_of("label\na\nb\n").provenance.empty());
    CHECK(run_binary("eval " + npy)
              .out.ends_with("1 features of unknown origin: the table has no column provenance\n"));
  }

  TEST_CASE("pairs that do not belong together are refused") {
    const TempFolder folder;
    const fs::path npy = folder.path() / "e.npy";
    write_npy(npy, Tensor::from<double>({2, 1}, {1, 2}));
    const auto message = [&](std::string_view table) -> std::string {
      const fs::path csv = folder.write("other.csv", table);
      try {
        read_labelled_embeddings(npy, csv);
      } catch (const DataError& error) {
        return error.message().substr(csv.string().size());
      }
      return "";
    };
    CHECK(message("label\na\nb\n").empty());  // float64 is welcome, and so is a bare column
    CHECK(message("label\na\n") == ": 1 rows, but " + npy.string() + " has 2");
    CHECK(message("name\na\nb\n") ==
          ":1: the header has no column \"label\"; expected "
          "path,label,group,category,is_query,is_gallery");
    CHECK(message("label,x\na,1\n,2\n") == ":3: the label is empty");
    CHECK_THROWS_AS(read_labelled_embeddings(npy), DataError);  // no e.csv
    write_npy(npy, Tensor::from<std::int32_t>({2}, {1, 2}));
    CHECK_THROWS_WITH_AS(read_labelled_embeddings(npy), doctest::Contains("must be a float matrix"),
                         DataError);
    const fs::path csv = folder.write("other.csv", "label\na\nb\n");
    write_npy(npy, Tensor::from<float>({2, 2}, {1, 2, NAN, 3}));
    CHECK_THROWS_WITH_AS(read_labelled_embeddings(npy, csv), doctest::Contains("row 1 holds nan"),
                         DataError);
    write_npy(npy, Tensor({2, 0}, DType::f32));
    CHECK_THROWS_WITH_AS(read_labelled_embeddings(npy, csv), doctest::Contains("without features"),
                         DataError);
  }

  TEST_CASE("embed and eval agree on a run's unseen classes") {
    const TempFolder folder;
    write_pictures(folder);
    write_run(folder, small_config(folder), true);
    const std::string run_path = (folder.path() / "run").string();
    const std::string npy = (folder.path() / "e.npy").string();

    const auto direct = run_json("eval " + run_path);
    CHECK(direct["queries"] == 6);
    CHECK(direct["features"] == 6);
    CHECK(direct["selection"] == "val-selected");
    CHECK(direct["effective_rank"].get<double>() >= 1);
    CHECK(direct.contains("R@2"));
    CHECK_FALSE(direct.contains("R@4"));

    CHECK(run_json("embed " + run_path + " --split test -o " + npy)["rows"] == 6);
    const auto from_files = run_json("eval " + npy + " --recall-at 1,2");
    for (const char* key : {"R@1", "R@2", "MAP@R", "RP", "queries", "intra", "inter"})
      CHECK(from_files[key] == direct[key]);
    for (const char* key : {"selection", "provenance"}) CHECK(from_files[key] == direct[key]);
    if (gpu_report().problem.empty()) {
      const auto ranked_there = run_json("eval " + npy + " --recall-at 1,2 --device cuda");
      for (const char* key : {"R@1", "R@2", "MAP@R", "RP", "ties", "intra", "inter"})
        CHECK(ranked_there[key] == from_files[key]);
      CHECK(run_json("embed " + run_path + " --device cuda --split test -o " + npy)["rows"] == 6);
    }

    const Outcome text =
        run_binary("eval " + run_path + " --grid " + folder.path().string() + "/g.png 2>/dev/null");
    CHECK(text.code == 0);
    CHECK(text.out.find("6 pictures of 2 classes, test, val-selected") != std::string::npos);
    for (const char* part : {"R@1 ", "MAP@R ", "of 6 features", "6 queries, gallery 6", "classes"})
      CHECK(text.out.find(part) != std::string::npos);
    CHECK(text.out.ends_with("seed 1, n=1\n"));
    CHECK(load_image(folder.path() / "g.png").width > 500);
    // What was there before stays where the disk is full: no file may have more than one block.
    const std::string grid = folder.path().string() + "/g.png", before = read_text(grid);
    const Outcome full =
        run_binary("eval " + run_path + " --grid " + grid + " 2>&1", "trap '' XFSZ; ulimit -f 1;");
    CHECK(full.code == 3);
    CHECK_MESSAGE(full.out.find("free some space") != std::string::npos, full.out);
    CHECK(read_text(grid) == before);

    // A file that cannot be written is told before the pictures are embedded.
    for (const auto& [name, code] : {std::pair("table.txt", 2), {"/none/x.npy", 3}}) {
      const Outcome refused = run_binary("embed " + run_path + " -o " + name + " 2>&1");
      CHECK(refused.code == code);
      CHECK_MESSAGE(refused.out.find("embedding ") == std::string::npos, refused.out);
    }
  }

  TEST_CASE("embed replaces no table but that of earlier embeddings") {
    const TempFolder folder;
    write_pictures(folder);
    write_run(folder, small_config(folder), true);
    const std::string embed = "embed " + (folder.path() / "run").string();
    const std::string npy = (folder.path() / "e.npy").string();
    CHECK(run_binary(embed + " -o " + npy + " 2>&1").code == 0);
    CHECK(run_binary(embed + " -o " + npy + " 2>&1").code == 0);
    const std::string ours = read_text(folder.path() / "e.csv");
    const auto refused = [&](const std::string& flags, std::string_view reason) {
      const std::string before = read_text(folder.path() / "e.csv");
      const Outcome outcome = run_binary(embed + flags + " 2>&1");
      CHECK(outcome.code == 2);
      CHECK_MESSAGE(outcome.out.find(reason) != std::string::npos, outcome.out);
      CHECK(read_text(folder.path() / "e.csv") == before);
    };
    // Embeddings' own table is a list of pictures too.
    const std::string around = (folder.path() / "run/../e.csv").string();
    refused(" --data " + around + " -o " + npy, "e.csv, which names the pictures");
    folder.write("e.csv", "path,label\nmine.png,a\n");
    refused(" -o " + npy, "e.csv, which embed did not write");
  }

  TEST_CASE("a run without chosen weights is judged by its last ones") {
    const TempFolder folder;
    Config config = small_config(folder);
    config.run.protocol = "paper";
    write_run(folder, config, false);
    const fs::path run_path = folder.path() / "run";
    CHECK(find_saved_model(run_path).selection == Selection::last_epoch);
    CHECK(find_saved_model(run_path / "ckpt").info.arch == "resnet18");
    fs::copy_file(run_path / "ckpt/last.safetensors", run_path / "ckpt/best.safetensors");
    CHECK(find_saved_model(run_path).selection == Selection::test_selected);
    CHECK(find_saved_model(run_path / "ckpt/last.safetensors").selection == Selection::last_epoch);
    // A file of today says itself how it was chosen, under any name.
    const auto write = [&](const char* name, const std::string& selection) {
      const CheckpointInfo info{.config = to_toml(config), .selection = selection};
      write_safetensors(run_path / name, {}, to_texts(info));
      return run_path / name;
    };
    CHECK(find_saved_model(write("mine.safetensors", "test-selected")).selection ==
          Selection::test_selected);
    CHECK(find_saved_model(write("best.safetensors", "last-epoch")).selection ==
          Selection::last_epoch);
    CHECK_THROWS_WITH_AS(find_saved_model(write("x.safetensors", "luck")),
                         doctest::Contains("expected a selection of val-selected"), DataError);
  }

  TEST_CASE("a run's proxies are told, and their use where their classes are looked at") {
    const TempFolder folder;
    write_pictures(folder);
    Config config = small_config(folder);
    config.run.protocol = "last";
    config.loss.proxies = 3;
    const auto loss = build_loss(config, 2);
    CheckpointFolder(folder.path() / "run" / "ckpt")
        .save_best(weights_of({build_model(config.model, 3).get(), loss.get()}),
                   {.arch = config.model.arch, .config = to_toml(config)});
    const std::string run = "eval " + (folder.path() / "run").string();

    const ProxySpread spread = proxy_spread(loss->proxy_parameter()->value());
    const auto unseen = run_json(run)["proxies"];
    CHECK(unseen["classes"] == 2);
    CHECK(unseen["per_class"] == 3);
    CHECK(unseen["spread"].get<double>() == doctest::Approx(spread.mean()));
    CHECK(unseen["closest"].get<double>() == doctest::Approx(spread.closest));
    CHECK_FALSE(unseen.contains("pictures"));
    CHECK(run_binary(run + " 2>/dev/null").out.find("\nproxies: 3 per class, spread ") !=
          std::string::npos);

    folder.write("fine.csv", "path,fine_label\npictures/a/0.png,x\npictures/a/1.png,y\n");
    const auto seen = run_json(run + " --split train --fine-labels " +
                               (folder.path() / "fine.csv").string())["proxies"];
    CHECK(seen["pictures"] == 6);
    CHECK(seen["proxies"] == 6);
    CHECK(seen["dead"].get<int>() >= 0);
    CHECK(seen["spread_of_class"].size() == 2);
    CHECK(seen["judged"] == 2);
    CHECK(seen["purity_of_one"] == 0.5);
    CHECK_FALSE(run_json(run + " --split all")["proxies"].contains("pictures"));

    config.loss.proxies = 64;  // as a file may claim that holds three
    CheckpointFolder(folder.path() / "run" / "ckpt")
        .save_best(weights_of({build_model(config.model, 3).get(), loss.get()}),
                   {.arch = config.model.arch, .config = to_toml(config)});
    const Outcome claimed = run_binary(run + " 2>&1");
    CHECK(claimed.code == kDataError);
    CHECK_MESSAGE(claimed.out.find("has 64 proxies per class of ") != std::string::npos,
                  claimed.out);
  }

  TEST_CASE("no model is built that the weights file could not fill") {
    const TempFolder folder;
    Config config = small_config(folder);
    config.model.arch = "resnet152";
    config.model.width = 4096;  // a terabyte
    write_run(folder, config, false);
    const SavedModel saved = find_saved_model(folder.path() / "run");
    CHECK_THROWS_WITH_AS(load_saved_model(saved, config.model, Device::cpu),
                         doctest::Contains("last.safetensors: holds 6 numbers, the model of its "
                                           "configuration has 23"),
                         DataError);
  }

  TEST_CASE("pixels are judged without a network") {
    const TempFolder folder;
    write_pictures(folder);
    const auto found = run_json(
        "eval --pixels --split all --image-size 6 --resize 0 --crop none "
        "--data " +
        (folder.path() / "pictures").string());
    CHECK(found["queries"] == 12);
    CHECK(found["features"] == 6 * 6 * 3);
    CHECK(found["source"] == "pixels");
    CHECK(found["effective_rank"].is_null());
    CHECK(found["provenance"] == "plain pixels, whole picture at 6x6, 108 features, n=1");
  }

  // Three classes of 2 x 6 embeddings, each around a direction of its own.
  std::string write_embeddings(const TempFolder& folder) {
    Tensor x({36, 4}, DType::f32);
    fill_normal(x, Philox(1, 1), 0, 0.4);
    std::string table = "label,category\n";
    for (std::int64_t r = 0; r < 36; ++r) {
      x.data<float>()[r * 4 + r % 3] += 1;
      table += std::string(1, "abc"[r % 3]) + (r < 18 ? ",early\n" : ",late\n");
    }
    write_npy(folder.path() / "e.npy", x);
    folder.write("e.csv", table);
    return (folder.path() / "e.npy").string();
  }

  TEST_CASE("all metrics are in the object, those of little data with a reason") {
    const TempFolder folder;
    const std::string npy = write_embeddings(folder);
    const auto found = run_json("eval " + npy + " --metrics all,r@1,5");
    for (const char* name :
         {"R@1", "R@5", "MAP@R", "RP", "P@5", "mAP", "MRR", "nDCG@5", "NMI", "NMI-geometric", "AMI",
          "AMI-geometric", "TAR@1e-1", "TAR@1e-2", "AUC", "intra/inter"}) {
      CAPTURE(name);
      CHECK(found[name].get<double>() > 0.1);
      CHECK(found[name].get<double>() <= 1);
    }
    CHECK(found["TAR@1e-4"].is_null());
    CHECK(found["reasons"]["TAR@1e-4"] == "432 pairs of different classes cannot tell such a rate");
    CHECK(found["verification"]["positive_pairs"] == 198);
    CHECK(found["clustering"]["clusters"] == 3);
    CHECK(found["classes"].size() == 3);
    CHECK(found["categories"].size() == 2);
    CHECK(found["alignment"].get<double>() > 0);
    CHECK(found["uniformity"].get<double>() < 0);
    CHECK(found["spectrum"].size() == 4);
    CHECK(found["spectrum"][0] > found["spectrum"][3]);
    CHECK(found["roc"]["tar"][0] == 1);
    CHECK(found["roc"]["threshold"].size() == found["roc"]["far"].size());
    const auto usual = run_json("eval " + npy);
    for (const char* name : {"P@5", "NMI", "AUC", "clustering", "verification", "roc"})
      CHECK_FALSE(usual.contains(name));
    CHECK(usual["R@1"] == found["R@1"]);
    const std::string text = run_binary("eval " + npy + " --metrics all").out;
    for (const char* part :
         {"k-means++, k = 3, best of 3 starts, seed 1", "cosine at least",
          "TAR@1e-4             -  432 pairs", "early", "directions", "         4      100.00"})
      CHECK(text.find(part) != std::string::npos);
  }

  TEST_CASE("flip, query expansion and re-ranking stand beside the plain scores") {
    const TempFolder folder;
    const std::string npy = write_embeddings(folder);
    const auto plain = run_json("eval " + npy + " --metrics map,nmi");
    const auto found =
        run_json("eval " + npy + " --metrics map,nmi --query-expansion 4,1 --rerank=6,3,0.3");
    for (const char* name : {"R@1", "MAP@R", "mAP", "NMI"}) CHECK(found[name] == plain[name]);
    CHECK_FALSE(plain.contains("variants"));
    CHECK(found["variants"].size() == 2);
    CHECK(found["variants"]["expanded"]["mAP"] > plain["mAP"]);
    CHECK(found["variants"]["re-ranked"]["mAP"] > plain["mAP"]);
    CHECK_FALSE(found["variants"]["re-ranked"].contains("NMI"));
    const std::string text = run_binary("eval " + npy + " --rerank").out;
    CHECK(text.find("re-ranked: the first 200 by k-reciprocal encoding, k1 = 20, k2 = 6, lambda = "
                    "0.3") != std::string::npos);

    // The mirrored pictures' embeddings are those of mirrored files.
    write_pictures(folder);
    write_run(folder, small_config(folder), true);
    const std::string run = (folder.path() / "run").string(), e = npy + ".", at = " -o ";
    const auto flipped = run_json("eval " + run + " --flip --metrics map")["variants"]["flip"];
    run_json("embed " + run + " --split test" + at + e + "a.npy");
    for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "pictures"))
      if (entry.is_regular_file())
        write_png(entry.path(), flip_horizontal(load_image(entry.path())));
    run_json("embed " + run + " --split test" + at + e + "b.npy");
    const LabelledEmbeddings a = read_labelled_embeddings(e + "a.npy"),
                             b = read_labelled_embeddings(e + "b.npy");
    const RetrievalResult expected =
        evaluate_retrieval(mean_directions(a.embeddings.values, b.embeddings.values),
                           a.embeddings.labels, {.wants_map = true});
    CHECK(flipped["R@1"].get<double>() == expected.recall(1));
    CHECK(std::abs(flipped["mAP"].get<double>() - *expected.map) < 1e-12);
    CHECK(flipped["mAP"] != run_json("eval " + npy + ".a.npy --metrics map")["mAP"]);
  }

  TEST_CASE("a single class has no number where there can be none") {
    const TempFolder folder;
    write_npy(folder.path() / "e.npy", Tensor::from<float>({2, 2}, {1, 0, 0, 1}));
    folder.write("e.csv", "label\na\na\n");
    const std::string npy = (folder.path() / "e.npy").string();
    const auto one_class = run_json("eval " + npy + " --metrics all");
    for (const char* name : {"NMI", "AMI", "AUC", "TAR@1e-1", "inter"}) {
      CHECK(one_class[name].is_null());
      CHECK(one_class["reasons"].contains(name));
    }
    folder.write("e.csv", "label\na\nb\n");
    const auto no_match = run_json("eval " + npy);
    for (const char* name : {"R@1", "MAP@R", "RP", "intra", "alignment"}) {
      CHECK(no_match[name].is_null());
      CHECK(no_match["reasons"].contains(name));
    }
    CHECK(run_binary("eval " + npy).out.find("-  no query has a match") != std::string::npos);
    write_npy(folder.path() / "e.npy", Tensor::full({4, 2}, DType::f32, 1));
    folder.write("e.csv", "label\na\na\nb\nb\n");
    const auto equal = run_json("eval " + npy);
    CHECK(equal["inter"].is_number());
    CHECK(equal["intra/inter"].is_null());
    CHECK(equal["reasons"]["intra/inter"] == "the means of all classes are equal");
  }

  TEST_CASE("few-shot tasks on embeddings and on a run") {
    const TempFolder folder;
    const std::string npy = write_embeddings(folder);
    const auto found =
        run_json("eval " + npy + " --few-shot 3-way --shots 1,4 --queries 8 --tasks 200");
    REQUIRE(found["few_shot"].size() == 2);
    CHECK(found["few_shot"][0]["accuracy"] < found["few_shot"][1]["accuracy"]);
    CHECK(found["few_shot"][1]["interval"] < 0.02);
    CHECK(found["few_shot"][1]["shots"] == 4);
    const std::string text =
        run_binary("eval " + npy + " --few-shot 3 --shots 1 --queries 8 --tasks 20").out;
    CHECK(text.find("3-way 1-shot") != std::string::npos);
    CHECK(text.find("20 tasks, 8 queries per class, 3 classes, seed 1") != std::string::npos);
    const std::string one = "eval " + npy + " --few-shot 3 --shots 1 --queries 8 --tasks 1";
    CHECK(run_json(one)["few_shot"][0]["interval"].is_null());
    CHECK(run_binary(one).out.find("±") == std::string::npos);
    CHECK(run_binary(one).out.find("1 task, 8 queries") != std::string::npos);
    write_pictures(folder);
    write_run(folder, small_config(folder), true);
    const auto of_run = run_json("eval " + (folder.path() / "run").string() +
                                 " --few-shot 2-way --shots 1 --queries 2 --tasks 9");
    CHECK(of_run["selection"] == "val-selected");
    CHECK(of_run["few_shot"][0]["classes"] == 2);
  }

  TEST_CASE("wrong calls end with a reason and the documented code") {
    const TempFolder folder;
    const auto fails = [](const std::string& command, int code, const std::string& reason) {
      const Outcome output = run_binary(command + " 2>&1");
      CAPTURE(command);
      CAPTURE(output.out);
      CHECK(output.code == code);
      CHECK(output.out.find(reason) != std::string::npos);
    };
    const std::string here = folder.path().string();
    fails("eval", 2, "name a run folder");
    fails("eval " + here + " --pixels", 3, "no weights here");
    fails("eval --pixels --data " + here + "/none", 3, "no such file or folder");
    fails("eval " + here + "/none.safetensors", 3, "none.safetensors");
    fails("eval " + here + "/none.npy", 3, "none.npy");
    fails("eval x.npy --grid g.png", 2, "--grid needs the pictures");
    fails("eval --pixels --labels l.csv", 2, "--labels belongs to a .npy file");
    fails("eval x.npy --recall-at 0", 2, "recall-at");
    fails("eval x.npy --metrics r@1,nim", 2, "Did you mean 'nmi'?");
    fails("eval x.npy --flip", 2, "--flip embeds pictures again");
    fails("eval x.npy --rerank=5,9,0.3", 2, "K2 from 1 to K1 + 1");
    fails("eval x.npy --rerank=5", 2, "expected K1,K2,LAMBDA");
    fails("eval x.npy --query-expansion x", 2, "query expansion: expected a number of neighbours");
    fails("eval x.npy --rerank --distance euclidean", 2, "need --distance cosine");
    fails("eval x.npy --few-shot five", 2, "expected the number of classes of a task as 5-way");
    fails("eval x.npy --few-shot 5-way --metrics nmi", 2,
          "--few-shot classifies and ranks nothing");
    fails("eval " + write_embeddings(folder) + " --few-shot 5-way", 3, "only 0 of 3 classes");
    fails("eval x.npy --shots 3", 2, "belong to --few-shot");
    fails("eval x.npy --seed 3", 2, "belong to --few-shot");
    fails("eval x.npy --few-shot 5-way --distance euclidean", 2, "leave out --distance euclidean");
    fails("eval x.npy --split train", 2, "--split chooses among pictures");
    fails("eval x.npy --data elsewhere", 2, "--data chooses among pictures");
    fails("embed " + here, 3, "no weights here");
    write_png(folder.path() / "x.png", Image(2, 2));
    fails("eval " + here + "/x.png", 3, "x.png: PNG picture");
    fails("eval " + here + "/x.png", 3, "; expected a run's folder or a .safetensors file");
    write_safetensors(folder.path() / "foreign.safetensors",
                      {{"fc.weight", Tensor::zeros({2, 2}, DType::f32)}});
    fails("eval " + here + "/foreign.safetensors", 3, "foreign.safetensors");
    write_state(folder.path() / "last.state", {});
    fails("eval " + here + "/last.state", 3, "the state of a run");
    const Outcome full = run_binary("version 2>&1 > /dev/full");
    CHECK(full.code == 3);
    CHECK(full.out.find("cannot write to standard output: No space left") != std::string::npos);
    const Outcome explained = run_binary("eval --explain");
    CHECK(explained.code == 0);
    CHECK(explained.out.find("MAP@R") != std::string::npos);
  }
}
}  // namespace proxent
