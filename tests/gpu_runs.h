// Runs on the GPU, or its emulation, that must agree in every bit, in memory that starts as NaN and
// has canaries behind every tensor. Files that include this are listed in tests/CMakeLists.txt.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "tensor/gpu.h"

#ifdef PROXENT_CUDA_EMULATED
#include "tests/cuda_emulator/emulator.h"
#endif

namespace proxent {

// run() under several orders of the threads where they are emulated, in one of them with streams
// that work as late as they may: a kernel that lacks a barrier, or a copy that lacks a wait, does
// not give the same bits in all. Twice on a real GPU.
template <class Run>
std::vector<std::invoke_result_t<Run>> in_thread_orders([[maybe_unused]] std::uint64_t seed,
                                                        const Run& run) {
  std::vector<std::invoke_result_t<Run>> all;
#ifdef PROXENT_CUDA_EMULATED
  using cuda_emulator::Order, cuda_emulator::Streams;
  struct AsUsual {
    ~AsUsual() {
      cuda_emulator::set_order(Order::forward);
      cuda_emulator::set_streams(Streams::at_once);
    }
  } as_usual;
  for (const Order order : {Order::reverse, Order::shuffled, Order::forward}) {
    cuda_emulator::set_order(order, seed);
    cuda_emulator::set_streams(order == Order::shuffled ? Streams::late : Streams::at_once);
    all.push_back(run());
  }
#else
  for (int i = 0; i < 2; ++i) all.push_back(run());
#endif
  return all;
}

}  // namespace proxent
