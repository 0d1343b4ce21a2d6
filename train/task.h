// What a run learns from and is judged on: a data set after the protocol has divided it, with the
// transforms of training and evaluation.
#pragma once

#include <string>
#include <string_view>

#include "data/loader.h"
#include "train/config.h"
#include "train/selection.h"

namespace proxent {

struct Task {
  Dataset train;
  Dataset validation;  // training classes that choose the epoch; empty unless protocol val or mlrc
  Dataset test;        // classes that training never sees
  Transform train_transform, eval_transform;
  std::string description;  // of the data set and how it was divided

  // How the reported epoch was chosen; printed beside every number.
  Selection selection = Selection::last_epoch;
};

// Opens and divides the data. Throws DataError or UsageError (an empty training set, fewer than two
// classes, a batch larger than the training set).
Task open_task(const Config& config);

// What opens the data set that a configuration names.
DatasetOptions dataset_options_of(const DataConfig& config);
// One part of the data, to be looked at rather than trained on: train, validation or test as
// open_task divides them, or all of them, where classes of one name are one. Throws UsageError for
// another name, DataError when the part is empty.
Dataset open_split(const Config& config, std::string_view split);

// The two transforms of a configuration: training draws its crop and flip, evaluation takes the
// centre (or the whole picture where training does).
Transform train_transform_of(const DataConfig& config);
Transform eval_transform_of(const DataConfig& config);
// Which pictures make up which batch.
SamplerOptions sampler_options_of(const Config& config);
// How pictures are read ahead, for either transform.
LoaderOptions loader_options_of(const Config& config, const Transform& transform);

}  // namespace proxent
