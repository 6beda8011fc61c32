// The program as a user runs it: a real plan, a real roster, real signals.
#include "tests/offline/factory/program_fixture.h"

namespace beaverpond::testing {
namespace {

TEST_F(TripleFactory, MakesBundlesThatAPoolReads) {
  ASSERT_EQ(run(common("make") + pools() + " --bundles 6 --segment-bundles 4"), 0)
      << read("err.txt");
  EXPECT_EQ(last_line().rfind(R"({"factory":"done","bundles":6,"cpu_seconds":)", 0), 0u)
      << last_line();
  EXPECT_EQ(level(), 6u);
  auto pool = Pool::open(pool_options(1));
  ASSERT_TRUE(pool.ok()) << pool.error().message;
  const auto ranges = pool->ranges(key_);
  ASSERT_EQ(ranges->size(), 2u);
  ASSERT_TRUE(pool->claim_blocking(key_, {0, 6, *ranges, {0, 0}}).ok());
  for (std::uint64_t number = 0; number < 6; ++number) {
    const auto bundle = pool->read_bundle_blocking(key_, number);
    ASSERT_TRUE(bundle.ok());
    EXPECT_EQ(bundle->correction().size(), number % 2 == 1 ? correction_size_ : 0);
  }
}

TEST_F(TripleFactory, ErrorsHaveTheirExitCodes) {
  EXPECT_EQ(run(common("make") + pools()), 2);  // no --bundles
  EXPECT_EQ(run(common("make") + pools() + " --bundles 0"), 2);
  EXPECT_EQ(run(common("make") + " --pool " + root_ + "/pool0 --bundles 2"), 2);
  EXPECT_NE(read("err.txt").find("has 2 players, but 1 pool"), std::string::npos);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2 --reserve 8000000G"), 11);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 18446744073709551615"), 2);
  EXPECT_NE(read("err.txt").find("--bundles"), std::string::npos) << read("err.txt");
  EXPECT_EQ(run(common("serve") + pools() + " --low 1 --high 9223372036854775808"), 2);
  EXPECT_NE(read("err.txt").find("--high"), std::string::npos) << read("err.txt");
  ASSERT_EQ(run(common("make") + pools() + " --bundles 2"), 0) << read("err.txt");
  for (const char* other : {"/pool0", "/pool0/", "/./pool0"}) {
    EXPECT_EQ(run(common("make") + " --pool " + root_ + "/pool0 --pool " + root_ + other +
                  " --bundles 2"),
              2);
    EXPECT_NE(read("err.txt").find("given twice"), std::string::npos) << read("err.txt");
  }
  EXPECT_EQ(run(common("make") + pools(1, 0) + " --bundles 2"), 7);
  ASSERT_EQ(::chmod((root_ + "/pool0").c_str(), 0755), 0);
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 2);
  ASSERT_EQ(::chmod((root_ + "/pool0").c_str(), 0700), 0);
  {
    auto lock = storage_.lock(root_ + "/pool1/factory.lock");
    EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 12);
  }
  std::ofstream(root_ + "/x.plan", std::ios::app) << "x";
  EXPECT_EQ(run(common("make") + pools() + " --bundles 2"), 2);
  EXPECT_NE(read("err.txt").find("x.plan"), std::string::npos) << read("err.txt");
}

TEST_F(TripleFactory, SaysWhatDealsAndTakesNothingElse) {
  ASSERT_EQ(run(common("make") + pools() + " --bundles 2 --device cpu"), 0) << read("err.txt");
  EXPECT_EQ(read("out.txt").rfind(R"({"factory":"device",)", 0), 0u) << read("out.txt");
  EXPECT_NE(read("out.txt").find(R"("reason":"computing on cpu)"), std::string::npos);
  for (const char* const command : {"make", "serve"}) {
    EXPECT_EQ(run(common(command) + pools() + " --bundles 2 --device gpu"), 2);
    EXPECT_NE(read("err.txt").find("'gpu' is not a device"), std::string::npos) << read("err.txt");
  }
  EXPECT_NE(run(common("make") + pools() + " --bundles 2 --device cuda:999"), 0);
  EXPECT_EQ(level(), 2u);
  const std::string profile = std::string(TRIPLE_FACTORY) + " profile --plan " + root_ + "/x.plan";
  ASSERT_EQ(run(profile + " --bundles 1 --device cpu"), 0) << read("err.txt");
  EXPECT_EQ(read("out.txt").rfind("computing on cpu", 0), 0u) << read("out.txt");
  EXPECT_EQ(run(profile + " --device gpu"), 2);
}

TEST_F(TripleFactory, DealerKeyIsMadeFoundAndCompared) {
  ASSERT_EQ(run(std::string(TRIPLE_FACTORY) + " keygen --home " + root_ + "/other"), 0);
  EXPECT_NE(read("out.txt").find("dealer_key = \""), std::string::npos) << read("out.txt");
  EXPECT_NE(read("out.txt").find("[factory]"), std::string::npos) << read("out.txt");
  for (const char* const file : {"dealer.pem", "key.pem"}) {
    struct stat found {};
    ASSERT_EQ(::stat((root_ + "/other/" + file).c_str(), &found), 0) << file;
    EXPECT_EQ(found.st_mode & 0777, 0400u) << file;
  }
  std::filesystem::remove(root_ + "/other/key.pem");  // as keygen --all leaves a dealer
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " keygen --home " + root_ + "/other"), 0);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " keygen --home " + root_ + "/other"), 2);
  EXPECT_NE(read("err.txt").find("is not replaced"), std::string::npos) << read("err.txt");
  const std::string make = common("make") + pools() + " --bundles 2";
  EXPECT_EQ(run(make + " --dealer-key " + root_ + "/other/dealer.pem"), 7);
  EXPECT_NE(read("err.txt").find("the roster names"), std::string::npos) << read("err.txt");
  std::filesystem::rename(root_ + "/dealer.pem", root_ + "/moved.pem");
  EXPECT_EQ(run(make), 2);
  EXPECT_NE(read("err.txt").find("--dealer-key"), std::string::npos) << read("err.txt");
  EXPECT_EQ(run(make + " --dealer-key " + root_ + "/moved.pem"), 0) << read("err.txt");
  ASSERT_EQ(::chmod((root_ + "/moved.pem").c_str(), 0444), 0);
  EXPECT_EQ(run(make + " --dealer-key " + root_ + "/moved.pem"), 2);
  EXPECT_NE(read("err.txt").find("chmod 0400"), std::string::npos) << read("err.txt");
}

TEST_F(TripleFactory, VerifyFindsInspectDescribesRepairBurns) {
  ASSERT_EQ(run(common("make") + pools() + " --bundles 8 --segment-bundles 4"), 0)
      << read("err.txt");
  const std::string on_pools = " --roster " + root_ + "/roster.toml" + pools() + " --json";
  const std::string verify = std::string(TRIPLE_FACTORY) + " verify" + on_pools;
  ASSERT_EQ(run(verify), 0) << read("err.txt");
  EXPECT_NE(last_line().find("\"segments\":2,\"bundles\":8,\"damaged\":0"), std::string::npos)
      << last_line();
  const std::string lane = lane_directory(root_ + "/pool0", key_);
  const auto ranges = list_ranges(storage_, lane, kSegmentSuffix).value();
  const std::string damaged = lane + "/" + segment_name(ranges[1], kSegmentSuffix);
  ASSERT_EQ(run(std::string(TRIPLE_FACTORY) + " inspect --json " + damaged), 0) << read("err.txt");
  EXPECT_NE(last_line().find("\"first\":4,\"count\":4"), std::string::npos) << last_line();
  EXPECT_NE(last_line().find("\"imported\":false"), std::string::npos) << last_line();
  {
    std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('x');
  }
  EXPECT_EQ(run(verify), 6);
  EXPECT_NE(read("out.txt").find(damaged + "\""), std::string::npos) << read("out.txt");
  EXPECT_NE(read("out.txt").find("chunk 0 is damaged"), std::string::npos) << read("out.txt");
  const std::string repair = std::string(TRIPLE_FACTORY) + " repair" + on_pools;
  {
    auto lock = storage_.lock(root_ + "/pool0/engine.lock");
    EXPECT_EQ(run(repair), 12) << read("err.txt");
  }
  EXPECT_EQ(run(repair), 0) << read("err.txt");
  EXPECT_FALSE(std::filesystem::exists(damaged));
  EXPECT_EQ(run(verify), 0) << read("err.txt");
  EXPECT_EQ(level(), 4u);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " inspect " + root_ + "/x.plan"), 6);
}

TEST_F(TripleFactory, ProfileTimesEveryEntryAndTouchesNoPool) {
  const std::string profile =
      std::string(TRIPLE_FACTORY) + " profile --plan " + root_ + "/x.plan --bundles 2";
  ASSERT_EQ(run(profile + " --players 3 --json"), 0) << read("err.txt");
  std::istringstream lines(read("out.txt"));
  std::vector<std::string> entries;
  for (std::string line; std::getline(lines, line);) entries.push_back(line);
  ASSERT_EQ(entries.size(), 4u);  // two masks, their product, the total
  EXPECT_EQ(entries[0].rfind(R"({"profile":"entry","entry":0,"kind":"mask","value":0,"count":1536,)"
                             R"("bytes":0,"seconds":0.0)",
                             0),
            0u)
      << entries[0];
  EXPECT_EQ(entries[2].rfind(R"({"profile":"entry","entry":2,"kind":"matmul","operation":2,)"
                             R"("count":512,"bytes":4096,"seconds":)",
                             0),
            0u)
      << entries[2];
  EXPECT_EQ(entries[3].rfind(R"({"profile":"done","plan":")" + to_hex(key_.plan) +
                                 R"(","players":3,"bundles":2,"bytes":4096,"seconds":)",
                             0),
            0u)
      << entries[3];
  ASSERT_EQ(run(profile), 0);
  EXPECT_NE(read("out.txt").find("\nmatmul "), std::string::npos) << read("out.txt");
  EXPECT_NE(read("out.txt").find("one bundle for 2 players"), std::string::npos);
  ASSERT_EQ(run(profile + " --full"), 0);
  EXPECT_NE(read("out.txt").find("operation 2"), std::string::npos) << read("out.txt");
  EXPECT_FALSE(std::filesystem::exists(root_ + "/pool0"));
  EXPECT_EQ(run(profile + " --players 1"), 2);
  EXPECT_EQ(run(profile + " --bundles 0"), 2);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " profile --plan " + root_ + "/none.plan"), 10);
  EXPECT_NE(read("err.txt").find("none.plan"), std::string::npos) << read("err.txt");
}

TEST_F(TripleFactory, OutputThatNobodyReceivesIsAnIoError) {
  for (const char* out : {">/dev/full", ">&-"}) {
    const std::string profile = std::string(TRIPLE_FACTORY) + " profile --plan " + root_ +
                                "/x.plan --bundles 2 --json " + out;
    EXPECT_EQ(run("sh -c '" + profile + "'"), 10) << out;
    EXPECT_NE(read("err.txt").find("standard output"), std::string::npos) << read("err.txt");
    const std::uint64_t before = level();
    EXPECT_EQ(run("sh -c '" + common("make") + pools() + " --bundles 2 " + out + "'"), 10) << out;
    EXPECT_EQ(level(), before + 2) << "the work itself is done";
  }
  EXPECT_EQ(run("sh -c '" + std::string(TRIPLE_FACTORY) + " --help >/dev/full'"), 0);
}

TEST_F(TripleFactory, ServeFillsThenStopsOnSigterm) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const pid_t child = start(common("serve") + pools() + " --low 5 --high 9 --segment-bundles 4" +
                              " --disk-budget 500M --reserve 1M");
    EXPECT_TRUE(wait_for_output("\"full\""));
    ASSERT_EQ(::kill(child, signal), 0);
    EXPECT_EQ(wait_for(child), 0) << read("err.txt");
    EXPECT_NE(last_line().find(R"("factory":"done")"), std::string::npos) << last_line();
    EXPECT_EQ(level(), 9u);
  }
}

TEST_F(TripleFactory, ServeReadsAConfigurationAndReadsItAgainOnSighup) {
  const auto configure = [&](const std::string& more) {
    std::ofstream(root_ + "/factory.toml")
        << "roster = \"roster.toml\"\npools = [\"pool0\", \"pool1\"]\n"
        << "status = \"127.0.0.1:0\"\nthreads = 2\n\n"
        << "[[class]]\nname = \"one\"\nplan = \"x.plan\"\nsegment_bundles = 4\n"
        << "low_bundles = 5\nhigh_bundles = 9\n"
        << more;
  };
  const std::string two =
      "[[class]]\nname = \"two\"\nplan = \"x.plan\"\nlane = 1\nlow_bundles = 3\n";
  configure("");
  const pid_t child =
      start(std::string(TRIPLE_FACTORY) + " serve --json --config " + root_ + "/factory.toml");
  EXPECT_TRUE(wait_for_output(R"("factory":"full")"));
  EXPECT_NE(read("out.txt").find(R"("class":"one")"), std::string::npos);
  configure("pools = 7\n");  // not in a section of its own: an unknown field of the class
  ASSERT_EQ(::kill(child, SIGHUP), 0);
  EXPECT_TRUE(wait_for_output("refused, the old one stays"));
  EXPECT_NE(read("out.txt").find("factory.toml:12: unknown field 'pools'"), std::string::npos)
      << read("out.txt");
  configure(two);
  ASSERT_EQ(::kill(child, SIGHUP), 0);
  EXPECT_TRUE(wait_for_output(R"("class":"two","level":3})"));
  const std::string output = read("out.txt");
  const std::size_t url = output.find("http://127.0.0.1:");
  ASSERT_NE(url, std::string::npos) << output;
  const std::string address = output.substr(url + 7, output.find('/', url + 7) - url - 7);
  for (int i = 0; i < 300 && read("status.txt").find("two ") == std::string::npos; ++i) {
    ASSERT_EQ(run(std::string(TRIPLE_FACTORY) + " status --address " + address, "status.txt"), 0);
  }
  EXPECT_NE(read("status.txt").find("one "), std::string::npos) << read("status.txt");
  EXPECT_NE(read("status.txt").find("two "), std::string::npos) << read("status.txt");
  ASSERT_EQ(run(std::string(TRIPLE_FACTORY) + " status --json --address " + address, "s.json"), 0);
  EXPECT_NE(read("s.json").find(R"("name":"one")"), std::string::npos) << read("s.json");
  EXPECT_NE(read("s.json").find(R"("level_bundles":9)"), std::string::npos) << read("s.json");
  ASSERT_EQ(::kill(child, SIGTERM), 0);
  EXPECT_EQ(wait_for(child), 0) << read("err.txt");
  EXPECT_EQ(level(), 9u);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " status --address " + address, "s.json"), 10);
  EXPECT_EQ(run(std::string(TRIPLE_FACTORY) + " serve --low 3 --config " + root_ + "/factory.toml"),
            2);
  EXPECT_EQ(run(common("serve") + pools() + " --low 3"), 2);
  EXPECT_NE(read("err.txt").find("--high is required"), std::string::npos) << read("err.txt");
}

}  // namespace
}  // namespace beaverpond::testing
