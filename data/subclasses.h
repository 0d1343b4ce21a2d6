// Data sets whose training classes hide finer ones: the test of whether several proxies per class
// find them. Retrieval is judged on the fine classes, apart.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/dataset.h"

namespace proxent {

// The samples with each class renamed, so that classes of one new name become one; those renamed ""
// go away. What a sample's class was called becomes its `fine` label. New classes are numbered in
// the order of their first old class.
Dataset with_joined_classes(const Dataset& dataset,
                            const std::function<std::string(const std::string&)>& new_name,
                            std::string name);

// Of glyph_dataset(): training classes are letters with both cases in one, "Aa", as drawn in two
// thirds of the font families; the others' letters, with the cases apart, are the test.
DatasetSplits with_joined_cases(const DatasetSplits& glyphs);

// Of Fashion-MNIST's two files: tops (T-shirt/top, Pullover, Coat, Shirt), bottoms (Trouser,
// Dress), shoes (Sandal, Sneaker, Ankle boot) and bags train; the test file is judged on its ten
// classes.
DatasetSplits with_coarse_clothes(const DatasetSplits& clothes);

// Gives samples the fine labels of a table with the columns path (relative to the table's folder)
// and fine_label. Throws DataError where a column is missing, a path is there twice, or no picture
// of the data set is.
void read_fine_labels(Dataset& dataset, const std::filesystem::path& table);

}  // namespace proxent
