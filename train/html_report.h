// One page of HTML about runs, for people: what came out, how it went, with what settings.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace proxent {

// Results beside their baselines, curves of training and evaluations, what queries found, proxies,
// settings and machine, of runs in any state; with several runs their curves share the plots. The
// page needs no other file and no network. Throws DataError where a folder holds no run or a
// damaged one.
std::string html_report(const std::vector<std::filesystem::path>& folders);

}  // namespace proxent
