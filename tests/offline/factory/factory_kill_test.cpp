// A factory process killed at random moments, again and again, while bundles are consumed.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <random>
#include <thread>

#include "offline/pool/posix_storage.h"
#include "tests/offline/factory/factory_fixture.h"
#include "tests/soak.h"

namespace beaverpond::testing {
namespace {

/// The child: makes bundles until it is killed. Never returns to the test.
[[noreturn]] void make_for_ever(const TestSite& site) {
  auto factory = Factory::open(factory_options(site));
  if (!factory.ok()) ::_exit(100 + static_cast<int>(factory.error().code));
  const auto made = factory->make_blocking(1000000);
  ::_exit(made.ok() ? 0 : static_cast<int>(made.error().code));
}

TEST(FactoryKill, NothingHalfMadeIsEverConsumed) {
  std::string name = std::filesystem::temp_directory_path() / "beaverpond-kill-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  PosixStorage storage;
  TestSite site;
  site.storage = &storage;
  site.root = name + "/m";
  site.players = 3;
  site.correction_size = 20000;
  site.make_machines();
  // Delays are measured in segments of this disk, so that kills fall everywhere.
  const auto started = std::chrono::steady_clock::now();
  {
    auto factory = Factory::open(factory_options(site));
    ASSERT_TRUE(factory.ok()) << factory.error().message;
    ASSERT_TRUE(factory->make_blocking(4).ok());
  }
  const std::chrono::nanoseconds segment = std::chrono::steady_clock::now() - started;
  Consumer consumer(site);
  std::mt19937_64 random(1);
  const auto deadline = started + std::chrono::seconds(campaign_size(20, 240));
  const int cycles = campaign_size(40, 2000);
  for (int cycle = 0; cycle < cycles && std::chrono::steady_clock::now() < deadline; ++cycle) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) make_for_ever(site);
    const auto delay = segment * static_cast<int>(random() % 4000) / 1000;
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(delay, std::chrono::seconds(1)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the factory ended with " << WEXITSTATUS(status);
    consumer.consume(random() % 40);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "cycle " << cycle;
  }
  consumer.consume(1000000);
  EXPECT_GT(consumer.spent(), 0u);
  RecordProperty("bundles_spent", static_cast<int>(consumer.spent()));
  std::filesystem::remove_all(name);
}

}  // namespace
}  // namespace beaverpond::testing
