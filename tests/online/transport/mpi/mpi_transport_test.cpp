// The MPI transport's operations and its end, in processes that mpirun starts: this program runs
// itself again, once for each player. And what loading the module says where there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "online/transport/mpi_module.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using testing::in_ms;

constexpr int kPlayers = 3;
constexpr const char* kFolder = "BEAVERPOND_MPI_TEST_FOLDER";
constexpr const char* kPorts = "BEAVERPOND_MPI_TEST_PORTS";

TEST(MpiModule, WhatIsNotThereIsSaid) {
  const std::array<std::string, 2> nowhere = {"/nowhere/libbeaverpond_mpi.so",
                                              "libbeaverpond_none.so"};
  const auto none = load_mpi_module_from(nowhere);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ErrorCode::kConfig);
  EXPECT_THAT(none.error().message, HasSubstr("no MPI module"));
  EXPECT_THAT(none.error().message, HasSubstr("install Open MPI"));
  const std::array<std::string, 1> other = {"libz.so.1"};
  const auto foreign = load_mpi_module_from(other);
  ASSERT_FALSE(foreign.ok());
  EXPECT_THAT(foreign.error().message, HasSubstr("not a module of Beaverpond"));
}

TEST(MpiModule, WhatIsDamagedIsRefused) {
  const testing::TemporaryFolder folder;
  const std::string file = folder.path() + "/beaverpond_mpi_cut.so";
  const std::array<std::string, 1> path = {file};
  const auto refused = [&path] {
    const auto module = load_mpi_module_from(path);
    EXPECT_FALSE(module.ok());
    return module.ok() ? std::string("loaded") : module.error().message;
  };
  std::ofstream(file) << "no library at all";
  EXPECT_THAT(refused(), HasSubstr(file + " is damaged"));
  if (std::string_view(MPI_MODULE) == "none") GTEST_SKIP() << "built without MPI";
  const std::uintmax_t size = std::filesystem::file_size(MPI_MODULE);
  // The loader of the system would map the parts that are gone, and die of it.
  for (const std::uintmax_t kept : {std::uintmax_t{64}, size / 2, size - 1}) {
    std::filesystem::copy_file(MPI_MODULE, file, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(file, kept);
    EXPECT_THAT(refused(), HasSubstr(file + " is damaged")) << kept;
  }
}

TEST(MpiModule, FabricsThatNobodyTrustsAreRefused) {
  EXPECT_TRUE(check_mpi_fabric(true).ok());
  const Result<void> refused = check_mpi_fabric(false);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("trusted_fabric = true"));
}

// ---- What runs under mpirun ----

class Child : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::getenv(kFolder) == nullptr) GTEST_SKIP() << "started by the tests of MpiRun";
    rank_ = std::stoi(::getenv("OMPI_COMM_WORLD_RANK"));
    const std::string folder = ::getenv(kFolder);
    const std::string home = folder + "/player" + std::to_string(rank_);
    const Roster roster = read_roster_file(home + "/roster.toml").value();
    TlsOptions options;
    options.rank = rank_;
    std::istringstream ports(::getenv(kPorts));
    for (const RosterPlayer& player : roster.players) {
      std::uint16_t port = 0;
      ports >> port;
      options.players.push_back({player.name, "127.0.0.1", port, player.certificate});
    }
    options.roster_hash = roster_hash(roster);
    options.key_path = home + "/key.pem";
    options.certificate_path = home + "/cert.pem";
    const std::array<std::string, 1> path = {MPI_MODULE};
    const auto module = load_mpi_module_from(path);
    ASSERT_TRUE(module.ok()) << module.error().message;
    Result<TlsConnected> connected = connect_tls_blocking(options);
    ASSERT_TRUE(connected.ok()) << connected.error().message;
    tls_ = std::move(connected->transport);
    MpiOptions mpi;
    mpi.trusted_fabric = true;
    Result<std::unique_ptr<Transport>> made = (*module)->connect(*tls_, mpi, in_ms(20'000));
    ASSERT_TRUE(made.ok()) << made.error().message;
    mpi_ = std::move(*made);
  }

  std::uint64_t word(int rank, std::size_t at) const {
    return (static_cast<std::uint64_t>(rank) + 3) * 0x9e3779b97f4a7c15u * (at + 1);
  }

  int rank_ = 0;
  std::unique_ptr<Transport> tls_;
  std::unique_ptr<Transport> mpi_;
};

TEST_F(Child, Collectives) {
  EXPECT_EQ(mpi_->rank(), rank_);
  EXPECT_EQ(mpi_->size(), kPlayers);
  EXPECT_EQ(mpi_->name(), "mpi");
  for (const std::size_t count : {0u, 1u, 511u, 40'000u, 2'000'000u}) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kXor}) {
      std::vector<std::uint64_t> words(count);
      for (std::size_t i = 0; i < count; ++i) words[i] = word(rank_, i);
      ASSERT_TRUE(mpi_->all_reduce_blocking(words, op, {}, in_ms(20'000)).ok());
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t a = word(0, i), b = word(1, i), c = word(2, i);
        wrong += words[i] != (op == ReduceOp::kSum ? a + b + c : (a ^ b ^ c)) ? 1 : 0;
      }
      EXPECT_EQ(wrong, 0u) << count;
    }
  }
  const std::vector<std::uint8_t> mine(1000, static_cast<std::uint8_t>(rank_ + 1));
  std::vector<std::uint8_t> all(3000);
  const auto over_mpi = [this] { return mpi_->stats().sent_bytes - tls_->stats().sent_bytes; };
  std::uint64_t before = over_mpi();
  ASSERT_TRUE(mpi_->start_all_gather(mine, all, {}, kHostStream).wait(in_ms(20'000)).ok());
  EXPECT_EQ(over_mpi() - before, 2 * mine.size());  // as a ring does: to all others
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], i / 1000 + 1);
  for (int root = 0; root < kPlayers; ++root) {
    std::vector<std::uint8_t> bytes(70'000, static_cast<std::uint8_t>(rank_));
    before = over_mpi();
    ASSERT_TRUE(mpi_->broadcast_blocking(root, bytes, {}, in_ms(20'000)).ok());
    EXPECT_EQ(over_mpi() - before, root == rank_ ? bytes.size() : 0u);
    EXPECT_EQ(bytes, std::vector<std::uint8_t>(70'000, static_cast<std::uint8_t>(root)));
  }
  // Two at once, waited for in the other order.
  std::uint64_t first = word(rank_, 1), second = word(rank_, 2);
  Operation one = mpi_->start_all_reduce({&first, 1}, ReduceOp::kSum, {}, kHostStream);
  Operation two = mpi_->start_all_reduce({&second, 1}, ReduceOp::kSum, {}, kHostStream);
  EXPECT_TRUE(two.wait(in_ms(20'000)).ok());
  EXPECT_TRUE(one.wait(in_ms(20'000)).ok());
  EXPECT_EQ(first, word(0, 1) + word(1, 1) + word(2, 1));
  EXPECT_EQ(second, word(0, 2) + word(1, 2) + word(2, 2));
  // Another lane is none of MPI's.
  EXPECT_EQ(
      mpi_->all_reduce_blocking({&first, 1}, ReduceOp::kSum, {.lane = 7}, in_ms(1000)).error().code,
      ErrorCode::kConfig);
  const auto met = mpi_->all_gather_messages_blocking({}, {.operation = 9}, in_ms(20'000));
  EXPECT_TRUE(met.ok());
}

/// Player 0 comes late: the others give up at their deadline, their words are as they were, and
/// nothing of MPI is used again; everybody's process ends in time.
TEST_F(Child, ATimeoutIsFinal) {
  std::vector<std::uint64_t> words(1000, 5);
  if (rank_ != 0) {
    const auto start = std::chrono::steady_clock::now();
    const Result<void> late = mpi_->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(300));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, ErrorCode::kTimeout) << late.error().message;
    EXPECT_LT(testing::seconds_since(start), 2.0);
    EXPECT_EQ(words, std::vector<std::uint64_t>(1000, 5));
    const Result<void> dead = mpi_->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000));
    EXPECT_EQ(dead.error().code, ErrorCode::kTimeout);
  }
  // The control connection is well.
  EXPECT_TRUE(mpi_->all_gather_messages_blocking({}, {.operation = 9}, in_ms(20'000)).ok());
  const auto start = std::chrono::steady_clock::now();
  mpi_.reset();
  tls_.reset();
  EXPECT_LT(testing::seconds_since(start), 8.0);
}

#ifdef MPIRUN

/// This program's case `child` in three processes under mpirun; mpirun's exit code and words.
std::pair<int, std::string> run_under_mpirun(const std::string& child) {
  testing::TemporaryFolder folder;
  BP_CHECK(keygen_all(folder.path(), kPlayers, 0).ok(), "keygen");
  std::string ports;
  std::vector<int> descriptors;
  for (int player = 0; player < kPlayers; ++player) {
    const Listener listener = listen_on("127.0.0.1", 0).value();
    descriptors.push_back(listener.descriptor);
    ports += std::to_string(listener.port) + " ";
  }
  for (const int descriptor : descriptors) ::close(descriptor);
  ::setenv(kFolder, folder.path().c_str(), 1);
  ::setenv(kPorts, ports.c_str(), 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // Open MPI's
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const std::string log = folder.path() + "/log";
  const std::string command = std::string("timeout 60 ") + MPIRUN +
                              " --oversubscribe --enable-recovery --mca btl self,vader --mca "
                              "btl_vader_backing_directory " +
                              folder.path() + " -n " + std::to_string(kPlayers) + " " + self +
                              " --gtest_color=no --gtest_filter=Child." + child + " >" + log +
                              " 2>&1";
  const int status = std::system(command.c_str());
  ::unsetenv(kFolder);
  std::stringstream text;
  text << std::ifstream(log).rdbuf();
  return {status, text.str()};
}

/// How many of the processes passed.
int passed(const std::string& log) {
  int count = 0;
  const std::string text = "[  PASSED  ] 1 test";
  for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) {
    ++count;
  }
  return count;
}

TEST(MpiRun, EveryCollective) {
  const auto [status, log] = run_under_mpirun("Collectives");
  EXPECT_EQ(status, 0) << log;
  EXPECT_EQ(passed(log), kPlayers) << log;
}

TEST(MpiRun, ATimeoutIsFinal) {
  // mpirun itself complains about processes that end without MPI_Finalize.
  const std::string log = run_under_mpirun("ATimeoutIsFinal").second;
  EXPECT_EQ(passed(log), kPlayers) << log;
}

#endif

}  // namespace
}  // namespace beaverpond
