#include "train/version.h"

#include "data/image.h"
#include "tensor/cpu/backend.h"

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

Json version_json() {
  Json json;
  json["version"] = PROXENT_VERSION;
  json["commit"] = PROXENT_COMMIT;
  json["build"] = PROXENT_BUILD;
  json["compiler"] = compiler();
  json["onednn"] = has_onednn() ? Json(onednn_version()) : Json();
  json["jpeg_decoder"] = jpeg_decoder_name();
  json["cuda"] = Json();
  return json;
}

}  // namespace proxent
