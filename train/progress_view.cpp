#include "train/progress_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/text.h"

namespace proxent {
namespace {

constexpr std::string_view kBetween = " │ ";

// Fixed decimals: a column that keeps its place reads better than one that keeps its digits.
std::string loss_text(double value) {
  if (!std::isfinite(value)) return red(shortest(value));
  return std::abs(value) < 1e4 ? fmt::format("{:.4f}", value) : rounded(value, 5);
}

// How far a value lies from the usual, where it is worth a look: " +4.2z".
std::string unusual_text(const std::optional<double>& z) {
  constexpr double kUsual = 3;
  return z && std::abs(*z) > kUsual ? " " + yellow(fmt::format("{:+.1f}z", *z)) : "";
}

std::string terms_text(const StepRecord& record) {
  if (record.terms.empty()) return "";
  std::vector<std::string> texts;
  for (const auto& [name, value] : record.terms)
    texts.push_back(fmt::format("{} {:.3f}", name, value));
  return "(" + join(texts, " ") + ")";
}

std::string speed_text(double images_per_second) {
  return (images_per_second < 100 ? fmt::format("{:.1f}", images_per_second)
                                  : fmt::format("{:.0f}", images_per_second)) +
         " img/s";
}

std::string wait_text(const StepRecord& record) {
  const std::string text = fmt::format("wait {:.0f}%", 100 * record.wait_share());
  return record.wait_share() >= 0.25 ? yellow(text) : text;
}

// Three digits; small ones as "9.8e-5", which is how rates are spoken of.
std::string rate_text(double rate) {
  if (rate >= 0.01 || rate == 0) return rounded(rate, 3);
  const std::string text = fmt::format("{:.2e}", rate);  // "9.80e-05"
  const auto e = text.find('e');
  return shortest(std::stod(text.substr(0, e))) + "e" +
         std::to_string(std::stoi(text.substr(e + 1)));
}

// "13.9G", as narrow as it can be.
std::string memory_text(std::int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  return mib < 1000 ? fmt::format("{:.0f}M", mib) : fmt::format("{:.1f}G", mib / 1024);
}

// The epoch that is running, counted from 1.
std::int64_t running_epoch(const StepRecord& record) {
  const auto begun = static_cast<std::int64_t>(std::ceil(record.epoch - 1e-9));
  return std::clamp<std::int64_t>(begun, 1, std::max<std::int64_t>(1, record.epochs));
}

std::string epoch_text(const StepRecord& record) {
  const std::string all = std::to_string(record.epochs);
  return fmt::format("ep {:>{}}/{}", running_epoch(record), all.size(), all);
}

std::string step_text(const StepRecord& record) {
  const std::string all = std::to_string(record.steps);
  return fmt::format("it {:>{}}/{}", record.step, all.size(), all);
}

// A bar in eighths of a column.
std::string bar(double share, int width) {
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * 8 * width));
  constexpr std::string_view kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) text += "█";
  text += kParts[eighths % 8];
  return green(padded(text, width));
}

double now_share(const StepRecord& record) {
  return record.steps > 0 ? double(record.step) / double(record.steps) : 0;
}

}  // namespace

std::string step_line(const StepRecord& record) {
  std::vector<std::string> parts = {
      epoch_text(record),
      step_text(record),
      "loss " + bold(loss_text(record.loss)) + unusual_text(record.loss_z) +
          (record.terms.empty() ? "" : " " + dim(terms_text(record))),
      "|g| " + rounded(record.gradient_norm, 3) + unusual_text(record.gradient_z),
      "lr " + rate_text(record.lr),
      speed_text(record.images_per_second),
      wait_text(record),
      memory_text(record.memory_bytes),
      "eta " + human_seconds(record.seconds_left),
  };
  std::vector<std::string> exceptions;
  if (record.loss_scale) exceptions.push_back("scale " + rounded(*record.loss_scale, 5));
  if (record.loss_scale || record.skipped > 0)
    exceptions.push_back(fmt::format("{} skipped", record.skipped));
  if (!exceptions.empty()) parts.insert(parts.end() - 2, join(exceptions, ", "));
  return join(parts, kBetween);
}

std::string bar_line(const StepRecord& record, int width) {
  struct Part {
    std::string text;
    int rank;  // parts of the highest rank go first
  };
  std::vector<Part> parts = {
      {epoch_text(record), 1},
      {"loss " + bold(loss_text(record.loss)), 0},
      {dim(terms_text(record)), 7},
      {"lr " + rate_text(record.lr), 5},
      {"|g| " + rounded(record.gradient_norm, 3), 4},
      {speed_text(record.images_per_second), 2},
      {wait_text(record), 3},
      {memory_text(record.memory_bytes), 6},
      {"eta " + human_seconds(record.seconds_left), 0},
  };
  constexpr int kLeastBar = 10, kMostBar = 30;
  const std::string percent = fmt::format(" {:>3.0f}%", 100 * now_share(record));
  std::erase_if(parts, [](const Part& part) { return display_width(part.text) == 0; });
  const auto tail = [&] {
    std::string text = percent;
    for (const Part& part : parts) text += std::string(kBetween) + part.text;
    return text;
  };
  while (display_width(tail()) + kLeastBar + 2 > width) {
    const auto least = std::max_element(parts.begin(), parts.end(),
                                        [](auto& a, auto& b) { return a.rank < b.rank; });
    if (least->rank == 0) break;
    parts.erase(least);
  }
  const int room = std::clamp(width - display_width(tail()) - 2, 0, kMostBar);
  const std::string line =
      room < 3 ? tail().substr(1) : dim("▕") + bar(now_share(record), room) + dim("▏") + tail();
  return clip(line, width);
}

std::string eval_line(const EvalRecord& record) {
  std::string recalls, others;
  for (const MetricValue& metric : record.metrics) {
    const bool is_chosen = metric.name == record.chosen_by;
    std::string text = percent_text(metric);
    text = metric.name + " " + (is_chosen ? bold(text) : text);
    if (is_chosen && record.best > 0)
      text += fmt::format(" (best {:.2f}{})", 100 * record.best, record.is_best ? " ▲" : "");
    std::string& group = metric.name.starts_with("R@") ? recalls : others;
    group += (group.empty() ? "" : "  ") + text;
  }
  std::vector<std::string> parts = {
      green("eval") + fmt::format(" ep {} {}", rounded(record.epoch, 3), record.split)};
  for (const std::string& group : {recalls, others})
    if (!group.empty()) parts.push_back(group);
  parts.push_back(human_seconds(record.seconds));
  if (!record.label.empty()) parts.push_back(record.label);
  return join(parts, kBetween);
}

Json to_json(const StepRecord& record) {
  Json line;
  line["step"] = record.step;
  line["epoch"] = record.epoch;
  line["images"] = record.images;
  Json loss;
  loss["total"] = record.loss;
  for (const auto& [name, value] : record.terms) loss[name] = value;
  line["loss"] = loss;
  line["lr"] = Json::object({{"backbone", record.lr}, {"proxy", record.proxy_lr}});
  line["grad_norm"] = record.gradient_norm;
  const auto known = [](const std::optional<double>& z) { return z ? Json(*z) : Json(); };
  line["z"] =
      Json::object({{"loss", known(record.loss_z)}, {"grad_norm", known(record.gradient_z)}});
  line["img_s"] = record.images_per_second;
  line["step_ms"] = 1e3 * record.step_seconds;
  line["data_wait_ms"] = 1e3 * record.wait_seconds;
  line["mem_mib"] = static_cast<double>(record.memory_bytes) / (1 << 20);
  line["process_mib"] = static_cast<double>(record.process_bytes) / (1 << 20);
  if (record.loss_scale) line["loss_scale"] = *record.loss_scale;
  if (record.loss_scale || record.skipped > 0) line["skipped_steps"] = record.skipped;
  return line;
}

Json to_json(const EvalRecord& record) {
  Json line;
  line["step"] = record.step;
  line["epoch"] = record.epoch;
  line["split"] = record.split;
  Json metrics = Json::object();
  add_metrics(metrics, record.metrics);
  line["metrics"] = metrics;
  line["best"] = record.is_best;
  if (!record.label.empty()) line["selection"] = record.label;
  line["seconds"] = record.seconds;
  return line;
}

void Pace::step(double seconds, double wait_seconds, std::int64_t images) {
  constexpr double kKeep = 0.95;
  seconds_ = kKeep * seconds_ + seconds;
  wait_ = kKeep * wait_ + wait_seconds;
  images_ = kKeep * images_ + static_cast<double>(images);
  weight_ = kKeep * weight_ + 1;
}

double Pace::images_per_second() const { return seconds_ > 0 ? images_ / seconds_ : 0; }

ProgressMode progress_mode(std::string_view setting, const Terminal& terminal) {
  if (setting == "none") return ProgressMode::none;
  if (setting == "bar") return ProgressMode::bar;
  if (setting == "lines") return ProgressMode::lines;
  return terminal.is_live ? ProgressMode::bar : ProgressMode::lines;
}

void ProgressView::step(const StepRecord& record) {
  if (mode_ != ProgressMode::bar) return;
  const auto now = std::chrono::steady_clock::now();
  const bool is_last = record.step >= record.steps;
  if (!is_last && now - drawn_ < std::chrono::milliseconds(100)) return;
  drawn_ = now;
  log_.status(bar_line(record, log_.width() - 1));
}

void ProgressView::line(const StepRecord& record) {
  if (mode_ != ProgressMode::none) log_.info(step_line(record));
  slow_lines_ = record.wait_share() >= 0.25 ? slow_lines_ + 1 : 0;
  if (slow_lines_ < 3 || has_advised_) return;
  has_advised_ = true;
  log_.warning(
      fmt::format("{:.0f}% of the time goes into waiting for pictures. More --workers, "
                  "--cache decoded or smaller files would help.",
                  100 * record.wait_share()));
}

void ProgressView::eval(const EvalRecord& record) {
  if (mode_ != ProgressMode::none) log_.info(eval_line(record));
}

void ProgressView::doing(std::string_view text) {
  if (mode_ == ProgressMode::bar) log_.status(text);
}

}  // namespace proxent
