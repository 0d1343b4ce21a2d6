// Stands in for CUDA's header of this name.
#pragma once

#include "tests/cuda_emulator/host_functions.h"
