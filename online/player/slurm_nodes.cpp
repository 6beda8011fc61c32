#include "online/player/slurm_nodes.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace beaverpond {
namespace {

constexpr std::size_t kMost = 4096;

Error wrong(const std::string& text, const std::string& why) {
  return make_error(ErrorCode::kConfig,
                    "Slurm's list '" + text + "' " + why + "; give --peers instead");
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  if (text.empty() || text.size() > 9) return std::nullopt;
  if (std::from_chars(text.data(), end, value).ptr != end) return std::nullopt;
  return value;
}

/// Splits at commas that are in no bracket; nothing if brackets do not match or an item is empty.
std::optional<std::vector<std::string_view>> items_of(std::string_view list) {
  std::vector<std::string_view> items;
  bool inside = false;
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= list.size(); ++at) {
    const char c = at < list.size() ? list[at] : ',';
    if (c == '[' || c == ']') {
      if (inside == (c == '[')) return std::nullopt;
      inside = c == '[';
    }
    if (c != ',' || (inside && at < list.size())) continue;
    if (inside || at == begin) return std::nullopt;
    items.push_back(list.substr(begin, at - begin));
    begin = at + 1;
  }
  return items;
}

/// "08-10,12" becomes 08, 09, 10, 12.
std::optional<std::vector<std::string>> numbers_of(std::string_view ranges) {
  std::vector<std::string> numbers;
  const auto items = items_of(ranges);
  if (!items.has_value()) return std::nullopt;
  for (const std::string_view item : *items) {
    const std::size_t dash = item.find('-');
    const std::string_view low = item.substr(0, dash);
    const std::string_view high = dash == item.npos ? low : item.substr(dash + 1);
    const std::optional<std::uint64_t> first = number_of(low);
    const std::optional<std::uint64_t> last = number_of(high);
    if (!first.has_value() || !last.has_value() || *last < *first) return std::nullopt;
    if (*last - *first >= kMost - numbers.size()) return std::nullopt;
    for (std::uint64_t value = *first; value <= *last; ++value) {
      std::string digits = std::to_string(value);
      if (digits.size() < low.size()) digits.insert(0, low.size() - digits.size(), '0');
      numbers.push_back(std::move(digits));
    }
  }
  return numbers;
}

/// One name of the list, with all its brackets.
std::optional<std::vector<std::string>> hosts_of(std::string_view name) {
  std::vector<std::string> hosts = {""};
  while (!name.empty()) {
    const std::size_t open = name.find('[');
    for (std::string& host : hosts) host += name.substr(0, open);
    if (open == name.npos) break;
    const std::size_t close = name.find(']', open);
    if (close == name.npos) return std::nullopt;
    const auto numbers = numbers_of(name.substr(open + 1, close - open - 1));
    if (!numbers.has_value() || numbers->size() * hosts.size() > kMost) return std::nullopt;
    std::vector<std::string> longer;
    for (const std::string& host : hosts) {
      for (const std::string& number : *numbers) longer.push_back(host + number);
    }
    hosts = std::move(longer);
    name.remove_prefix(close + 1);
  }
  return hosts;
}

}  // namespace

Result<std::vector<std::string>> expand_node_list(const std::string& list) {
  const auto names = items_of(list);
  if (!names.has_value()) return wrong(list, "of nodes is none, as in node[1-3,7]");
  std::vector<std::string> all;
  for (const std::string_view name : *names) {
    const auto hosts = hosts_of(name);
    if (!hosts.has_value() || all.size() + hosts->size() > kMost) {
      return wrong(list, "of nodes is none, as in node[1-3,7], or has more than 4096");
    }
    all.insert(all.end(), hosts->begin(), hosts->end());
  }
  return all;
}

Result<std::vector<std::string>> hosts_of_tasks(const std::string& node_list,
                                                const std::string& tasks_per_node) {
  BP_ASSIGN(const std::vector<std::string> nodes, expand_node_list(node_list));
  const Error malformed = wrong(tasks_per_node, "of tasks on nodes is none, as in 2(x3),1");
  const auto items = items_of(tasks_per_node);
  if (!items.has_value()) return malformed;
  std::vector<std::string> hosts;
  std::size_t node = 0;
  for (const std::string_view item : *items) {
    const std::size_t open = item.find("(x");
    const std::optional<std::uint64_t> tasks = number_of(item.substr(0, open));
    std::optional<std::uint64_t> times = 1;
    if (open != item.npos) {
      if (item.back() != ')') return malformed;
      times = number_of(item.substr(open + 2, item.size() - open - 3));
    }
    if (!tasks.has_value() || !times.has_value() || *tasks == 0 || *times == 0) return malformed;
    if (*times > nodes.size() - node) {
      return wrong(tasks_per_node, "of tasks has more nodes than " + node_list);
    }
    if (*tasks > kMost || *tasks * *times > kMost - hosts.size()) return malformed;
    for (std::uint64_t i = 0; i < *times; ++i, ++node) {
      hosts.insert(hosts.end(), *tasks, nodes[node]);
    }
  }
  if (node == nodes.size()) return hosts;
  return wrong(tasks_per_node, "of tasks has fewer nodes than " + node_list);
}

}  // namespace beaverpond
