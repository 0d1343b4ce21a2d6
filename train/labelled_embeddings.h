// Embeddings beside the table of what they are of: embeddings.npy and embeddings.csv.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/embed.h"
#include "train/selection.h"

namespace proxent {

// How embeddings came about: how the weights were chosen, and provenance(). Of embeddings from
// elsewhere both are unknown.
struct EmbeddingOrigin {
  std::optional<Selection> selection = {};
  std::string provenance = {};
};

// For embeddings of `dataset`. Throws UsageError unless the file ends in .npy, or if a file lies at
// the place of the table that names the pictures or is not such a table; DataError unless its
// folder is there.
void check_embeddings_path(const std::filesystem::path& npy, const Dataset& dataset);
// Writes the rows to `npy` and, beside it with the ending .csv, a table with a line per row:
//   path,label,group,category,is_query,is_gallery,selection,provenance
// The label is the class' name; the last two, the same in every row, say how the rows came about.
// Throws what check_embeddings_path does, and DataError when the disk refuses.
void write_labelled_embeddings(const std::filesystem::path& npy, const Dataset& dataset,
                               const Embeddings& embeddings, const EmbeddingOrigin& origin);

struct LabelledEmbeddings {
  Embeddings embeddings;     // labels are numbered in the order of their first row
  RetrievalOptions options;  // queries, gallery and groups, where the table has those columns
  std::vector<std::string> class_names;  // by label
  std::vector<std::string> categories;   // of the rows; empty where none has one
  // Where rows differ: every provenance, and test_selected if that is among them, else none.
  EmbeddingOrigin origin;
};

// Reads a pair back; of the columns only label is needed, so tables of other tools serve too.
// An empty `csv` is the file beside `npy`. Throws DataError: not a matrix, another number of rows
// than the table, no column label, an empty label.
LabelledEmbeddings read_labelled_embeddings(const std::filesystem::path& npy,
                                            std::filesystem::path csv = {});

}  // namespace proxent
