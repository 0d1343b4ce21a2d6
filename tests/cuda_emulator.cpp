// The emulator that runs CUDA kernels without a GPU: what kernels compute, that planted bugs are
// found, and that what a stream captured replays. Not part of a build with the real CUDA.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "tests/cuda_emulator/emulator.h"

namespace {
using cuda_emulator::Order;

constexpr unsigned kAll = 0xffffffffu;

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
                   Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

std::string text(cudaError_t error) { return cudaGetErrorString(error); }
bool contains(const std::string& whole, const std::string& part) {
  return whole.find(part) != std::string::npos;
}

// The results of run() under six orders of the threads; the last leaves the order as it was.
template <class Run>
auto in_all_orders(const Run& run) {
  std::vector<decltype(run())> results;
  cuda_emulator::set_order(Order::reverse);
  results.push_back(run());
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    cuda_emulator::set_order(Order::shuffled, seed);
    results.push_back(run());
  }
  cuda_emulator::set_order(Order::forward);
  results.push_back(run());
  return results;
}
template <class T>
bool are_all_equal(const std::vector<T>& values) {
  for (const T& value : values)
    if (!(value == values[0])) return false;
  return true;
}

// ---- kernels that are right

__global__ void index_kernel(int* y) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(block * 100 + thread);
}

// y[i] = sum of x over the block.
template <bool kHasBarrier>
__global__ void sum_kernel(const int* x, int* y) {
  __shared__ int values[128];
  values[threadIdx.x] = x[threadIdx.x];
  if (kHasBarrier) __syncthreads();
  int sum = 0;
  for (unsigned i = 0; i < blockDim.x; ++i) sum += values[i];
  y[threadIdx.x] = sum;
}

// The tree of a reduction over shared memory; the last steps need their barriers too.
template <bool kHasBarrier>
__global__ void tree_kernel(const int* x, int* y) {
  __shared__ int values[128];
  values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  for (unsigned step = 64; step > 0; step /= 2) {
    if (threadIdx.x < step) values[threadIdx.x] += values[threadIdx.x + step];
    if (kHasBarrier || step > 1) __syncthreads();
  }
  y[threadIdx.x] = values[0];
}

__global__ void reverse_kernel(const float* x, float* y) {
  auto* values = reinterpret_cast<float*>(cuda_emulator::dynamic_shared_memory());
  values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

struct WarpResults {
  int idx, up, down, exchanged, any, all, count;
  unsigned ballot, sum, smallest, largest, either, match;
  int signed_smallest;
  double wide;
  bool operator==(const WarpResults&) const = default;
};
__global__ void warp_kernel(WarpResults* y) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  WarpResults& r = y[threadIdx.x];
  r.idx = __shfl_sync(kAll, lane * 10, 5);
  r.up = __shfl_up_sync(kAll, lane, 3);
  r.down = __shfl_down_sync(kAll, lane, 3, 8);
  r.exchanged = __shfl_xor_sync(kAll, lane, 16);
  r.wide = __shfl_sync(kAll, lane + 0.5, 31 - lane);
  r.ballot = __ballot_sync(kAll, lane % 3 == 0);
  r.any = __any_sync(kAll, lane == 7);
  r.all = __all_sync(kAll, lane < 31);
  r.sum = __reduce_add_sync(kAll, static_cast<unsigned>(lane));
  r.smallest = __reduce_min_sync(kAll, static_cast<unsigned>(lane + 3));
  r.largest = __reduce_max_sync(kAll, static_cast<unsigned>(lane + 3));
  r.signed_smallest = __reduce_min_sync(kAll, lane - 9);
  r.either = __reduce_or_sync(kAll, 1u << lane);
  r.match = __match_any_sync(kAll, lane / 4);
  r.count = __syncthreads_count(lane < 4);
}

// Half of a warp meets twice, the other half once.
__global__ void halves_kernel(int* y) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int value = lane;
  if (lane < 16) value = __shfl_xor_sync(mask, value, 1);
  value = __shfl_xor_sync(mask, value, 2);
  y[lane] = value;
}

__global__ void count_kernel(const int* x, int n, int* histogram) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) atomicAdd(&histogram[x[i]], 1);
}

// ---- planted bugs

[[maybe_unused]] __global__ void overrun_kernel(float*) {  // not under AddressSanitizer
  auto* values = reinterpret_cast<float*>(cuda_emulator::dynamic_shared_memory());
  values[threadIdx.x + 1] = 1;
}
__global__ void early_return_kernel(int n) {
  if (static_cast<int>(threadIdx.x) >= n) return;
  __syncthreads();
}
__global__ void divergent_kernel() {
  if (threadIdx.x % 2 == 0)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void lost_lanes_kernel(int* y) {
  if (threadIdx.x < 20) y[threadIdx.x] = __shfl_xor_sync(kAll, static_cast<int>(threadIdx.x), 1);
  __syncthreads();
}
__global__ void ended_lane_kernel(int* y) {
  if (threadIdx.x == 9) return;
  y[threadIdx.x] = __shfl_xor_sync(kAll, static_cast<int>(threadIdx.x), 1);
}
__global__ void foreign_mask_kernel() { __syncwarp(0x0000ffffu); }
// The forgotten tail: a grid that is rounded down.
__global__ void copy_kernel(const float* x, float* y) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i];
}
}  // namespace

TEST_SUITE("cuda emulator") {
  TEST_CASE("threads and blocks know their places") {
    std::vector<int> y(2 * 3 * 4 * 5 * 2 * 3, -1);
    const auto run = [&] {
      std::fill(y.begin(), y.end(), -1);
      CHECK(launch(index_kernel, dim3(2, 3, 4), dim3(5, 2, 3), 0, y.data()) == cudaSuccess);
      return y;
    };
    const auto results = in_all_orders(run);
    CHECK(are_all_equal(results));
    for (std::size_t i = 0; i < y.size(); ++i)
      CHECK(y[i] == static_cast<int>(i / 30 * 100 + i % 30));
  }

  TEST_CASE("barriers, shared memory and atomics") {
    std::vector<int> x(128), y(128);
    std::iota(x.begin(), x.end(), 1);
    for (const auto kernel : {sum_kernel<true>, tree_kernel<true>}) {
      const auto results = in_all_orders([&] {
        CHECK(launch(kernel, 1, 128, 0, x.data(), y.data()) == cudaSuccess);
        return y;
      });
      CHECK(are_all_equal(results));
      CHECK(results[0] == std::vector<int>(128, 128 * 129 / 2));
    }
    std::vector<int> histogram(3);
    std::vector<int> classes(1000);
    for (int i = 0; i < 1000; ++i) classes[static_cast<std::size_t>(i)] = i % 3;
    CHECK(launch(count_kernel, 8, 128, 0, classes.data(), 1000, histogram.data()) == cudaSuccess);
    CHECK(histogram == std::vector<int>{334, 333, 333});

    std::vector<float> from(37), to(37);
    std::iota(from.begin(), from.end(), 0.0f);
    CHECK(launch(reverse_kernel, 1, 37, 37 * sizeof(float), from.data(), to.data()) == cudaSuccess);
    for (int i = 0; i < 37; ++i) CHECK(to[static_cast<std::size_t>(i)] == 36 - i);
  }

  TEST_CASE("warp functions") {
    std::vector<WarpResults> y(64);
    const auto results = in_all_orders([&] {
      CHECK(launch(warp_kernel, 1, 64, 0, y.data()) == cudaSuccess);
      return y;
    });
    CHECK(are_all_equal(results));
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      const WarpResults& r = y[static_cast<std::size_t>(i)];
      CHECK(r.idx == 50);
      CHECK(r.up == (lane < 3 ? lane : lane - 3));
      CHECK(r.down == (lane % 8 > 4 ? lane : lane + 3));
      CHECK(r.exchanged == (lane ^ 16));
      CHECK(r.wide == 31 - lane + 0.5);
      CHECK(r.ballot == 0x49249249u);
      CHECK(r.any == 1);
      CHECK(r.all == 0);
      CHECK(r.sum == 31 * 16);
      CHECK(r.smallest == 3);
      CHECK(r.largest == 34);
      CHECK(r.signed_smallest == -9);
      CHECK(r.either == kAll);
      CHECK(r.match == 0xfu << lane / 4 * 4);
      CHECK(r.count == 8);
    }
    std::vector<int> halves(32);
    CHECK(launch(halves_kernel, 1, 32, 0, halves.data()) == cudaSuccess);
    for (int i = 0; i < 32; ++i)
      CHECK(halves[static_cast<std::size_t>(i)] == (i < 16 ? i ^ 3 : i ^ 2));
  }

  TEST_CASE("a missing barrier shows as results that depend on the order") {
    std::vector<int> x(128), y(128);
    std::iota(x.begin(), x.end(), 1);
    for (const auto kernel : {sum_kernel<false>, tree_kernel<false>})
      CHECK_FALSE(are_all_equal(in_all_orders([&] {
        CHECK(launch(kernel, 1, 128, 0, x.data(), y.data()) == cudaSuccess);
        return y;
      })));
  }

  TEST_CASE("a barrier that not all threads reach is an error and no hang") {
    in_all_orders([&] {
      const cudaError_t error = launch(early_return_kernel, 3, 96, 0, 70);
      CHECK(error == cudaErrorLaunchFailure);
      CHECK(contains(text(error), "70 (as (0, 0, 0)) wait in __syncthreads at cuda_emulator.cpp:"));
      CHECK(contains(text(error), "26 (as (70, 0, 0)) have ended"));
      return 0;
    });
    CHECK(launch(early_return_kernel, 3, 96, 0, 96) == cudaSuccess);
    const cudaError_t error = launch(divergent_kernel, 1, 64, 0);
    CHECK(error == cudaErrorLaunchFailure);
    CHECK(contains(text(error), "32 (as (0, 0, 0)) wait in __syncthreads"));
    CHECK(contains(text(error), "32 (as (1, 0, 0)) wait in __syncthreads"));
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure);  // or the next test would find it
  }

  TEST_CASE("a shuffle whose lanes do not come, or have ended, is an error") {
    std::vector<int> y(32);
    const cudaError_t lost = launch(lost_lanes_kernel, 1, 32, 0, y.data());
    CHECK(lost == cudaErrorLaunchFailure);
    CHECK(contains(text(lost), "20 (as (0, 0, 0)) wait in __shfl of lanes 0xffffffff"));
    CHECK(contains(text(lost), "12 (as (20, 0, 0)) wait in __syncthreads"));

    const cudaError_t ended = launch(ended_lane_kernel, 1, 32, 0, y.data());
    CHECK(ended == cudaErrorLaunchFailure);
    CHECK(contains(text(ended), "thread (8, 0, 0) of block (0, 0, 0): __shfl"));
    CHECK(contains(text(ended), "reads lane 9, which does not take part"));

    const cudaError_t foreign = launch(foreign_mask_kernel, 1, 32, 0);
    CHECK(contains(text(foreign), "__syncwarp: the calling lane is not in its mask"));
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
    CHECK(cudaGetLastError() == cudaSuccess);
  }

#ifndef PROXENT_SANITIZE_ADDRESS  // which ends the program itself
  TEST_CASE("a write behind dynamic shared memory is an error") {
    const cudaError_t error = launch(overrun_kernel, 1, 32, 32 * sizeof(float), nullptr);
    CHECK(error == cudaErrorLaunchFailure);
    CHECK(contains(text(error), "wrote behind its 128 bytes of dynamic shared memory"));
    CHECK(cudaGetLastError() == cudaErrorLaunchFailure);
    CHECK(launch(overrun_kernel, 1, 31, 32 * sizeof(float), nullptr) == cudaSuccess);
  }
#endif

  TEST_CASE("a forgotten tail leaves what was there") {
    std::vector<float> x(100, 1.0f), y(100, std::nanf(""));
    CHECK(launch(copy_kernel, 100 / 32, 32, 0, x.data(), y.data()) == cudaSuccess);
    CHECK(y[95] == 1);
    CHECK(std::isnan(y[96]));
  }

  TEST_CASE("launches beyond the device's limits are refused") {
    std::vector<int> y(1);
    CHECK(launch(index_kernel, 1, 1025, 0, y.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(index_kernel, dim3(1, 65536), 1, 0, y.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(index_kernel, 0, 1, 0, y.data()) == cudaErrorInvalidConfiguration);
    CHECK(launch(reverse_kernel, 1, 1, 49 << 10, nullptr, nullptr) == cudaErrorInvalidValue);
    cudaGetLastError();
    std::vector<float> x(1), z(1);
    CHECK(cudaFuncSetAttribute(reverse_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               64 << 10) == cudaSuccess);
    CHECK(launch(reverse_kernel, 1, 1, 49 << 10, x.data(), z.data()) == cudaSuccess);
  }

  TEST_CASE("bf16 and half round to nearest even, keep NaN and infinity") {
    CHECK(float(__float2bfloat16_rn(1.00390625f)) == 1.0f);       // 1 + 2^-8: a tie, to even
    CHECK(float(__float2bfloat16_rn(1.01171875f)) == 1.015625f);  // 1 + 3 * 2^-8: a tie, to even
    CHECK(float(__float2bfloat16_rn(3.4e38f)) == INFINITY);
    CHECK(std::isnan(float(__float2bfloat16_rn(std::nanf("")))));
    CHECK(float(__float2half_rn(65504.0f)) == 65504.0f);
    CHECK(float(__float2half_rn(65520.0f)) == INFINITY);  // halfway to 65536
    CHECK(float(__float2half_rn(65519.0f)) == 65504.0f);
    CHECK(float(__float2half_rn(1.00048828125f)) == 1.0f);  // 1 + 2^-11: a tie, to even
    CHECK(float(__float2half_rn(-0x1p-24f)) == -0x1p-24f);  // the smallest subnormal
    CHECK(float(__float2half_rn(0x1p-25f)) == 0.0f);        // a tie, to even
    CHECK(float(__float2half_rn(0x1.8p-24f)) == 0x1p-23f);  // a tie, to even
    CHECK(std::isnan(float(__float2half_rn(std::nanf("")))));
    for (unsigned bits = 0; bits < 0x10000; ++bits) {
      const auto b = __ushort_as_bfloat16(static_cast<unsigned short>(bits));
      const auto h = __ushort_as_half(static_cast<unsigned short>(bits));
      if (!std::isnan(float(b))) CHECK(__bfloat16_as_ushort(__float2bfloat16_rn(float(b))) == bits);
      if (!std::isnan(float(h))) CHECK(__half_as_ushort(__float2half_rn(float(h))) == bits);
    }
  }

  TEST_CASE("late streams show a missing wait") {
    using cuda_emulator::Streams;
    cudaStream_t copies, compute;
    CHECK(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking) == cudaSuccess);
    CHECK(cudaStreamCreateWithFlags(&compute, cudaStreamNonBlocking) == cudaSuccess);
    cudaEvent_t arrived;
    CHECK(cudaEventCreate(&arrived) == cudaSuccess);
    void* pinned = nullptr;
    CHECK(cudaHostAlloc(&pinned, 128 * sizeof(int), 0) == cudaSuccess);
    int* host = static_cast<int*>(pinned);
    std::vector<int> x(128), y(128);
    cudaLaunchConfig_t config{};
    config.blockDim = 128;
    config.stream = compute;
    const auto run = [&](bool waits_for_copy, bool waits_before_reuse) {
      std::fill_n(host, 128, 1);
      CHECK(cudaMemcpyAsync(x.data(), host, 128 * sizeof(int), cudaMemcpyHostToDevice, copies) ==
            cudaSuccess);
      CHECK(cudaEventRecord(arrived, copies) == cudaSuccess);
      if (waits_before_reuse) CHECK(cudaEventSynchronize(arrived) == cudaSuccess);
      std::fill_n(host, 128, 2);
      if (waits_for_copy) CHECK(cudaStreamWaitEvent(compute, arrived) == cudaSuccess);
      CHECK(cudaLaunchKernelEx(&config, sum_kernel<true>, x.data(), y.data()) == cudaSuccess);
      CHECK(cudaStreamSynchronize(compute) == cudaSuccess);
      const int sum = y[0];
      CHECK(cudaDeviceSynchronize() == cudaSuccess);
      std::fill(x.begin(), x.end(), 0);
      return sum;
    };
    for (const Streams streams : {Streams::at_once, Streams::late}) {
      cuda_emulator::set_streams(streams);
      CHECK(run(true, true) == 128);
      CHECK(run(true, false) == (streams == Streams::late ? 256 : 128));
      CHECK(run(false, false) == (streams == Streams::late ? 0 : 128));
    }
    // Other host memory too.
    std::vector<int> pageable(128, 1);
    CHECK(cudaMemcpyAsync(x.data(), pageable.data(), 128 * sizeof(int), cudaMemcpyHostToDevice,
                          compute) == cudaSuccess);
    std::fill(pageable.begin(), pageable.end(), 2);
    CHECK(cudaStreamQuery(compute) == cudaErrorNotReady);
    CHECK(cudaStreamSynchronize(compute) == cudaSuccess);
    CHECK(x == std::vector<int>(128, 2));
    // A fault is found by who waits.
    config.blockDim = 96;
    CHECK(cudaLaunchKernelEx(&config, early_return_kernel, 70) == cudaSuccess);
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(cudaStreamSynchronize(compute) == cudaErrorLaunchFailure);
    cudaGetLastError();
    cuda_emulator::set_streams(Streams::at_once);
    CHECK(cudaFreeHost(pinned) == cudaSuccess);
    CHECK(cudaEventDestroy(arrived) == cudaSuccess);
    CHECK(cudaStreamDestroy(copies) == cudaSuccess);
    CHECK(cudaStreamDestroy(compute) == cudaSuccess);
  }

  TEST_CASE("a captured stream replays, and forbids what a capture forbids") {
    cudaStream_t stream;
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    std::vector<int> x(128, 1), y(128);
    cudaLaunchConfig_t config{};
    config.blockDim = 128;
    config.stream = stream;
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    CHECK(cudaLaunchKernelEx(&config, sum_kernel<true>, x.data(), y.data()) == cudaSuccess);
    CHECK(cudaMemcpyAsync(x.data(), y.data(), 128 * sizeof(int), cudaMemcpyDefault, stream) ==
          cudaSuccess);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaSuccess);
    CHECK(y[0] == 0);
    CHECK(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
    CHECK(cudaGraphDestroy(graph) == cudaSuccess);
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(y[0] == 128);
    CHECK(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(y[0] == 128 * 128);
    CHECK(cudaGraphExecDestroy(executable) == cudaSuccess);

    void* memory = nullptr;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) == cudaSuccess);
    CHECK(cudaMalloc(&memory, 8) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamSynchronize(stream) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(graph == nullptr);
    cudaGetLastError();
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
  }
}
