// cuDNN's graph API (cudnn_graph.h) with owners, types and errors. Tensors and an operation make a
// graph, heuristics propose engine configurations for it, a configuration becomes an execution
// plan. Only execute() and describe_gpu() need a GPU: plans can be made for one that is described.
#pragma once

#include <cudnn_graph.h>

#include <array>
#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace proxent {

// A cuDNN call failed; carries what was asked, the status and cuDNN's own explanation.
struct CudnnError : Error {
  using Error::Error;
};

namespace cuda {
// For CUDA_CHECK: throws CudnnError unless the call succeeded.
void check_call(cudnnStatus_t status, std::string_view call,
                std::source_location where = std::source_location::current());
}  // namespace cuda

namespace cudnn {

// "9.19.0", of the library that was loaded.
std::string version();
// Throws CudnnError unless `loaded`, as cudnnGetVersion() gives it, has the major version of the
// headers that this was built with and is not older than 9.8, the first to plan for described GPUs.
void check_version(std::size_t loaded = cudnnGetVersion());

namespace detail {
template <class T>
inline constexpr cudnnBackendAttributeType_t kNoAttributeType = [] {
  static_assert(sizeof(T) == 0, "no cuDNN attribute has this type");
  return CUDNN_TYPE_INT64;
}();
// The attribute type that goes with a C++ type.
template <class T>
inline constexpr cudnnBackendAttributeType_t kAttributeType = kNoAttributeType<T>;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<std::int32_t> = CUDNN_TYPE_INT32;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<float> = CUDNN_TYPE_FLOAT;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<double> = CUDNN_TYPE_DOUBLE;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<cudnnConvolutionMode_t> =
    CUDNN_TYPE_CONVOLUTION_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<cudnnBackendHeurMode_t> =
    CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t kAttributeType<cudnnBackendNumericalNote_t> =
    CUDNN_TYPE_NUMERICAL_NOTE;
}  // namespace detail

// Owner of a backend descriptor: attributes are set, then it is finalised, then it can be used and
// read. `name` is what errors call it. Every call throws CudnnError where cuDNN refuses.
class Descriptor {
 public:
  Descriptor(cudnnBackendDescriptorType_t type, std::string name);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept
      : raw_(std::exchange(other.raw_, nullptr)), name_(std::move(other.name_)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(raw_, other.raw_);
    std::swap(name_, other.name_);
    return *this;
  }

  cudnnBackendDescriptor_t raw() const { return raw_; }
  const std::string& name() const { return name_; }

  template <class T>
  void set(cudnnBackendAttributeName_t attribute, const T& value) {
    set_elements(attribute, detail::kAttributeType<T>, 1, &value);
  }
  template <class T, std::size_t n>
  void set(cudnnBackendAttributeName_t attribute, const std::array<T, n>& values) {
    set_elements(attribute, detail::kAttributeType<T>, n, values.data());
  }
  void set(cudnnBackendAttributeName_t attribute, std::string_view text) {
    set_elements(attribute, CUDNN_TYPE_CHAR, std::ssize(text), text.data());
  }
  void set(cudnnBackendAttributeName_t attribute, const Descriptor& part) {
    set_elements(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &part.raw_);
  }
  void finalize();

  // The elements of an attribute, as many as it has; or the only one.
  template <class T>
  std::vector<T> elements(cudnnBackendAttributeName_t attribute) const {
    constexpr auto type = detail::kAttributeType<T>;
    std::vector<T> found(static_cast<std::size_t>(read(attribute, type, 0, nullptr)));
    found.resize(static_cast<std::size_t>(
        read(attribute, type, static_cast<std::int64_t>(found.size()), found.data())));
    return found;
  }
  template <class T>
  T element(cudnnBackendAttributeName_t attribute) const {
    T value{};
    read(attribute, detail::kAttributeType<T>, 1, &value);
    return value;
  }
  std::string text(cudnnBackendAttributeName_t attribute) const;
  std::vector<Descriptor> parts(cudnnBackendAttributeName_t attribute,
                                cudnnBackendDescriptorType_t type) const;

 private:
  void set_elements(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                    std::int64_t count, const void* elements);
  // How many there are; fills at most `capacity`.
  std::int64_t read(cudnnBackendAttributeName_t attribute, cudnnBackendAttributeType_t type,
                    std::int64_t capacity, void* elements) const;

  cudnnBackendDescriptor_t raw_ = nullptr;
  std::string name_;
};

// What plans are made for: the GPU behind a handle, or one that is only described.
class Target {
 public:
  Target(cudnnHandle_t handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  // `json`: as describe_gpu() gives it on a machine that has such a GPU.
  static Target described(std::string_view json, std::string name);

  const std::string& name() const { return name_; }
  void aim_graph(Descriptor& graph) const;
  void aim_heuristics(Descriptor& heuristics) const;
  void aim_plan(Descriptor& plan) const;

 private:
  cudnnHandle_t handle_ = nullptr;
  std::optional<Descriptor> description_;
  std::string name_;
};
std::string describe_gpu(int index);

// Throws Error for a dtype that cuDNN does not compute in.
cudnnDataType_t data_type(DType dtype);

// Images (N, H, W, C) or weights (K, R, S, C), contiguous, at an address divisible by `alignment`.
Descriptor channels_last_tensor(std::int64_t id, const Shape& shape, DType dtype,
                                std::int64_t alignment);
Descriptor graph_of(const Descriptor& operation, const Target& target);

// One way to compute a graph: an engine and its knobs, and what cuDNN notes about the engine.
struct EngineConfig {
  Descriptor config;
  std::int64_t engine = 0;  // cuDNN's number of it
  std::vector<cudnnBackendNumericalNote_t> numerical_notes;

  bool has(cudnnBackendNumericalNote_t note) const;
};
// cuDNN's proposals, the one it thinks fastest first.
std::vector<EngineConfig> proposals(const Descriptor& graph, cudnnBackendHeurMode_t mode,
                                    const Target& target);

// An engine made ready for one graph on one GPU.
class ExecutionPlan {
 public:
  // Null if cuDNN does not build it; then `refusal` says why.
  static std::optional<ExecutionPlan> build(EngineConfig config, const Target& target,
                                            std::string& refusal);

  std::int64_t engine() const { return config_.engine; }
  const EngineConfig& config() const { return config_; }
  std::int64_t workspace() const { return workspace_; }  // bytes of scratch while it runs
  std::string json() const { return plan_.text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION); }
  // Queues it on the handle's stream; the tensor of ids[i] lies at addresses[i].
  template <std::size_t n>
  void execute(cudnnHandle_t handle, const std::array<std::int64_t, n>& ids,
               const std::array<void*, n>& addresses, void* workspace) const {
    Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, plan_.name());
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    pack.finalize();
    execute(handle, pack);
  }

 private:
  ExecutionPlan(EngineConfig config, Descriptor plan);
  void execute(cudnnHandle_t handle, const Descriptor& pack) const;

  EngineConfig config_;  // outlives the plan that was made of it
  Descriptor plan_;
  std::int64_t workspace_ = 0;
};

}  // namespace cudnn
}  // namespace proxent
