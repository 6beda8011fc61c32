// Who a process is: flags, launchers' variables, the roster; and what is refused.
#include "online/player/launch_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "online/player/slurm_nodes.h"
#include "online/session/identity.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Variables = std::map<std::string, std::string>;

Environment environment_of(Variables variables) {
  return [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

class LaunchResolution : public ::testing::Test {
 protected:
  LaunchResolution() { BP_CHECK(keygen_all(folder_.path(), 3, 0).ok(), "keygen"); }

  LaunchFlags home(int rank) const {
    LaunchFlags flags;
    flags.home = folder_.path() + "/player" + std::to_string(rank);
    return flags;
  }
  LaunchFlags homes() const {
    LaunchFlags flags;
    flags.homes = folder_.path();
    return flags;
  }
  /// Gives all homes' rosters hosts and ports.
  void put_ports(std::uint16_t of_last) {
    for (int rank = 0; rank < 3; ++rank) {
      const std::string path = Home{home(rank).home}.roster_path();
      Roster roster = read_roster_file(path).value();
      for (std::size_t i = 0; i < 3; ++i) {
        roster.players[i].host = "10.0.0." + std::to_string(i + 1);
        roster.players[i].port = 7000;
      }
      roster.players[2].port = of_last;
      BP_CHECK(write_roster_file(path, roster).ok(), "roster");
    }
  }

  void expect_refused(const LaunchFlags& flags, const Variables& variables,
                      const std::vector<std::string>& texts, ErrorCode code = ErrorCode::kConfig) {
    const Result<Launch> launch = resolve_launch(flags, environment_of(variables));
    ASSERT_FALSE(launch.ok()) << launch->line;
    EXPECT_EQ(launch.error().code, code);
    for (const std::string& text : texts) EXPECT_THAT(launch.error().message, HasSubstr(text));
  }

  TemporaryFolder folder_;
};

TEST_F(LaunchResolution, EverySourceNamesTheRankAndTheFirstOneWins) {
  Variables variables;
  const auto expect = [&](LaunchFlags flags, int rank, const std::string& source) {
    const Result<Launch> launch = resolve_launch(flags, environment_of(variables));
    ASSERT_TRUE(launch.ok()) << launch.error().message;
    EXPECT_EQ(launch->rank, rank);
    EXPECT_EQ(launch->size, 3);
    EXPECT_EQ(launch->home, folder_.path() + "/player" + std::to_string(rank));
    EXPECT_THAT(launch->line, HasSubstr(source));
    EXPECT_EQ(launch->line.find('\n'), std::string::npos);
  };
  expect(home(2), 2, "the certificate in " + home(2).home);
  variables.insert({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "3"}});
  expect(homes(), 0, "by SLURM_PROCID and SLURM_NTASKS");
  variables.insert({{"PMI_RANK", "1"}, {"PMI_SIZE", "3"}});
  expect(homes(), 1, "by PMI_RANK and PMI_SIZE, not SLURM_PROCID=0");
  variables.insert({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "3"}});
  expect(homes(), 2, "by OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE");
  variables.insert({{"RANK", "1"}, {"WORLD_SIZE", "3"}});
  expect(homes(), 1, "by RANK and WORLD_SIZE");
  LaunchFlags flags = homes();
  flags.rank = 0;
  flags.size = 3;
  expect(flags, 0, "by --rank and --size, not RANK=1");
}

TEST_F(LaunchResolution, AddressesAreThoseOfTheFirstThatNamesThem) {
  const auto peers = [&](const LaunchFlags& flags, const Variables& variables) {
    const Result<Launch> launch = resolve_launch(flags, environment_of(variables));
    EXPECT_TRUE(launch.ok()) << launch.error().message;
    return launch.ok() ? launch->peers : std::vector<std::string>();
  };
  const Variables master = {{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "9000"}};
  EXPECT_THAT(peers(home(0), {}),
              ElementsAre("127.0.0.1:7470", "127.0.0.1:7471", "127.0.0.1:7472"));
  EXPECT_THAT(peers(home(0), master), ElementsAre("node7:9000", "node7:9001", "node7:9002"));
  put_ports(7000);
  EXPECT_THAT(peers(home(0), {}), ElementsAre("10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"));
  EXPECT_THAT(peers(home(0), master), ElementsAre("node7:9000", "10.0.0.2:7000", "10.0.0.3:7000"));
  LaunchFlags flags = home(0);
  flags.peers = {"a:1", "b:1", "a:2"};
  EXPECT_THAT(peers(flags, master), ElementsAre("a:1", "b:1", "a:2"));
}

TEST_F(LaunchResolution, SlurmsNodesStandInForARosterWithoutPorts) {
  Variables slurm = {{"SLURM_PROCID", "2"},
                     {"SLURM_NTASKS", "3"},
                     {"SLURM_STEP_NODELIST", "node[08-09]"},
                     {"SLURM_STEP_TASKS_PER_NODE", "2,1"},
                     {"SLURM_NODELIST", "node[01-99]"},
                     {"SLURMD_NODENAME", "node09"}};
  const auto peers = [&] {
    const Result<Launch> launch = resolve_launch(homes(), environment_of(slurm));
    EXPECT_TRUE(launch.ok()) << launch.error().message;
    return launch.ok() ? launch->peers : std::vector<std::string>();
  };
  EXPECT_THAT(peers(), ElementsAre("node08:7470", "node08:7471", "node09:7472"));
  slurm["SLURMD_NODENAME"] = "node08";  // tasks in another order
  expect_refused(homes(), slurm, {"would be on node09", "is on node08", "--distribution=block"});
  slurm["SLURM_STEP_TASKS_PER_NODE"] = "2,2";
  expect_refused(homes(), slurm, {"lists 4 tasks", "--peers"});
  slurm["SLURM_STEP_TASKS_PER_NODE"] = "2";
  expect_refused(homes(), slurm, {"fewer nodes than node[08-09]"});
  slurm["SLURM_STEP_TASKS_PER_NODE"] = "3";  // all on one: they meet where the roster says
  slurm["SLURM_STEP_NODELIST"] = "node08";
  EXPECT_THAT(peers(), ElementsAre("127.0.0.1:7470", "127.0.0.1:7471", "127.0.0.1:7472"));
  slurm["SLURM_STEP_TASKS_PER_NODE"] = "2,1";
  slurm["SLURM_STEP_NODELIST"] = "node[08-09]";
  slurm["MASTER_ADDR"] = "node7";
  slurm["MASTER_PORT"] = "9000";
  EXPECT_THAT(peers(), ElementsAre("node7:9000", "node7:9001", "node7:9002"));
  slurm.erase("MASTER_ADDR");
  slurm.erase("MASTER_PORT");
  slurm["RANK"] = "1";  // another launcher's players: Slurm does not know where they are
  slurm["WORLD_SIZE"] = "3";
  EXPECT_THAT(peers(), ElementsAre("127.0.0.1:7470", "127.0.0.1:7471", "127.0.0.1:7472"));
  put_ports(7000);
  EXPECT_THAT(peers(), ElementsAre("10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"));
}

TEST(SlurmNodes, ListsExpandInTheirOrder) {
  const auto hosts = [](const std::string& list) {
    const auto expanded = expand_node_list(list);
    EXPECT_TRUE(expanded.ok()) << expanded.error().message;
    return expanded.ok() ? *expanded : std::vector<std::string>();
  };
  EXPECT_THAT(hosts("node1"), ElementsAre("node1"));
  EXPECT_THAT(hosts("node[1-3,7]"), ElementsAre("node1", "node2", "node3", "node7"));
  EXPECT_THAT(hosts("b,n[08-10,100]-ib,a"),
              ElementsAre("b", "n08-ib", "n09-ib", "n10-ib", "n100-ib", "a"));
  EXPECT_THAT(hosts("r[1-2]n[0-1]"), ElementsAre("r1n0", "r1n1", "r2n0", "r2n1"));
  for (const char* list : {"", ",", "a,", "a[", "a]", "a[]", "a[1-]", "a[-1]", "a[3-1]", "a[1,]",
                           "a[[1]]", "a[x]", "a[0-9999]", "a[0-99]b[0-99]", "a[1234567890]"}) {
    const auto expanded = expand_node_list(list);
    ASSERT_FALSE(expanded.ok()) << list;
    EXPECT_EQ(expanded.error().code, ErrorCode::kConfig);
    EXPECT_THAT(expanded.error().message, HasSubstr("--peers"));
  }
}

TEST(SlurmNodes, TasksAreNumberedNodeByNode) {
  const auto hosts = hosts_of_tasks("n[1-4]", "2(x2),1,3");
  ASSERT_TRUE(hosts.ok()) << hosts.error().message;
  EXPECT_THAT(*hosts, ElementsAre("n1", "n1", "n2", "n2", "n3", "n4", "n4", "n4"));
  for (const char* tasks : {"", "1", "1(x5)", "1(x3)", "1(x4),1", "0(x4)", "1(x0)", "1(x4", "1(4)",
                            "x", "5000(x4)", "1(x4)9"}) {
    EXPECT_FALSE(hosts_of_tasks("n[1-4]", tasks).ok()) << tasks;
  }
}

TEST_F(LaunchResolution, HalfAPairIsRefused) {
  expect_refused(homes(), {{"RANK", "1"}}, {"RANK is set and WORLD_SIZE is not", "--rank"});
  expect_refused(homes(), {{"SLURM_NTASKS", "3"}}, {"SLURM_NTASKS is set and SLURM_PROCID"});
  LaunchFlags flags = homes();
  flags.rank = 1;
  expect_refused(flags, {}, {"--rank is given and --size is not"});
  expect_refused(home(0), {{"MASTER_ADDR", "a"}}, {"MASTER_ADDR is set and MASTER_PORT is not"});
  expect_refused(home(0), {{"MASTER_PORT", "1"}}, {"MASTER_PORT is set and MASTER_ADDR is not"});
}

TEST_F(LaunchResolution, NumbersOutOfRangeAreRefused) {
  const auto ompi = [](const char* rank, const char* size) {
    return Variables{{"OMPI_COMM_WORLD_RANK", rank}, {"OMPI_COMM_WORLD_SIZE", size}};
  };
  expect_refused(homes(), ompi("3", "3"), {"OMPI_COMM_WORLD_RANK is 3", "ranks are 0 to 2"});
  expect_refused(homes(), ompi("0", "1"), {"OMPI_COMM_WORLD_SIZE says 1", "2 to 64"});
  expect_refused(homes(), ompi("0", "65"), {"says 65"});
  for (const char* rank : {"-1", "one", "1x", "99999999999"}) {
    expect_refused(homes(), ompi(rank, "3"), {std::string("is '") + rank + "'", "unset it"});
  }
  LaunchFlags flags = homes();
  flags.rank = -1;
  flags.size = 3;
  expect_refused(flags, {}, {"--rank is -1", "number them from 0"});
  for (const char* port : {"0", "65534", "70000", "http"}) {
    expect_refused(home(0), {{"MASTER_ADDR", "a"}, {"MASTER_PORT", port}}, {"MASTER_PORT is"});
  }
}

TEST_F(LaunchResolution, WhatDiffersFromRosterOrCertificateIsRefused) {
  expect_refused(homes(), {{"RANK", "1"}, {"WORLD_SIZE", "2"}},
                 {"WORLD_SIZE says that there are 2 players", "names 3"});
  expect_refused(home(0), {{"RANK", "1"}, {"WORLD_SIZE", "3"}},
                 {"RANK says that this is player 1", "is that of player 0", "--homes"},
                 ErrorCode::kRosterMismatch);
}

TEST_F(LaunchResolution, ARankThatNobodyNamesIsRefused) {
  expect_refused(homes(), {}, {"--homes needs to know", "mpirun", "--rank"});
  expect_refused({}, {}, {"--home DIR", "--homes DIR"});
}

TEST_F(LaunchResolution, DuplicatesAndGapsAmongAddressesAreRefused) {
  LaunchFlags flags = home(0);
  flags.peers = {"a:1", "b:2", "a:1"};
  expect_refused(flags, {}, {"--peers gives players 0 and 2 the same address, a:1"});
  flags.peers = {"a:1", "b:2"};
  expect_refused(flags, {}, {"--peers names 2 addresses", "3 players"});
  flags.peers = {"a:1", "", "b:2"};
  expect_refused(flags, {}, {"no host for player 1"});
  for (const char* address : {"a", "a:", "a:x", "a:70000"}) {
    flags.peers = {"b:1", "b:2", address};
    expect_refused(flags, {}, {"player 2 the address '" + std::string(address), "host:port"});
  }
  put_ports(7000);
  expect_refused(home(0), {{"MASTER_ADDR", "10.0.0.3"}, {"MASTER_PORT", "7000"}},
                 {"players 0 and 2 the same address", "a port of its own"});
}

}  // namespace
}  // namespace beaverpond::testing
