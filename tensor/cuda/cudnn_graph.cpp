#include "tensor/cuda/cudnn_graph.h"

#include <algorithm>

namespace proxent {
namespace {

constexpr std::size_t kOldestVersion = 90800;

// 91900 is 9.19.0; before 9, 8907 was 8.9.7.
std::string version_text(std::size_t v) {
  const std::size_t major = v < 10000 ? 1000 : 10000;
  return detail::concat(v / major, ".", v % major / 100, ".", v % 100);
}

// "CUDNN_STATUS_BAD_PARAM: ...", with what cuDNN last complained of in this thread.
std::string explain(cudnnStatus_t status) {
  std::array<char, 1024> text{};
  cudnnGetLastErrorString(text.data(), text.size());
  return detail::concat(cudnnGetErrorString(status), text[0] ? ", " : "", text.data());
}

void check_status(cudnnStatus_t status, std::string_view doing, std::string_view name,
                  std::source_location where = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw CudnnError(detail::concat("cuDNN ", doing, " ", name, ": ", explain(status)),
                   detail::origin(where));
}

}  // namespace

void cuda::check_call(cudnnStatus_t status, std::string_view call, std::source_location where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw CudnnError(detail::concat(call, ": ", explain(status)), detail::origin(where));
}

namespace cudnn {

std::string version() { return version_text(cudnnGetVersion()); }

void check_version(std::size_t loaded) {
  check<CudnnError>(loaded >= kOldestVersion && loaded / 10000 == CUDNN_MAJOR,
                    "cuDNN: the library that was loaded is ", version_text(loaded),
                    "; needed is version ", CUDNN_MAJOR, " from ", version_text(kOldestVersion),
                    " on, built with was ", version_text(CUDNN_VERSION),
                    ". See LD_LIBRARY_PATH, and `ldd` of this program for libcudnn.so");
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type, std::string name)
    : name_(std::move(name)) {
  check_status(cudnnBackendCreateDescriptor(type, &raw_), "does not create", name_);
}
Descriptor::~Descriptor() {
  if (raw_) cudnnBackendDestroyDescriptor(raw_);
}

void Descriptor::finalize() { check_status(cudnnBackendFinalize(raw_), "refuses", name_); }

void Descriptor::set_elements(cudnnBackendAttributeName_t attribute,
                              cudnnBackendAttributeType_t type, std::int64_t count,
                              const void* elements) {
  const cudnnStatus_t status = cudnnBackendSetAttribute(raw_, attribute, type, count, elements);
  if (status != CUDNN_STATUS_SUCCESS)
    check_status(status, proxent::detail::concat("refuses attribute ", attribute, " of"), name_);
}

std::int64_t Descriptor::read(cudnnBackendAttributeName_t attribute,
                              cudnnBackendAttributeType_t type, std::int64_t capacity,
                              void* elements) const {
  std::int64_t count = 0;
  const cudnnStatus_t status =
      cudnnBackendGetAttribute(raw_, attribute, type, capacity, &count, elements);
  if (status != CUDNN_STATUS_SUCCESS)
    check_status(status, proxent::detail::concat("does not tell attribute ", attribute, " of"),
                 name_);
  return count;
}

std::string Descriptor::text(cudnnBackendAttributeName_t attribute) const {
  std::string found(static_cast<std::size_t>(read(attribute, CUDNN_TYPE_CHAR, 0, nullptr)), '\0');
  found.resize(
      static_cast<std::size_t>(read(attribute, CUDNN_TYPE_CHAR, std::ssize(found), found.data())));
  while (!found.empty() && found.back() == '\0') found.pop_back();
  return found;
}

std::vector<Descriptor> Descriptor::parts(cudnnBackendAttributeName_t attribute,
                                          cudnnBackendDescriptorType_t type) const {
  // cuDNN fills descriptors that exist already.
  const std::int64_t count = read(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr);
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (std::int64_t i = 0; i < count; ++i) raw.push_back(found.emplace_back(type, name_).raw_);
  const std::int64_t filled = read(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, count, raw.data());
  found.erase(found.begin() + std::min(filled, count), found.end());
  return found;
}

Target Target::described(std::string_view json, std::string name) {
  Target target(nullptr, std::move(name));
  target.description_.emplace(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "GPU " + target.name_);
  target.description_->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, json);
  target.description_->finalize();
  return target;
}

void Target::aim_graph(Descriptor& graph) const {
  if (handle_) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle_);
}
void Target::aim_heuristics(Descriptor& heuristics) const {
  if (description_) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *description_);
}
void Target::aim_plan(Descriptor& plan) const {
  if (handle_) plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle_);
  if (description_) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *description_);
}

std::string describe_gpu(int index) {
  Descriptor gpu(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, proxent::detail::concat("GPU ", index));
  gpu.set(CUDNN_ATTR_DEVICEPROP_DEVICE_ID, static_cast<std::int32_t>(index));
  gpu.finalize();
  return gpu.text(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
}

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDNN_DATA_FLOAT;
    case DType::f64:
      return CUDNN_DATA_DOUBLE;
    case DType::bf16:
      return CUDNN_DATA_BFLOAT16;
    case DType::f16:
      return CUDNN_DATA_HALF;
    default:
      fail("cuDNN: expected a floating dtype, got ", dtype);
  }
}

Descriptor channels_last_tensor(std::int64_t id, const Shape& shape, DType dtype,
                                std::int64_t alignment) {
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR,
                    proxent::detail::concat("tensor ", shape, " ", dtype));
  // cuDNN names sizes in the order NCHW whatever the layout; the strides tell it.
  const std::array<std::int64_t, 4> sizes{shape[0], shape[3], shape[1], shape[2]};
  const std::array<std::int64_t, 4> strides{shape[1] * shape[2] * shape[3], 1, shape[2] * shape[3],
                                            shape[3]};
  tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(dtype));
  tensor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, sizes);
  tensor.set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
  tensor.finalize();
  return tensor;
}

Descriptor graph_of(const Descriptor& operation, const Target& target) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, operation.name());
  target.aim_graph(graph);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finalize();
  return graph;
}

bool EngineConfig::has(cudnnBackendNumericalNote_t note) const {
  return std::find(numerical_notes.begin(), numerical_notes.end(), note) != numerical_notes.end();
}

std::vector<EngineConfig> proposals(const Descriptor& graph, cudnnBackendHeurMode_t mode,
                                    const Target& target) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, graph.name());
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  target.aim_heuristics(heuristics);
  heuristics.finalize();
  std::vector<EngineConfig> found;
  for (Descriptor& config :
       heuristics.parts(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)) {
    EngineConfig& proposal = found.emplace_back(EngineConfig{std::move(config)});
    const Descriptor engine = std::move(
        proposal.config.parts(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR)
            .front());
    proposal.engine = engine.element<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    proposal.numerical_notes =
        engine.elements<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
  }
  return found;
}

ExecutionPlan::ExecutionPlan(EngineConfig config, Descriptor plan)
    : config_(std::move(config)),
      plan_(std::move(plan)),
      workspace_(plan_.element<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) {}

std::optional<ExecutionPlan> ExecutionPlan::build(EngineConfig config, const Target& target,
                                                  std::string& refusal) {
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, config.config.name());
  target.aim_plan(plan);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config.config);
  const cudnnStatus_t status = cudnnBackendFinalize(plan.raw());
  if (status == CUDNN_STATUS_SUCCESS) return ExecutionPlan(std::move(config), std::move(plan));
  refusal = explain(status);
  return std::nullopt;
}

void ExecutionPlan::execute(cudnnHandle_t handle, const Descriptor& pack) const {
  check_status(cudnnBackendExecute(handle, plan_.raw(), pack.raw()), "fails to execute",
               plan_.name());
}

}  // namespace cudnn
}  // namespace proxent
