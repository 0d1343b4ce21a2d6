// Metrics beyond Recall@K: against scikit-learn and pytorch-metric-learning, by hand, and on the
// borders where there is nothing to compute.
#include <doctest/doctest.h>
#include <omp.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "tensor/random.h"
#include "tensor/similarity.h"
#include "tests/devices.h"
#include "tests/random_rows.h"
#include "train/breakdown.h"
#include "train/clustering.h"
#include "train/evaluation.h"
#include "train/rank_scores.h"
#include "train/verification.h"

namespace proxent {
namespace {

using Rows = std::vector<std::int64_t>;
using Labels = std::vector<std::int32_t>;

nlohmann::json golden() {
  std::ifstream file(PROXENT_SOURCE_DIR "/tests/golden/metrics.json");
  return nlohmann::json::parse(file);
}

Tensor matrix(const nlohmann::json& rows) {
  const auto lists = rows.get<std::vector<std::vector<float>>>();
  std::vector<float> values;
  for (const auto& list : lists) values.insert(values.end(), list.begin(), list.end());
  return Tensor::from<float>({std::ssize(lists), std::ssize(lists[0])}, values);
}

Tensor unit(const Tensor& x) {
  std::vector<std::int32_t> all(x.dim(0));
  std::iota(all.begin(), all.end(), 0);
  return unit_rows(x, Tensor::from({std::ssize(all)}, all));
}

constexpr double kRounding = 1e-10;  // of sums of logarithms in double, in another order
constexpr double kSingle = 1e-6;     // of float32, in which the library averages

}  // namespace

TEST_SUITE("metrics") {
  TEST_CASE("NMI and AMI are scikit-learn's") {
    const auto cases = golden()["partitions"];
    REQUIRE(cases.size() == 5);
    for (const auto& c : cases) {
      const auto found = partition_agreement(c["a"].get<Labels>(), c["b"].get<Labels>());
      CHECK(std::abs(found.nmi_arithmetic - c["nmi_arithmetic"].get<double>()) < kRounding);
      CHECK(std::abs(found.nmi_geometric - c["nmi_geometric"].get<double>()) < kRounding);
      CHECK(std::abs(found.ami_arithmetic - c["ami"].get<double>()) < kRounding);
      CHECK(std::abs(found.ami_geometric - c["ami_geometric"].get<double>()) < kRounding);
    }
  }

  TEST_CASE("NMI and AMI do not depend on names or sides, and know when there is nothing to say") {
    const Labels a = {0, 0, 1, 1, 2, 2, 2}, b = {5, 5, -3, -3, 9, 9, 5};
    const Labels renamed = {7, 7, 0, 0, 1, 1, 1};
    const auto one = partition_agreement(a, b), other = partition_agreement(b, renamed);
    CHECK(std::abs(one.ami_arithmetic - other.ami_arithmetic) < kRounding);
    CHECK(std::abs(one.nmi_arithmetic - other.nmi_arithmetic) < kRounding);
    CHECK(std::abs(partition_agreement(a, renamed).ami_arithmetic - 1) < kRounding);
    CHECK(std::isnan(partition_agreement(a, Labels(7, 3)).nmi_arithmetic));
    const Labels alone = {0, 1, 2};
    CHECK(std::abs(partition_agreement(alone, alone).nmi_arithmetic - 1) < kRounding);
    CHECK(std::isnan(partition_agreement(alone, alone).ami_arithmetic));
    CHECK_THROWS_WITH_AS(partition_agreement(a, alone),
                         doctest::Contains("partition_agreement: 7 and 3 labels"), Error);
  }

  TEST_CASE("average precision, P@K and nDCG@K are scikit-learn's") {
    const auto cases = golden()["rankings"];
    REQUIRE(cases.size() == 5);
    for (const auto& c : cases) {
      std::vector<std::int32_t> ranks;
      const auto is_match = c["match"].get<std::vector<int>>();
      for (std::size_t i = 0; i < is_match.size(); ++i)
        if (is_match[i]) ranks.push_back(static_cast<std::int32_t>(i));
      const std::int64_t matches = std::ssize(ranks);
      CHECK(std::abs(average_precision(ranks, matches) - c["average_precision"].get<double>()) <
            kRounding);
      const auto ks = c["ks"].get<Rows>();
      for (std::size_t i = 0; i < ks.size(); ++i) {
        CAPTURE(ks[i]);
        CHECK(std::abs(ndcg_at(ranks, matches, ks[i]) - c["ndcg"][i].get<double>()) < kRounding);
        CHECK(std::abs(precision_at(ranks, ks[i]) - c["precision"][i].get<double>()) < kRounding);
      }
    }
    CHECK(average_precision({}, 0) == 0);
    CHECK(ndcg_at({}, 0, 5) == 0);
  }

  TEST_CASE("mAP, MRR, ROC and inertia of embeddings are the libraries'") {
    const auto cases = golden()["embeddings"];
    REQUIRE(cases.size() == 2);
    for (const auto& c : cases) {
      const Tensor x = matrix(c["embeddings"]);
      const auto labels = c["labels"].get<Labels>();
      const auto fars = c["fars"].get<std::vector<double>>();
      const RetrievalResult ranked = evaluate_retrieval(x, labels, {.wants_map = true});
      CHECK(std::abs(ranked.mrr - c["mrr"].get<double>()) < kSingle);
      CHECK(std::abs(*ranked.map - c["mean_average_precision"].get<double>()) < kSingle);

      const Verification pairs = verify(x, labels, {}, fars);
      CHECK(pairs.positives == c["positives"]);
      CHECK(pairs.negatives == c["negatives"]);
      CHECK(std::abs(pairs.auc - c["auc"].get<double>()) <= pairs.auc_error + kRounding);
      CHECK(pairs.auc_error < 1e-5);
      // Some pair may share its bin with the one that is one too many.
      const double one_pair = 1 / double(pairs.positives);
      for (std::size_t i = 0; i < fars.size(); ++i) {
        CHECK(pairs.points[i].far <= fars[i]);
        CHECK(std::abs(pairs.points[i].tar - c["tar"][i].get<double>()) <= one_pair + kRounding);
      }

      const std::int64_t classes = std::ssize(std::set<std::int32_t>(labels.begin(), labels.end()));
      const KMeans found = k_means(unit(x), {.clusters = classes, .restarts = 20});
      CHECK(found.inertia < 1.01 * c["inertia"].get<double>());
      CHECK(found.inertia > 0.99 * c["inertia"].get<double>());
    }
  }

  TEST_CASE("k-means finds clusters that lie apart, whatever the threads and the device") {
    const std::int64_t classes = 7, rows = 350;
    const Labels labels = random_labels(rows, classes, 3);
    Tensor x = cloud(rows, 5, 4);
    for (std::int64_t r = 0; r < rows; ++r)
      x.data<float>()[r * 5 + labels[r] % 5] += 40.f * (1 + labels[r] / 5);
    const KMeans found = k_means(x, {.clusters = classes, .restarts = 4});
    CHECK(found.has_converged);
    CHECK(std::abs(partition_agreement(labels, found.cluster).ami_arithmetic - 1) < kRounding);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(3);
    CHECK(k_means(x, {.clusters = classes, .restarts = 4}).cluster == found.cluster);
    omp_set_num_threads(threads);
    on_every_device([&](Device device) {
      INFO(device);
      const KMeans there = k_means(x.to(device), {.clusters = classes, .restarts = 4});
      CHECK(there.cluster == found.cluster);
      // A device that fuses multiply and add rounds otherwise than one that does not.
      CHECK(std::abs(there.inertia - found.inertia) < 1e-6 * found.inertia);
    });
  }

  TEST_CASE("more restarts are never worse, and every row lies at its nearest centre") {
    const Tensor x = cloud(200, 3, 8);
    double last = 1e300;
    for (const std::int64_t restarts : {1, 3, 9}) {
      const KMeans found =
          k_means(x, {.clusters = 12, .restarts = restarts, .most_iterations = 200});
      CHECK(found.inertia <= last);
      last = found.inertia;
      REQUIRE(found.has_converged);
      std::vector<double> sum(12 * 3), count(12);
      for (std::int64_t r = 0; r < 200; ++r) {
        ++count[found.cluster[r]];
        for (int d = 0; d < 3; ++d) sum[found.cluster[r] * 3 + d] += x.data<float>()[r * 3 + d];
      }
      double inertia = 0;
      for (std::int64_t r = 0; r < 200; ++r) {
        std::vector<double> distances(12);
        for (int c = 0; c < 12; ++c)
          for (int d = 0; d < 3; ++d)
            distances[c] += std::pow(x.data<float>()[r * 3 + d] - sum[c * 3 + d] / count[c], 2);
        const double nearest = *std::ranges::min_element(distances);
        CHECK(distances[found.cluster[r]] < nearest + 1e-5);  // centres are rounded to float32
        inertia += nearest;
      }
      CHECK(found.inertia == doctest::Approx(inertia).epsilon(1e-5));
    }
  }

  TEST_CASE("no cluster is left empty where rows repeat") {
    std::vector<float> values(40, 1.f);
    for (int i = 0; i < 5; ++i) values[i] = static_cast<float>(10 * i);
    const Tensor x = Tensor::from<float>({40, 1}, values);
    const KMeans found = k_means(x, {.clusters = 8, .restarts = 1});
    CHECK(found.inertia < 1e-9);
    CHECK_THROWS_WITH_AS(k_means(x, {.clusters = 41}),
                         doctest::Contains("k_means: 41 clusters of 40 rows"), Error);
    CHECK(k_means(x, {.clusters = 40}).inertia < 1e-9);
  }

  // Every pair once, sorted.
  void check_pairs(const Tensor& x, const Labels& labels, const RetrievalOptions& options) {
    const std::int64_t n = x.dim(0), dim = x.dim(1);
    Rows all(n);
    std::iota(all.begin(), all.end(), 0);
    std::set<std::pair<std::int64_t, std::int64_t>> pairs;
    for (const std::int64_t q : options.queries.value_or(all))
      for (const std::int64_t g : options.gallery.value_or(all))
        if (q != g && (options.groups.empty() || options.groups[q] < 0 ||
                       options.groups[q] != options.groups[g]))
          pairs.insert(std::minmax(q, g));
    std::vector<double> positive, negative;
    for (const auto& [a, b] : pairs) {
      double dot = 0, aa = 0, bb = 0, squares = 0;
      for (std::int64_t d = 0; d < dim; ++d) {
        const double u = x.data<float>()[a * dim + d], v = x.data<float>()[b * dim + d];
        dot += u * v, aa += u * u, bb += v * v, squares += (u - v) * (u - v);
      }
      const double score =
          options.distance == Distance::euclidean ? -std::sqrt(squares) : dot / std::sqrt(aa * bb);
      (labels[a] == labels[b] ? positive : negative).push_back(score);
    }
    const std::vector<double> fars = {0.3, 0.05, 1e-9};
    const Verification found = verify(x, labels, options, fars);
    CHECK(found.positives == std::ssize(positive));
    REQUIRE(found.negatives == std::ssize(negative));
    double higher = 0;
    for (const double p : positive)
      for (const double m : negative) higher += p > m ? 1 : p == m ? 0.5 : 0;
    higher /= double(positive.size()) * double(negative.size());
    CHECK(std::abs(found.auc - higher) <= found.auc_error + kRounding);
    const double bin = options.distance == Distance::cosine ? 8e-6 : 1e-4;
    for (const RocPoint& point : found.points) {
      CHECK(point.is_known == (point.far_target * double(negative.size()) >= 1));
      if (!point.is_known) continue;
      const auto share = [&](const std::vector<double>& scores, double threshold) {
        return double(std::ranges::count_if(scores, [&](double s) { return s >= threshold; })) /
               double(scores.size());
      };
      // Exact at the threshold, but for pairs within float32's rounding of it; one bin lower the
      // rate would be too high.
      CHECK(std::abs(point.tar - share(positive, point.threshold)) < 2 / double(positive.size()));
      CHECK(point.far <= point.far_target);
      CHECK(share(negative, point.threshold - bin) > point.far_target);
    }
  }

  TEST_CASE("verification looks at every pair that may be looked at, once") {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      CAPTURE(seed);
      const std::int64_t rows = 70;
      const Labels labels = random_labels(rows, 6, seed);
      RetrievalOptions options;
      if (seed % 2) options.distance = Distance::euclidean;
      if (seed % 3 == 1) options.groups = random_labels(rows, 9, seed + 50);
      Philox random(seed, 5);
      if (seed % 4 > 1) {
        options.queries = Rows{};
        options.gallery = Rows{};
        for (std::int64_t r = 0; r < rows; ++r) {
          if (random.uniform() < 0.6) options.queries->push_back(r);
          if (random.uniform() < 0.7) options.gallery->push_back(r);
        }
      }
      if (seed % 5 == 3) options.query_tile = options.gallery_tile = 9;
      check_pairs(cloud(rows, 4, seed), labels, options);
    }
  }

  TEST_CASE("the ROC curve falls from all pairs accepted, through the points asked for") {
    const std::int64_t rows = 300;
    Labels labels = random_labels(rows, 5, 1);
    Tensor x = cloud(rows, 6, 2);
    for (std::int64_t r = 0; r < rows; ++r) x.data<float>()[r * 6 + labels[r]] += 1;
    const std::vector<double> fars = {0.1, 0.01};
    const Verification found = verify(x, labels, {}, fars);
    const std::vector<RocPoint>& curve = found.curve;
    REQUIRE(curve.size() > 60);  // 35,000 pairs of two classes: more than four decades
    CHECK(curve.front().tar == 1);
    CHECK(curve.front().far == 1);
    double area = 0;  // by trapezoids, from FAR 1 down
    for (std::size_t i = 1; i < curve.size(); ++i) {
      CHECK(curve[i].far <= curve[i - 1].far);
      CHECK(curve[i].tar <= curve[i - 1].tar);
      CHECK(curve[i].threshold > curve[i - 1].threshold);
      area += (curve[i - 1].far - curve[i].far) * (curve[i - 1].tar + curve[i].tar) / 2;
    }
    CHECK(area == doctest::Approx(found.auc).epsilon(0.002));
    for (const RocPoint& point : found.points)
      CHECK(std::ranges::any_of(curve, [&](const RocPoint& other) {
        return other.far == point.far && other.tar == point.tar;
      }));
  }

  TEST_CASE("verification without pairs of both kinds has no numbers") {
    const Tensor x = cloud(4, 3, 1);
    const std::vector<double> fars = {0.1};
    for (const Labels& labels : {Labels{1, 1, 1, 1}, Labels{0, 1, 2, 3}}) {
      const Verification found = verify(x, labels, {}, fars);
      CHECK(std::isnan(found.auc));
      CHECK_FALSE(found.points[0].is_known);
      CHECK(found.curve.empty());
    }
    const std::vector<double> wrong = {1.5};
    CHECK_THROWS_AS(verify(x, Labels{1, 1, 1, 1}, {}, wrong), UsageError);
  }

  TEST_CASE("metric names are read, spelt out and refused") {
    std::vector<std::string> names = {"r@1", "10",       "p@5",  "20",
                                      "map", "tar@1e-3", "1e-2", "ndcg@7"};
    spell_out_metrics(names);
    CHECK(names == std::vector<std::string>{"r@1", "r@10", "p@5", "p@20", "map", "tar@1e-3",
                                            "tar@1e-2", "ndcg@7"});
    const MetricChoice choice = metric_choice(names);
    CHECK(choice.recall_at == Rows{1, 10});
    CHECK(choice.precision_at == Rows{5, 20});
    CHECK(choice.ndcg_at == Rows{7});
    CHECK(choice.tar_at == std::vector<double>{1e-2, 1e-3});
    CHECK(choice.wants_map);
    CHECK_FALSE(choice.wants_mrr);
    CHECK_FALSE(choice.wants_clustering());
    CHECK(metric_names(choice) == std::vector<std::string>{"R@1", "R@10", "MAP@R", "RP", "P@5",
                                                           "P@20", "mAP", "nDCG@7", "TAR@1e-2",
                                                           "TAR@1e-3"});
    CHECK(metric_names(metric_choice({})) == std::vector<std::string>{"R@1", "MAP@R", "RP"});
    CHECK(metric_names(metric_choice({"all", "r@4"})) ==
          std::vector<std::string>{"R@1", "R@4", "MAP@R", "RP", "P@4", "mAP", "MRR", "nDCG@4",
                                   "NMI", "NMI-geometric", "AMI", "AMI-geometric", "TAR@1e-1",
                                   "TAR@1e-2", "TAR@1e-3", "TAR@1e-4", "AUC"});
    CHECK(metric_choice({"all"}).recall_at == std::vector<std::int64_t>{1, 2, 4, 8});
    CHECK(metric_choice({"all"}).ndcg_at == std::vector<std::int64_t>{2, 4, 8});
    const auto refusal = [](const std::string& name) -> std::string {
      try {
        metric_choice({name}, "--metrics");
      } catch (const UsageError& error) {
        return error.message();
      }
      return "";
    };
    CHECK(refusal("p@0") == "--metrics: expected p@K with K from 1 to 1000000, got 'p@0'");
    CHECK(refusal("tar@2") ==
          "--metrics: expected tar@FAR with a false accept rate between 0 and 1 as tar@1e-3, got "
          "'tar@2'");
    CHECK(refusal("nim").ends_with("got 'nim'. Did you mean 'nmi'?"));
    CHECK(refusal("r@") != "");
    CHECK(refusal("7") != "");
  }

  TEST_CASE("what cannot be computed has a reason and no number") {
    const MetricChoice choice = metric_choice({"all"});
    const auto reason = [&](const Tensor& x, const Labels& labels, const std::string& name) {
      const auto values = metric_values(measure(x, labels, {}, choice));
      const auto at = std::ranges::find(values, name, &MetricValue::name);
      REQUIRE(at != values.end());
      CHECK(at->is_known() == at->reason.empty());
      return at->reason;
    };
    const Tensor x = cloud(6, 4, 2);
    const Labels one(6, 1), alone = {0, 1, 2, 3, 4, 5}, pairs = {0, 0, 1, 1, 2, 2};
    for (const char* name : {"NMI", "NMI-geometric", "AMI", "AMI-geometric"}) {
      CHECK(reason(x, one, name) == "there is one class only");
      CHECK(reason(x, alone, name) == "every class has a single picture");
      CHECK(reason(x, pairs, name).empty());
      CHECK(reason(Tensor::full({6, 4}, DType::f32, 1), pairs, "R@1").empty());
    }
    for (const char* name : {"AUC", "TAR@1e-1"}) {
      CHECK(reason(x, one, name) == "no pair to compare is of two classes");
      CHECK(reason(x, alone, name) == "no pair to compare is of one class");
      CHECK(reason(x, pairs, name).empty());
    }
    CHECK(reason(x, pairs, "TAR@1e-2") == "12 pairs of different classes cannot tell such a rate");
    for (const char* name : {"R@1", "MAP@R", "RP", "mAP", "MRR"}) {
      CHECK(reason(x, alone, name) == "no query has a match");
      CHECK(reason(x, one, name).empty());
    }
    // Nothing to measure is told from measuring nothing.
    const RetrievalOptions no_queries{.queries = std::vector<std::int64_t>{}};
    for (const MetricValue& metric : metric_values(measure(x, pairs, no_queries, choice)))
      if (!metric.name.starts_with("NMI") && !metric.name.starts_with("AMI"))
        CHECK(metric.reason == (metric.name == "AUC" || metric.name.starts_with("TAR")
                                    ? "there are no pairs to compare"
                                    : "there are no queries"));
    const Json record = to_json(measure(x, alone, {}, choice));
    CHECK(record.text().find("nan") == std::string::npos);
    CHECK(record.text().starts_with(
        R"({"R@1": null, "R@2": null, "R@4": null, "R@8": null, "MAP@R": null, )"));
    CHECK(record.text().find(R"("reasons": {"R@1": "no query has a match")") != std::string::npos);
  }

  TEST_CASE("the worst classes come first") {
    RetrievalResult result;
    result.first_match = {0, 3, 0, -1, 0, 1};
    const std::vector<std::string> names = {"b", "b", "a", "lone", "unused", "c", "d"};
    const RetrievalOptions options{.queries = Rows{0, 1, 2, 3, 5, 6}};
    const auto parts = recall_by_part(result, options, names);
    REQUIRE(parts.size() == 4);
    CHECK(to_json(parts).text() ==
          R"([{"name": "d", "queries": 1, "R@1": 0}, {"name": "b", "queries": 2, "R@1": 0.5}, )"
          R"({"name": "a", "queries": 1, "R@1": 1}, {"name": "c", "queries": 1, "R@1": 1}])");
    CHECK_THROWS_AS(recall_by_part(result, {}, names), Error);
  }
}
}  // namespace proxent
