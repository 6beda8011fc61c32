// The files in offline/factory/deploy are what they claim to be.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "offline/factory/config.h"
#include "offline/factory/metrics.h"

namespace beaverpond::testing {
namespace {

std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

std::set<std::string> metrics_in(const std::string& text) {
  constexpr char kPrefix[] = "beaverpond_";
  std::set<std::string> found;
  for (std::size_t at = text.find(kPrefix); at != std::string::npos;) {
    const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyz_", at);
    found.insert(text.substr(at, end - at));
    at = text.find(kPrefix, end);
  }
  return found;
}

/// Every metric that a factory can export.
std::set<std::string> exported() {
  FactoryStatus status;
  ClassStatus one;
  one.seconds_left = 1;
  one.players.resize(1);
  status.classes = {one};
  return metrics_in(metrics_text(status));
}

TEST(Deploy, ExampleConfigurationIsOne) {
  const auto config = read_factory_config(DEPLOY "/factory.toml");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->classes.size(), 2u);
}

TEST(Deploy, DashboardIsJsonAndAsksOnlyForWhatIsExported) {
  const std::string text = read(DEPLOY "/grafana.json");
  const auto dashboard = nlohmann::json::parse(text, nullptr, false);
  ASSERT_FALSE(dashboard.is_discarded());
  std::set<std::string> asked;
  std::set<int> ids;
  for (const auto& panel : dashboard.at("panels")) {
    EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second);
    for (const auto& target : panel.at("targets")) {
      const auto names = metrics_in(target.at("expr").get<std::string>());
      EXPECT_FALSE(names.empty()) << panel.at("title");
      asked.insert(names.begin(), names.end());
    }
  }
  const std::set<std::string> known = exported();
  for (const std::string& name : asked) EXPECT_TRUE(known.contains(name)) << name;
  for (const std::string& name : known)
    EXPECT_TRUE(asked.contains(name)) << name << " is not shown";
}

TEST(Deploy, ReadmeListsEveryMetric) {
  const std::set<std::string> listed = metrics_in(read(DEPLOY "/../README.md"));
  for (const std::string& name : exported()) EXPECT_TRUE(listed.contains(name)) << name;
}

TEST(Deploy, UnitsPassSystemdsChecks) {
  const std::string program = "/usr/bin/triple-factory";
  std::string folder = std::filesystem::temp_directory_path() / "beaverpond-unit-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const std::string name : {"triple-factory.service", "triple-factory-pull@.service"}) {
    std::string unit = read(DEPLOY "/" + name);
    ASSERT_NE(unit.find(program), std::string::npos);
    if (std::system("command -v systemd-analyze >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "systemd-analyze is not installed";
    }
    // The checks want the program to exist, and this one is not installed.
    unit.replace(unit.find(program), program.size(), TRIPLE_FACTORY);
    std::ofstream(folder + "/" + name) << unit;
    const std::string line = "systemd-analyze verify --man=no '" + folder + "/" + name + "' >" +
                             folder + "/out.txt 2>&1";
    const int code = std::system(line.c_str());
    std::stringstream said;
    said << std::ifstream(folder + "/out.txt").rdbuf();
    EXPECT_EQ(code, 0) << said.str();
    EXPECT_EQ(said.str().find(name), std::string::npos) << said.str();
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace beaverpond::testing
