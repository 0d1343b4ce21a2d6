#include "train/labelled_embeddings.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <string>

#include "data/csv_table.h"
#include "train/atomic_file.h"
#include "train/npy.h"

namespace proxent {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kHeader =
    "path,label,group,category,is_query,is_gallery,selection,provenance";

fs::path table_beside(fs::path npy) { return npy.replace_extension(".csv"); }

// Nobody named the table's file: all it may replace is the table of earlier embeddings.
void check_replaceable(const fs::path& table, const std::string& list) {
  if (!fs::exists(table)) return;
  std::error_code ignored;
  std::string header;
  std::getline(std::ifstream(table), header);
  const char* reason = fs::equivalent(table, list, ignored) ? "which names the pictures"
                       : header != kHeader                  ? "which embed did not write"
                                                            : nullptr;
  check<UsageError>(reason == nullptr, "embed: the table of the embeddings would replace ",
                    table.string(), ", ", reason ? reason : "", ". Move it, or choose another -o");
}

// Numbers texts in the order in which they come.
class Numbering {
 public:
  std::int32_t operator()(const std::string& text) {
    return ids_.try_emplace(text, static_cast<std::int32_t>(ids_.size())).first->second;
  }

  std::int64_t count() const { return std::ssize(ids_); }

 private:
  std::map<std::string, std::int32_t> ids_;
};

// Rows of several checkpoints may have been put into one table. What other tools call a selection
// is not ours.
EmbeddingOrigin origin_in(const CsvTable& table) {
  if (!table.has_column("provenance")) return {};
  std::set<std::string> selections, provenances;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    selections.insert(table.text(row, "selection"));
    provenances.insert(table.text(row, "provenance"));
  }
  EmbeddingOrigin origin;
  for (const std::string& text : provenances)
    if (!text.empty()) origin.provenance += (origin.provenance.empty() ? "" : "; ") + text;
  const std::string flattering(name_of(Selection::test_selected));
  const std::string name = selections.contains(flattering) ? flattering
                           : selections.size() == 1        ? *selections.begin()
                                                           : "";
  if (!name.empty()) origin.selection = selection_from_name(name, table.place(0));
  return origin;
}

Tensor read_matrix(const fs::path& npy) {
  const Tensor matrix = read_npy(npy);
  check<DataError>(matrix.shape().rank() == 2 && is_float(matrix.dtype()), npy.string(),
                   ": embeddings must be a float matrix (rows, features), got ", matrix);
  check<DataError>(matrix.dim(1) >= 1, npy.string(), ": embeddings without features, got ", matrix);
  Tensor rows = matrix.to(DType::f32);
  for (std::int64_t i = 0; i < rows.numel(); ++i)
    check<DataError>(std::isfinite(rows.data<float>()[i]), npy.string(), ": row ", i / rows.dim(1),
                     " holds ", rows.data<float>()[i]);
  return rows;
}

}  // namespace

void check_embeddings_path(const fs::path& npy, const Dataset& dataset) {
  check<UsageError>(npy.extension() == ".npy", "embed: the file must end in .npy, got ",
                    npy.string());
  const fs::path folder = npy.has_parent_path() ? npy.parent_path() : ".";
  check<DataError>(fs::is_directory(folder), "embed: there is no folder ", folder.string(),
                   " to write ", npy.filename().string(), " in");
  check_replaceable(table_beside(npy), dataset.list);
}

void write_labelled_embeddings(const fs::path& npy, const Dataset& dataset,
                               const Embeddings& embeddings, const EmbeddingOrigin& origin) {
  check_embeddings_path(npy, dataset);
  std::string table = std::string(kHeader) + "\n";
  const std::string came_about = "," +
                                 std::string(origin.selection ? name_of(*origin.selection) : "") +
                                 "," + csv_field(origin.provenance) + "\n";
  for (const std::int64_t index : embeddings.samples) {
    const Sample& sample = dataset.samples[index];
    table += csv_field(sample.path) + "," + csv_field(dataset.class_names[sample.label]) + "," +
             csv_field(sample.group) + "," + csv_field(sample.category) +
             (sample.is_query ? ",True" : ",False") + (sample.is_gallery ? ",True" : ",False") +
             came_about;
  }
  write_npy(npy, embeddings.values.to(Device::cpu));
  write_file_atomically(table_beside(npy), table);
}

LabelledEmbeddings read_labelled_embeddings(const fs::path& npy, fs::path csv) {
  if (csv.empty()) csv = table_beside(npy);
  LabelledEmbeddings read;
  read.embeddings.values = read_matrix(npy);
  const CsvTable table = CsvTable::read(csv);
  table.require_columns({"label"}, "path,label,group,category,is_query,is_gallery");
  check<DataError>(table.rows() == read.embeddings.values.dim(0), csv.string(), ": ", table.rows(),
                   " rows, but ", npy.string(), " has ", read.embeddings.values.dim(0));
  read.origin = origin_in(table);
  Numbering label, group;
  std::vector<std::int64_t> queries, gallery;
  for (std::int64_t row = 0; row < table.rows(); ++row) {
    check<DataError>(!table.text(row, "label").empty(), table.place(row), ": the label is empty");
    read.embeddings.labels.push_back(label(table.text(row, "label")));
    if (label.count() > std::ssize(read.class_names))
      read.class_names.push_back(table.text(row, "label"));
    if (table.has_column("category")) read.categories.push_back(table.text(row, "category"));
    const std::string& name = table.text(row, "group");
    read.options.groups.push_back(name.empty() ? -1 : group(name));
    if (table.flag(row, "is_query", true)) queries.push_back(row);
    if (table.flag(row, "is_gallery", true)) gallery.push_back(row);
  }
  if (std::ranges::all_of(read.categories, &std::string::empty)) read.categories.clear();
  read.embeddings.samples.resize(table.rows());
  std::iota(read.embeddings.samples.begin(), read.embeddings.samples.end(), 0);
  read.options.queries = std::move(queries);
  read.options.gallery = std::move(gallery);
  return read;
}

}  // namespace proxent
