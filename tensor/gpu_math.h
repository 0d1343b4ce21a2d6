// How exact, how repeatable and how hungry the GPU's convolutions and matrix products are. Plain
// C++: it can be set in builds without CUDA, where it has no effect.
#pragma once

#include <cstdint>

namespace proxent {

struct GpuMath {
  // Convolutions round float32 factors to 10 bits of mantissa (TF32, relative error 2^-11) and
  // multiply them on tensor cores; sums stay float32. Matrix products, of which head and loss are
  // made, never do.
  bool uses_tf32 = false;
  // The same bits in every run: no engine that adds in the order in which threads arrive.
  bool is_deterministic = true;
  // 2 or more: the first call of each size times that many engines, and later ones take the
  // fastest. Which one that is may differ from run to run, and the last bits with it. 0: trust the
  // libraries' own ranking.
  std::int64_t timed_engines = 0;
  // Bytes of scratch memory that an engine may ask for. One block serves all engines.
  std::int64_t workspace_limit = std::int64_t{512} << 20;
};

const GpuMath& gpu_math();
// For every call from now on. Not while another thread computes. Throws Error for numbers below 0.
void set_gpu_math(const GpuMath& math);

}  // namespace proxent
