// Typed reading of one table of a job file. The first mistake is remembered, later reads return
// defaults, and the caller asks once at the end: the reader of a format stays a plain list of
// fields.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "online/nn/config_tree.h"

namespace beaverpond {

/// The first mistake of a file.
struct ConfigContext {
  std::string file;
  std::optional<Error> error;

  /// "job.toml:12: training.batch: `what`; `remedy`".
  void fail(std::uint32_t line, const std::string& field, const std::string& what,
            const std::string& remedy);
};

class ConfigSection {
 public:
  /// Fails on a node that is no table and on keys outside `known`. `node` may be null: an absent
  /// table, whose fields are all absent. Keeps references to context and node.
  ConfigSection(ConfigContext& context, const ConfigNode* node, std::string path,
                std::initializer_list<std::string_view> known);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const ConfigNode* find(std::string_view key) const;
  std::uint32_t line_of(std::string_view key) const;
  std::string field(std::string_view key) const;

  /// With a fallback the field is optional, without one it is required.
  std::uint64_t integer(std::string_view key, std::uint64_t low, std::uint64_t high,
                        std::optional<std::uint64_t> fallback = std::nullopt);
  double positive_real(std::string_view key);
  /// One number or a list of them, finite and below 1e15 in size; none when absent.
  std::vector<double> reals(std::string_view key);
  bool boolean(std::string_view key, bool fallback);
  std::string text(std::string_view key, const std::optional<std::string>& fallback = std::nullopt);
  std::vector<std::uint64_t> integers(std::string_view key, std::uint64_t low, std::uint64_t high);
  std::vector<std::string> texts(std::string_view key, std::vector<std::string> fallback);
  /// The tables of [[key]], or none.
  const std::vector<ConfigNode>& tables(std::string_view key);
  /// A number of bytes: an integer, or "512MiB", "2GiB".
  std::uint64_t byte_size(std::string_view key, std::uint64_t fallback);

  void fail(std::string_view key, const std::string& what, const std::string& remedy);
  bool failed() const { return context_.error.has_value(); }

 private:
  const ConfigNode* want(std::string_view key, ConfigNode::Kind kind, bool required);
  bool in_range(const ConfigNode& node, std::string_view key, std::uint64_t low,
                std::uint64_t high);

  ConfigContext& context_;
  const ConfigNode* node_;
  std::string path_;
};

/// A number for a message, as %g writes it.
std::string number_text(double value);

/// " (did you mean 'batch'?)" when one of `known` is a near miss of `word`, else "".
std::string did_you_mean(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace beaverpond
