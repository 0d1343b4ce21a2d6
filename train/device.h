// Where a command computes, from what the user wrote.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/device.h"
#include "tensor/dtype.h"
#include "train/settings.h"

namespace proxent {

using ThreadCount = std::optional<std::int64_t>;  // none: one per core

// The settings `device` and `threads`, which every computing command has.
void add_compute(Settings& settings, std::string* device, ThreadCount* threads);

// Sets the number of threads and chooses the device. "auto" is the GPU where this build has one and
// it can be used, else the processor; "cpu", "cuda" and "cuda:1" are that one. Throws UsageError
// for another text, CudaError where the GPU cannot be used.
Device set_up_compute(const std::string& device, ThreadCount threads);

// The dtype in which a backbone takes its images under a run.precision: "f32", "tf32", "bf16" or
// "fp16".
DType image_dtype_of(std::string_view precision);
// The same, and makes the device's products follow it and repeat their bits or not. Throws
// UsageError for all but f32 on the processor, whose convolutions are f32 and always repeat them.
DType set_up_precision(const std::string& precision, Device device, bool is_deterministic = true);

// "cpu, 2 threads" or "cuda, NVIDIA H100 80GB HBM3".
std::string describe(Device device);

}  // namespace proxent
