// Configuration: the table of keys, TOML in and out, durations, ranges, suggestions.
#include "train/config.h"

#include <doctest/doctest.h>

#include <set>

#include "data/utf8.h"
#include "tensor/check.h"
#include "train/config_table.h"
#include "train/metric_choice.h"
#include "train/optimizer_options.h"
#include "train/presets.h"
#include "train/text.h"

using namespace proxent;

namespace {

// The message of the UsageError that reading this TOML throws.
std::string refusal(std::string_view toml) {
  try {
    config_from_toml(toml, "my.toml");
  } catch (const UsageError& error) {
    return error.message();
  }
  return "accepted";
}

}  // namespace

TEST_SUITE("config") {
  TEST_CASE("every key reaches its variable and reads back") {
    // Each row gets a value that differs from its default; the text of all must survive a round
    // trip, and no two rows may share a variable.
    Config config;
    Settings settings;
    add_config(settings, config);
    for (Setting& row : settings.rows()) {
      const SettingOptions& options = row.options;
      GivenValue value;
      const auto give = [&](std::string text) { value.items = {std::move(text)}; };
      if (!options.choices.empty())
        give(proxent::quoted(options.choices.back()) == row.initial ? options.choices.front()
                                                                    : options.choices.back());
      else if (row.is_boolean())
        give(row.initial == "true" ? "false" : "true");
      else if (const auto* reals = std::get_if<std::span<double>>(&row.target))
        give(reals->size() == 2 ? "0.25,0.75" : "0.25,0.5,0.75");
      else if (std::holds_alternative<Duration*>(row.target))
        give(options.takes_steps ? "7it" : "1h30min");
      else if (row.key == "metrics")
        give("r@3,rp");
      else if (row.key == "lr_milestones")
        give("3ep,5ep");
      else if (row.key == "fold")
        give("2/5");
      else if (row.key == "profile_steps")
        give("3:5");
      else if (std::holds_alternative<double*>(row.target) ||
               std::holds_alternative<std::optional<double>*>(row.target))
        give(row.key == "min_lr" ? "1e-9" : "0.625");
      else if (std::holds_alternative<std::string*>(row.target) ||
               std::holds_alternative<std::vector<std::string>*>(row.target))
        give("a b");
      else
        give("12");
      settings.assign(row, value, row.name(), "test");
    }
    config.optim.name = "sgd";       // nesterov wants it
    config.optim.sched = "step";     // lr_milestones want it
    config.run.protocol = "mlrc";    // early_stop wants it
    config.model.arch = "resnet34";  // stem and width want it
    config.run.precision = "bf16";   // clip_value wants it
    const std::string text = to_toml(config);
    CHECK(to_toml(config_from_toml(text, "printed")) == text);

    std::set<std::string> untouched;
    for (const Setting& row : settings.rows())
      if (row.is_default() && row.options.choices.size() != 1) untouched.insert(row.name());
    CHECK(join({untouched.begin(), untouched.end()}, " ") == "");
  }

  TEST_CASE("names are unique") {
    Config config;
    Settings settings;
    add_config(settings, config);
    std::set<std::string> flags, keys;
    std::set<char> letters;
    for (const Setting& row : settings.rows()) {
      CHECK_MESSAGE(flags.insert(row.options.flag).second, row.options.flag);
      CHECK_MESSAGE(keys.insert(row.name()).second, row.name());
      if (row.options.letter) CHECK(letters.insert(row.options.letter).second);
      CHECK(settings.find_flag(row.options.flag) == &row);
      CHECK(settings.find_key(row.name()) == &row);
      CHECK_FALSE(row.help.empty());
    }
  }

  TEST_CASE("defaults, values and both spellings of a key") {
    const Config standard = config_from_toml("", "empty");
    CHECK(to_toml(standard) == to_toml(Config{}));
    const Config config = config_from_toml(R"(
      [data]
      image_size = 64
      mean = [0, 0.5, 1]
      [loss]
      sigma_h = 7
      [model]
      freeze = ["conv1", "layer1"]
      [run]
      eval-every = "2ep"
      metrics = ["r@2", "10", "rp"]
    )",
                                           "my.toml");
    CHECK(config.data.image_size == 64);
    CHECK(config.data.mean[1] == 0.5);
    CHECK(config.loss.sigma_h == 7.0);
    CHECK_FALSE(config.loss.sigma_a.has_value());
    CHECK(config.model.freeze == std::vector<std::string>{"conv1", "layer1"});
    CHECK(config.run.eval_every == Duration{2, Duration::Unit::epochs});
    CHECK(config.run.metrics == std::vector<std::string>{"r@2", "r@10", "rp"});
    CHECK(metric_choice(config.run.metrics).recall_at == std::vector<std::int64_t>{1, 2, 10});
  }

  TEST_CASE("a key that a later version dropped may stand where it does nothing") {
    CHECK(config_from_toml("[loss]\nrevive_below = 0.0\nmargin = 0.5", "old.toml").loss.margin ==
          0.5);
    CHECK_THROWS_WITH_AS(config_from_toml("[loss]\nrevive_below = 0.3", "old.toml"),
                         doctest::Contains("unknown key 'loss.revive_below' in old.toml:2"),
                         UsageError);
  }

  TEST_CASE("people are told values as they would say them") {
    Config config;
    config.run.name = "v2.0 [x], \"y\"";
    config.data.mean = {0.5, 4.0 / 3, 1};
    config.model.freeze = {"conv1", "layer1"};
    config.optim.lr = 2;
    const ConfigTable table(config);
    CHECK(table("run.name") == "v2.0 [x], \"y\"*");
    CHECK(table("data.mean") == "0.5,1.333,1*");
    CHECK(table("model.freeze") == "conv1,layer1*");
    CHECK(table("optim.lr") == "2*");
    CHECK(table("optim.sched") == "cosine");
    CHECK(table("loss.sigma_h") == "auto");
  }

  TEST_CASE("what is wrong is told with its place") {
    CHECK(refusal("[optim]\n\nlrr = 1") ==
          "unknown key 'optim.lrr' in my.toml:3. Did you mean 'optim.lr'? (proxent help config)");
    CHECK(refusal("optm.lr = 1") ==
          "unknown key 'optm.lr' in my.toml:1. Did you mean 'optim.lr'? (proxent help config)");
    CHECK(refusal("[model]\nlr_step = '1ep'") ==
          "unknown key 'model.lr_step' in my.toml:2. Did you mean 'optim.lr_step'? "
          "(proxent help config)");
    CHECK(refusal("lr = 1") ==
          "unknown key 'lr' in my.toml:1. Did you mean 'optim.lr'? (proxent help config)");
    CHECK(refusal("[optim]\nlr = '1e-4'") ==
          "optim.lr in my.toml:2: expected a number of at least 0, got the text '1e-4'.");
    CHECK(refusal("data.image_size = 32.0") ==
          "data.image_size in my.toml:1: expected a whole number from 1 to 4096, got '32.0'.");
    CHECK(refusal("[optim]\nlr = nan") ==
          "optim.lr in my.toml:2: expected a number of at least 0, got 'nan'.");
    CHECK(refusal("batch.size = 0") ==
          "batch.size in my.toml:1: expected auto or a whole number from 1 to 1048576, got '0'.");
    CHECK(refusal("batch.size = 1.5") ==
          "batch.size in my.toml:1: expected auto or a whole number from 1 to 1048576, got '1.5'.");
    CHECK(refusal("data.crop = 'rcr'") ==
          "data.crop in my.toml:1: expected rrc, random, center or none, got 'rcr'. Did you mean "
          "'rrc'?");
    CHECK(refusal("debug.profile_steps = '5'") ==
          "profile-steps: expected A:B, the first and the last step to profile, counted from 1, "
          "such as 20:22; got '5'");
    CHECK(refusal("data.cache = \"ram\"") ==
          "data.cache in my.toml:1: expected none or decoded, got 'ram'.");
    CHECK(refusal("data.exif = 1") == "data.exif in my.toml:1: expected true or false, got '1'.");
    CHECK(refusal("data.std = [1, 1]") ==
          "data.std in my.toml:1: expected 3 numbers above 0, got '[1, 1]'.");
    CHECK(refusal("run.time_limit = '3ep'") ==
          "run.time_limit in my.toml:1: expected a span of time such as 30s, 10min or 3h50m, or 0, "
          "got '3ep'.");
    CHECK(refusal("optim.lr = {a = 1}") ==
          "unknown key 'optim.lr.a' in my.toml:1. Did you mean 'optim.lr'? (proxent help config)");
    CHECK(refusal("loss.sigma_h = [1]") ==
          "loss.sigma_h in my.toml:1: expected auto or a number above 0, got '[1]'.");
    CHECK(refusal("run.seed = 1979-05-27") ==
          "run.seed in my.toml:1: expected a whole number of at least 0, got 'a date or time'.");
    CHECK(refusal("[optim]\nlr = 1\nlr = 2").starts_with("my.toml:3: not TOML: "));
    CHECK(refusal("[optim").starts_with("my.toml:1: not TOML: "));
    std::string deep = "\na";
    for (int i = 0; i < 100000; ++i) deep += ".a";
    CHECK(refusal(deep + " = 1").starts_with("my.toml:2: a key of more than 100 parts"));
    CHECK(refusal("[data]\nx = {" + deep.substr(1) + " = 1}").starts_with("my.toml:2: a key"));
    CHECK(refusal(std::string_view("a = \"\0\"", 7)).starts_with("my.toml:1: not TOML: "));
  }

  TEST_CASE("settings that contradict each other") {
    CHECK(refusal("batch = {size = 30, sampler = 'm-per-class', m = 4}") ==
          "batch.size = 30 is no multiple of batch.m = 4, as --sampler m-per-class needs");
    CHECK(refusal("data.dataset = 'csv'") == "data.dataset = \"csv\" needs --data PATH");
    CHECK(refusal("optim = {nesterov = true}") ==
          "optim.nesterov needs --optim sgd with a momentum above 0");
    for (const char* text :
         {"arch = 'bn-inception', stem = 'small'", "arch = 'resnet12', width = 16"})
      CHECK(refusal("model = {" + std::string(text) + "}")
                .starts_with("model.stem and model.width are for resnet18 to resnet152, "));
    CHECK(refusal("run.precision = 'fp16'\noptim.clip_value = 1") ==
          "optim.clip_value cannot bound gradients that fp16's loss scale multiplies; give "
          "--clip-norm with --clip-value 0, or --precision bf16");
    CHECK(refusal("data.rrc_scale = [0.5, 0.1]") ==
          "data.rrc_scale: 0.5 is above 0.1; give the least first");
    CHECK(refusal("run.metrics = ['r@0']") ==
          "run.metrics: expected r@K with K from 1 to 1000000, got 'r@0'");
    CHECK(refusal("run.metrics = ['mapr', 'r@1']") ==
          "run.metrics: expected r@K (as r@1,2,4,8), map@r, rp, p@K, ndcg@K, map, mrr, nmi, ami, "
          "auc, "
          "tar@FAR (as tar@1e-3) or all, got 'mapr'. Did you mean "
          "'map@r'?");
  }

  TEST_CASE("presets are valid and named") {
    for (const Preset& preset : presets()) CHECK_NOTHROW(config_of(preset));
    CHECK(presets().size() > paper_presets().size());
    CHECK(preset_for_data("auto", "")->name == "glyphs-demo");
    CHECK(preset_for_data("glyphs", "")->name == "glyphs-demo");
    CHECK(preset_for_data("fashion-mnist", "")->name == "fashion-mnist");
    CHECK(preset_for_data("auto", "pictures") == nullptr);
    CHECK(preset_for_data("folder", "pictures") == nullptr);
    CHECK_THROWS_AS(preset_named("cubcpu"), UsageError);
    for (const char* name : {"proxy-anchor-paper", "soft-triple-paper"}) {
      const GroupingOptions grouping = grouping_options_of(config_of(preset_named(name)));
      CHECK((grouping.decays_norms && grouping.decays_biases));
    }
    CHECK_FALSE(grouping_options_of({}).decays_norms);
  }

  TEST_CASE("durations") {
    using Unit = Duration::Unit;
    const auto is = [](std::string_view text, double amount, Unit unit) {
      const Duration duration = parse_duration(text);
      CHECK(duration == Duration{amount, unit});
      CHECK(parse_duration(to_text(duration)) == duration);
    };
    is("500it", 500, Unit::iterations);
    is("1.5ep", 1.5, Unit::epochs);
    is("30s", 30, Unit::seconds);
    is("10min", 600, Unit::seconds);
    is("3h50m", 13800, Unit::seconds);
    is("1d", 86400, Unit::seconds);
    is("0.25s", 0.25, Unit::seconds);
    is("100000000it", 1e8, Unit::iterations);
    is("0", 0, Unit::iterations);
    is("0ep", 0, Unit::iterations);
    CHECK(to_text(parse_duration("90min")) == "1h30min");
    for (const char* wrong : {"", "5", "it", "-1it", "1 it", "1ep2it", "1it1h", "1h1ep", "nans",
                              "1e5it", "1.2.3ep", "infs", "1x", "1h30"})
      CHECK_THROWS_AS_MESSAGE(parse_duration(wrong), UsageError, wrong);
    CHECK(parse_duration("0.001ep").steps(100) == 1);
    CHECK(parse_duration("1.5ep").steps(101) == 152);
    CHECK(parse_duration("0").steps(100) == 0);
    CHECK_THROWS_AS(parse_duration("1s").steps(100), UsageError);
  }
}

TEST_SUITE("text") {
  TEST_CASE("numbers") {
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(1e-5) == "1e-5");
    CHECK(shortest(1e30) == "1e30");
    CHECK(shortest(18) == "18");
    CHECK(shortest(-0.0) == "-0");
    CHECK(rounded(9.8765e-5, 2) == "9.9e-5");
    CHECK(rounded(3.14159, 3) == "3.14");
    CHECK(rounded(143.6, 3) == "144");
    CHECK(rounded(0.0123, 2) == "0.012");
    CHECK(human_bytes(512) == "512 B");
    CHECK(human_bytes(14'890'000'000) == "13.9 GiB");
    CHECK(human_count(11176512) == "11,176,512");
    CHECK(human_count(-100) == "-100");
    CHECK(human_seconds(0.84) == "0.8s");
    CHECK(human_seconds(725) == "12m05s");
    CHECK(human_seconds(6720) == "1h52m");
    CHECK(human_seconds(3600 * 76) == "3d04h");
  }

  TEST_CASE("UTF-8 is told from other bytes") {
    for (const char* text : {"", "abc", "\xc3\xa9", "\xe2\x96\xb2", "\xf0\x9f\x90\xa6"})
      CHECK(is_utf8(text));
    for (const char* text : {"\xff", "\xe9t\xe9", "\xc3", "\xe2\x96", "\xc0\x80", "\xe0\x80\x80",
                             "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"})
      CHECK_FALSE(is_utf8(text));
    for (const char32_t c :
         {0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF}) {
      std::string text;
      append_utf8(text, c);
      REQUIRE(code_point_at(text, 0));
      CHECK(code_point_at(text, 0)->value == c);
      CHECK(code_point_at(text, 0)->length == text.size());
    }
    std::string replaced;
    for (const char32_t c : {0xD800, 0xDFFF, 0x110000}) append_utf8(replaced, c);
    CHECK(replaced == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  }

  TEST_CASE("widths") {
    CHECK(display_width("abc") == 3);
    CHECK(display_width("\x1b[1mabc\x1b[0m") == 3);
    CHECK(display_width("│▲é") == 3);
    CHECK(display_width("日本") == 4);
    CHECK(clip("abcdef", 5) == "ab...");
    CHECK(clip("abcde", 5) == "abcde");
    CHECK(clip("日本語日本語", 7) == "日本...");
    CHECK(clip("abc", 0) == "");
    CHECK(to_ascii("a │ b ▲") == "a | b ^");
    CHECK(to_ascii("\xff") == "?");
    CHECK(without_codes("\x1b[31mred\x1b[0m") == "red");
    CHECK(without_controls("\x1b[31mred\x1b[0m\ttwo\n") == "\x1b[31mred\x1b[0m\ttwo\n");
    CHECK(without_controls("a\x1b[2Jb\x1b[1") == "a\\x1b[2Jb\\x1b[1");  // what clears a screen
    CHECK(without_controls("\r\x07\x7f é \xc2\x9b"
                           "2J \x9b") == "\\x0d\\x07\\x7f é \\x9b2J \\x9b");
    CHECK(wrap("one two three", 8) == std::vector<std::string>{"one two", "three"});
    CHECK(wrap("verylongword x", 4) == std::vector<std::string>{"verylongword", "x"});
    CHECK(split("a, b ,,c", ',') == std::vector<std::string>{"a", "b", "", "c"});
    CHECK(split("", ',').empty());
  }

  TEST_CASE("nearest names") {
    CHECK(nearest_name("optm.lr", {"optim.lr", "model.arch"}) == "optim.lr");
    CHECK(nearest_name("image-sise", {"image_size"}) == "image_size");
    CHECK(nearest_name("epcohs", {"epochs"}) == "epochs");  // a swap is one change
    CHECK_FALSE(nearest_name("zebra", {"epochs", "lr"}).has_value());
    CHECK_FALSE(nearest_name("x", {"m"}).has_value());
  }
}
