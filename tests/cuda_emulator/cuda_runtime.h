// Stands in for CUDA's header of this name when kernels are compiled as C++: words, types, device
// functions and host functions, as many as the sources use and with the real ones' signatures.
#pragma once

#include "tests/cuda_emulator/device_functions.h"
#include "tests/cuda_emulator/host_functions.h"
#include "tests/cuda_emulator/vector_types.h"
