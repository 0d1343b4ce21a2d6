#include "train/version.h"

#include "data/image.h"
#include "tensor/gpu.h"
#include "tensor/onednn.h"

// CMakeLists.txt defines these for this file alone.
#ifndef PROXENT_VERSION
#define PROXENT_VERSION "unknown"
#endif
#ifndef PROXENT_COMMIT
#define PROXENT_COMMIT ""
#endif
#ifndef PROXENT_BUILD
#define PROXENT_BUILD ""
#endif

namespace proxent {
namespace {

std::string compiler() {
#ifdef __clang__
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

}  // namespace

std::string version_text() {
  const std::string commit = PROXENT_COMMIT;
  return std::string(PROXENT_VERSION) + (commit.empty() ? "" : " (" + commit + ")");
}

std::string cuda_version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

Json version_json() {
  Json json;
  json["version"] = PROXENT_VERSION;
  json["commit"] = PROXENT_COMMIT;
  json["build"] = PROXENT_BUILD;
  json["compiler"] = compiler();
  json["onednn"] = has_onednn() ? Json(onednn_version()) : Json();
  json["jpeg_decoder"] = jpeg_decoder_name();
  const GpuReport gpu = gpu_report();
  json["cuda"] = Json();
  if (gpu.is_built)
    json["cuda"] = Json::object({{"built_for", gpu.built_for},
                                 {"runtime", cuda_version_text(gpu.runtime_version)},
                                 {"emulated", gpu.is_emulated}});
  return json;
}

}  // namespace proxent
