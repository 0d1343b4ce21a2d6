#include "tests/cuda_emulator/host_functions.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/cuda_emulator/emulator.h"

namespace cuda_emulator {
namespace {
using Task = std::function<cudaError_t()>;
}

// A point in a stream: reached once the stream has done its first `position` tasks.
struct Event {
  std::chrono::steady_clock::time_point time{};
  Stream* stream = nullptr;
  std::uint64_t position = 0;
};
struct Graph {
  std::vector<Task> tasks;
};
struct Stream {
  std::deque<Task> queue;
  std::uint64_t queued = 0, done = 0;
  bool is_capturing = false, is_invalidated = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::vector<Task> captured;
};

namespace {
constexpr int kVersion = 13000;
constexpr std::size_t kSharedBytes = 48 << 10, kSharedBytesOptin = 227 << 10;

struct State {
  cudaError_t last_error = cudaSuccess;
  std::string fault;          // the text of cudaErrorLaunchFailure
  Stream legacy;              // stream 0
  int captures = 0;           // that forbid what a global capture forbids
  bool is_late = false;       // streams do nothing before somebody waits for it
  std::set<Stream*> streams;  // all but stream 0
  std::map<const std::byte*, std::size_t> pinned;
  std::map<const void*, std::size_t> shared_limits;
};
State& state() {
  static auto& only = *new State;
  return only;
}
Stream& of(cudaStream_t stream) { return stream ? *stream : state().legacy; }

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) state().last_error = error;
  return error;
}

// Does a stream's tasks up to `position`, or all. A task's own failure is found later, as on the
// device, and is this stream's last word.
cudaError_t drain(Stream& stream, std::uint64_t position = ~std::uint64_t{0}) {
  cudaError_t result = cudaSuccess;
  while (stream.done < position && !stream.queue.empty()) {
    const Task task = std::move(stream.queue.front());
    stream.queue.pop_front();
    ++stream.done;
    if (const cudaError_t error = task(); result == cudaSuccess) result = error;
  }
  return noted(result);
}
cudaError_t drain_all() {
  cudaError_t result = drain(state().legacy);
  for (Stream* stream : state().streams)
    if (const cudaError_t error = drain(*stream); result == cudaSuccess) result = error;
  return result;
}

// Now, late, or when the graph that is being captured runs.
cudaError_t submit(cudaStream_t stream, Task task) {
  Stream& s = of(stream);
  if (s.is_capturing) {
    s.captured.push_back(std::move(task));
    return cudaSuccess;
  }
  s.queue.push_back(std::move(task));
  ++s.queued;
  return state().is_late ? cudaSuccess : drain(s);
}

// Page-locked memory is read and written when its turn comes. Other host memory is read then too,
// as by a GPU that reads pageable memory itself, and written before the call returns.
bool is_pinned(const void* data) {
  const auto* address = static_cast<const std::byte*>(data);
  auto next = state().pinned.upper_bound(address);
  return next != state().pinned.begin() &&
         address < std::prev(next)->first + std::prev(next)->second;
}

// What would have to wait for the device, or is not ordered by a stream.
cudaError_t forbid_in_capture(Stream* stream) {
  if (stream && stream->is_capturing) {
    stream->is_invalidated = true;
    return noted(cudaErrorStreamCaptureUnsupported);
  }
  return !stream && state().captures > 0 ? noted(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

bool fits(const dim3& extent, std::uint64_t x, std::uint64_t y, std::uint64_t z) {
  return extent.x >= 1 && extent.y >= 1 && extent.z >= 1 && extent.x <= x && extent.y <= y &&
         extent.z <= z;
}
}  // namespace

void set_streams(Streams streams) {
  drain_all();
  state().is_late = streams == Streams::late;
}

cudaError_t run_on_stream(cudaStream_t stream, std::function<void()> task) {
  return submit(stream, [task = std::move(task)] {
    task();
    return cudaSuccess;
  });
}

cudaError_t set_shared_memory_limit(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > kSharedBytesOptin)
    return noted(cudaErrorInvalidValue);
  state().shared_limits[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel,
                   std::function<void()> body) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const auto limit = state().shared_limits.find(kernel);
  const std::size_t allowed =
      limit == state().shared_limits.end() ? kSharedBytes : std::max(limit->second, kSharedBytes);
  if (!fits(grid, 0x7fffffff, 65535, 65535) || !fits(block, 1024, 1024, 64) ||
      std::uint64_t{block.x} * block.y * block.z > 1024)
    return noted(cudaErrorInvalidConfiguration);
  if (config.dynamicSmemBytes > allowed) return noted(cudaErrorInvalidValue);
  const LaunchShape shape{
      {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, config.dynamicSmemBytes};
  return submit(config.stream, [shape, body = std::move(body)] {
    const std::string fault = run_kernel(shape, body);
    if (fault.empty()) return cudaSuccess;
    state().fault = "unspecified launch failure: " + fault;
    return cudaErrorLaunchFailure;
  });
}
}  // namespace cuda_emulator

using namespace cuda_emulator;  // these are the definitions of global functions

const char* cudaGetErrorName(cudaError_t error) {
#define CASE(name) \
  case name:       \
    return #name
  switch (error) {
    CASE(cudaSuccess);
    CASE(cudaErrorInvalidValue);
    CASE(cudaErrorMemoryAllocation);
    CASE(cudaErrorInvalidConfiguration);
    CASE(cudaErrorInsufficientDriver);
    CASE(cudaErrorNoDevice);
    CASE(cudaErrorInvalidDevice);
    CASE(cudaErrorNoKernelImageForDevice);
    CASE(cudaErrorNotReady);
    CASE(cudaErrorIllegalAddress);
    CASE(cudaErrorAssert);
    CASE(cudaErrorHardwareStackError);
    CASE(cudaErrorIllegalInstruction);
    CASE(cudaErrorMisalignedAddress);
    CASE(cudaErrorInvalidAddressSpace);
    CASE(cudaErrorInvalidPc);
    CASE(cudaErrorLaunchFailure);
    CASE(cudaErrorStreamCaptureUnsupported);
    CASE(cudaErrorStreamCaptureInvalidated);
  }
#undef CASE
  return "unknown error";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? state().fault.c_str() : cudaGetErrorName(error);
}
cudaError_t cudaGetLastError() { return std::exchange(state().last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return state().last_error; }

cudaError_t cudaDriverGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kVersion;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : noted(cudaErrorInvalidDevice);
}
// An H100's limits, but few multiprocessors: grids sized by them stay small.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return noted(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "CUDA emulator on the processor");
  properties->totalGlobalMem = std::size_t{8} << 30;
  properties->sharedMemPerBlock = kSharedBytes;
  properties->sharedMemPerBlockOptin = kSharedBytesOptin;
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->maxThreadsPerBlock = 1024;
  properties->warpSize = 32;
  properties->l2CacheSize = 50 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device)) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = properties.l2CacheSize;
      return cudaSuccess;
  }
  return noted(cudaErrorInvalidValue);
}
cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = forbid_in_capture(nullptr)) return error;
  return drain_all();
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = *total = std::size_t{8} << 30;
  return cudaSuccess;
}
cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

cudaError_t cudaMalloc(void** data, std::size_t bytes) {
  if (const cudaError_t error = forbid_in_capture(nullptr)) return error;
  constexpr std::size_t kAlignment = 256;
  *data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) & ~(kAlignment - 1));
  return *data ? cudaSuccess : noted(cudaErrorMemoryAllocation);
}
cudaError_t cudaFree(void* data) {
  if (const cudaError_t error = cudaDeviceSynchronize()) return error;
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  if (const cudaError_t error = cudaMalloc(data, bytes)) return error;
  state().pinned[static_cast<const std::byte*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  if (const cudaError_t error = cudaDeviceSynchronize()) return error;
  state().pinned.erase(static_cast<const std::byte*>(data));
  return cudaFree(data);
}
// CUDA copies and fills nothing at a null pointer without complaint; std::memcpy may not.
static void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}
static void fill_bytes(void* data, int value, std::size_t bytes) {
  if (bytes > 0) std::memset(data, value, bytes);
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (const cudaError_t error = cudaDeviceSynchronize()) return error;
  copy_bytes(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  // A graph would read those bytes when it runs, whatever stands there by then.
  if (kind == cudaMemcpyHostToDevice && !is_pinned(from) && of(stream).is_capturing)
    return cudaErrorStreamCaptureUnsupported;
  const cudaError_t error = submit(stream, [=] {
    copy_bytes(to, from, bytes);
    return cudaSuccess;
  });
  const bool returns_late = kind == cudaMemcpyDeviceToHost && !is_pinned(to);
  return error == cudaSuccess && returns_late && !of(stream).is_capturing ? drain(of(stream))
                                                                          : error;
}
cudaError_t cudaMemset(void* data, int value, std::size_t bytes) {
  if (const cudaError_t error = cudaDeviceSynchronize()) return error;
  fill_bytes(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t stream) {
  return submit(stream, [=] {
    fill_bytes(data, value, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new Stream;
  state().streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const cudaError_t error = drain(*stream);
  state().streams.erase(stream);
  delete stream;
  return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = forbid_in_capture(&of(stream))) return error;
  return drain(of(stream));
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  if (const cudaError_t error = forbid_in_capture(&of(stream))) return error;
  return of(stream).queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
// What the event stands for now; a later record does not move it.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (!event->stream || event->stream == &of(stream)) return cudaSuccess;
  return submit(stream, [other = event->stream, position = event->position] {
    return state().streams.count(other) ? drain(*other, position) : cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new Event;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  drain_all();  // tasks may write its time
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Stream& s = of(stream);
  if (!s.is_capturing) {
    event->stream = &s;
    event->position = s.queued + 1;
  }
  return submit(stream, [event] {
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = forbid_in_capture(nullptr)) return error;
  return event->stream ? drain(*event->stream, event->position) : cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return !event->stream || event->stream->done >= event->position ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t first, cudaEvent_t last) {
  *milliseconds = std::chrono::duration<float, std::milli>(last->time - first->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (!stream || stream->is_capturing) return noted(cudaErrorStreamCaptureUnsupported);
  stream->is_capturing = true;
  stream->is_invalidated = false;
  stream->mode = mode;
  stream->captured.clear();
  state().captures += mode != cudaStreamCaptureModeRelaxed;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->is_capturing) return noted(cudaErrorInvalidValue);
  stream->is_capturing = false;
  state().captures -= stream->mode != cudaStreamCaptureModeRelaxed;
  if (stream->is_invalidated) return noted(cudaErrorStreamCaptureInvalidated);
  *graph = new Graph{std::exchange(stream->captured, {})};
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Stream& s = of(stream);
  *status = !s.is_capturing    ? cudaStreamCaptureStatusNone
            : s.is_invalidated ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = new Graph(*graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return submit(stream, [executable] {
    for (const Task& task : executable->tasks)
      if (const cudaError_t error = task()) return error;
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return cudaGraphDestroy(executable);
}
