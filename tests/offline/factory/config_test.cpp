#include "offline/factory/config.h"

#include <gtest/gtest.h>

namespace beaverpond::testing {
namespace {

constexpr char kGood[] = R"(roster = "roster.toml"
pools = ["player0/pool", "/srv/player1/pool"]
device = "cuda:1"
threads = 3
disk_budget = "20G"
disk_reserve = 4096
status = "127.0.0.1:9470"

[[class]]
name = "train"
plan = "lenet.plan"
lane = 2
segment_bundles = 8
low_bundles = 16
high_bundles = 64
low_seconds = 30
high_seconds = 120.5
floor_per_second = 0.25

[[class]]
name = "infer"
plan = "/etc/infer.plan"
low_seconds = 10
)";

Result<FactoryConfig> parse(const std::string& text) {
  return parse_factory_config(text, "/etc/beaverpond/factory.toml");
}

std::string replaced(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(FactoryConfig, ReadsEveryField) {
  const auto config = parse(kGood);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->roster_path, "/etc/beaverpond/roster.toml");
  ASSERT_EQ(config->pool_directories.size(), 2u);
  EXPECT_EQ(config->pool_directories[0], "/etc/beaverpond/player0/pool");
  EXPECT_EQ(config->pool_directories[1], "/srv/player1/pool");
  EXPECT_EQ(config->device, "cuda:1");
  EXPECT_EQ(config->threads, 3);
  EXPECT_EQ(config->disk_budget, std::uint64_t{20} << 30);
  EXPECT_EQ(config->disk_reserve, 4096u);
  EXPECT_EQ(config->status.host, "127.0.0.1");
  EXPECT_EQ(config->status.port, 9470);
  ASSERT_EQ(config->classes.size(), 2u);
  const ClassConfig& train = config->classes[0];
  EXPECT_EQ(train.name, "train");
  EXPECT_EQ(train.plan_path, "/etc/beaverpond/lenet.plan");
  EXPECT_EQ(train.lane, 2u);
  EXPECT_EQ(train.segment_bundles, 8u);
  EXPECT_EQ(train.demand.low_bundles, 16u);
  EXPECT_EQ(train.demand.high_bundles, 64u);
  EXPECT_EQ(train.demand.low_seconds, 30);
  EXPECT_EQ(train.demand.high_seconds, 120.5);
  EXPECT_EQ(train.demand.floor_per_second, 0.25);
  EXPECT_EQ(config->classes[1].plan_path, "/etc/infer.plan");
  EXPECT_EQ(config->classes[1].demand.high_seconds, 10);
}

TEST(FactoryConfig, DeliveryTakesThePlaceOfPools) {
  const std::string delivery =
      "[delivery]\nlisten = \"[fd00::9]:9471\"\nhome = \"factory\"\nspool = \"/srv/spool\"\n";
  const std::string pools = "pools = [\"player0/pool\", \"/srv/player1/pool\"]\n";
  const auto config = parse(replaced(pools, "") + delivery);
  ASSERT_TRUE(config.ok()) << config.error().message;
  ASSERT_TRUE(config->delivery.has_value());
  EXPECT_EQ(config->delivery->listen, (ListenAddress{"fd00::9", 9471}));
  EXPECT_EQ(config->delivery->home, "/etc/beaverpond/factory");
  EXPECT_EQ(config->delivery->spool, "/srv/spool");
  EXPECT_NE(parse(kGood + delivery).error().message.find("and not both"), std::string::npos);
  for (const char* field : {"listen = ", "home = ", "spool = "}) {
    std::string text = replaced(pools, "") + delivery;
    text.replace(text.find(field, text.find("[delivery]")), 4, "xxxx");
    EXPECT_FALSE(parse(text).ok()) << field;
  }
}

TEST(FactoryConfig, NamesLineFieldAndRemedyOfWhatIsWrong) {
  const struct {
    std::string text;
    std::string says;
  } cases[] = {
      {replaced("roster = \"roster.toml\"\n", ""), "'roster' is missing"},
      {replaced("pools = [", "pool = ["), "factory.toml:2: unknown field 'pool'"},
      {replaced("pools = [\"player0/pool\", \"/srv/player1/pool\"]\n", ""), "'pools' is missing"},
      {replaced("\"player0/pool\"", "7"), ":2: the field 'pools' has the wrong type"},
      {replaced("cuda:1", "gpu"), "factory.toml:3: device: 'gpu' is not a device"},
      {replaced("\"cuda:1\"", "1"), ":3: the field 'device' has the wrong type"},
      {replaced("threads = 3", "threads = 100000"), ":4: the field 'threads' must lie between"},
      {replaced("threads = 3", "threads = \"3\""), ":4: the field 'threads' has the wrong type"},
      {replaced("\"20G\"", "\"20X\""), "'disk_budget' has the wrong type"},
      {replaced("\"20G\"", "\"99999999999999999T\""), "'disk_budget' must lie between"},
      {replaced("\"20G\"", "-1"), "'disk_budget' must lie between"},
      {replaced("127.0.0.1:9470", "0.0.0.0:9470"), ":7: '0.0.0.0:9470' is not an address"},
      {replaced("127.0.0.1:9470", "127.0.0.1"), "is not an address"},
      {replaced("127.0.0.1:9470", "127.0.0.1:99999"), "is not an address"},
      {replaced("name = \"infer\"", "name = \"train\""), "two classes have the name 'train'"},
      {replaced("name = \"infer\"", "name = \"a b\""), "'name' must have 1 to 64 letters"},
      {replaced("low_seconds = 10\n", ""), "'infer' has no low mark"},
      {replaced("high_bundles = 64", "high_bundles = 4"), "high mark below its low mark"},
      {replaced("low_seconds = 10\n", "low_seconds = -1"), "'low_seconds' must lie between"},
      {replaced("low_seconds = 10\n", "low_seconds = nan"), "'low_seconds' must lie between"},
      {replaced("lane = 2", "lane = 4294967296"), "'lane' must lie between"},
      {replaced("lane = 2", "lanes = 2"), "unknown field 'lanes'"},
      {replaced("threads = 3", "threads = "), "not valid TOML"},
      {"roster = \"r\"\npools = [\"a\"]\n", "no [[class]] section"},
      {"roster = \"r\"\npools = [\"a\"]\nclass = [1]\n", "must be [[class]] sections"},
      {"", "'roster' is missing"},
  };
  for (const auto& one : cases) {
    const auto config = parse(one.text);
    ASSERT_FALSE(config.ok()) << one.says;
    EXPECT_EQ(config.error().code, ErrorCode::kConfig);
    EXPECT_NE(config.error().message.find(one.says), std::string::npos) << config.error().message;
    EXPECT_NE(config.error().message.find("factory.toml:"), std::string::npos);
  }
}

TEST(FactoryConfig, TextThatIsCutOrDamagedIsRefusedOrRead) {
  const std::string text = kGood;
  for (std::size_t size = 0; size < text.size(); ++size) (void)parse(text.substr(0, size));
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'\0', '"', '[', '\xff', '9'}) {
      std::string damaged = text;
      damaged[i] = c;
      const auto config = parse(damaged);
      EXPECT_TRUE(!config.ok() || !config->classes.empty());
    }
  }
}

TEST(FactoryConfig, OnlyThisHostIsALoopback) {
  for (const char* good : {"127.0.0.1:0", "localhost:80", "[::1]:65535"}) {
    EXPECT_TRUE(parse_loopback(good).ok()) << good;
  }
  for (const char* bad : {"", ":", "10.0.0.1:80", "127.0.0.1:", "127.0.0.1:x", "::1", "[::]:80",
                          "127.0.0.1:-1", "127.0.0.1:123456"}) {
    EXPECT_FALSE(parse_loopback(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace beaverpond::testing
