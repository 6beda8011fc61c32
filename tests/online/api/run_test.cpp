// One player's part of a recorded program, where it fails; tests/online/examples runs it to the
// end.
#include "beaverpond/run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "online/transport/tls.h"
#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

using ::testing::HasSubstr;

RecordedProgram product(const Players& receivers = {0, 1}) {
  Recorder recorder({2, 16});
  const Secret x = recorder.input({"x", 0, {2}, {0, 1}});
  const Secret y = recorder.input({"y", 1, {2}, receivers});
  reveal(x * y, {1}, "product");
  return recorder.finish().value();
}

class RunPlayer : public ::testing::Test {
 protected:
  RunPlayer() { BP_CHECK(keygen_all(folder_.path(), 2, 0).ok(), "keygen"); }
  std::string home(int rank) const { return folder_.path() + "/player" + std::to_string(rank); }

  Error error_of(const NamedValues& inputs, const RunOptions& options) const {
    const Result<RunReport> report = run_player_blocking(product(), inputs, options);
    EXPECT_FALSE(report.ok());
    return report.ok() ? Error() : report.error();
  }

  /// Both players at once, without a factory.
  std::vector<Error> run_both(const std::vector<RecordedProgram>& programs) const {
    std::vector<Listener> listeners;
    std::vector<std::string> peers;
    for (int rank = 0; rank < 2; ++rank) {
      listeners.push_back(listen_on("127.0.0.1", 0).value());
      peers.push_back("127.0.0.1:" + std::to_string(listeners.back().port));
    }
    std::vector<Error> errors(2);
    run_players(2, [&](int rank) {
      const auto index = static_cast<std::size_t>(rank);
      RunOptions options;
      options.home = home(rank);
      options.peers = peers;
      options.listen_descriptor = listeners[index].descriptor;
      options.pool_timeout_ms = 200;
      const NamedValues inputs = {{rank == 0 ? "x" : "y", {1, 2}}};
      const Result<RunReport> report = run_player_blocking(programs[index], inputs, options);
      if (!report.ok()) errors[index] = report.error();
    });
    return errors;
  }

  TemporaryFolder folder_;
};

TEST_F(RunPlayer, EachGivesItsOwnInputsAndNoOthers) {
  EXPECT_THAT(error_of({{"x", {1, 2}}, {"y", {1, 2}}}, {.home = home(0)}).message,
              HasSubstr("input 'y': it is of player 1, but player 0 gave it"));
  EXPECT_THAT(error_of({}, {.home = home(1)}).message, HasSubstr("input 'y': it was not given"));
  EXPECT_THAT(error_of({{"x", {1, 2}}, {"z", {1}}}, {.home = home(0)}).message,
              HasSubstr("no input 'z'"));
  const Error large = error_of({{"x", {1, 1e300}}}, {.home = home(0)});
  EXPECT_EQ(large.code, ErrorCode::kDomain);
}

TEST_F(RunPlayer, AHomeThatIsNoneIsNamed) {
  EXPECT_THAT(error_of({}, {.home = folder_.path() + "/nobody"}).message, HasSubstr("/nobody"));
  EXPECT_EQ(rank_of_home(home(1)).value(), 1);
}

TEST_F(RunPlayer, WithoutAFactoryThePoolIsDry) {
  for (const Error& error : run_both({product(), product()})) {
    EXPECT_EQ(error.code, ErrorCode::kPoolDry) << error.message;
  }
}

TEST_F(RunPlayer, PlayersWhoseOwnersConsentDiffersRefuseEachOther) {
  for (const Error& error : run_both({product(), product({1})})) {
    EXPECT_EQ(error.code, ErrorCode::kRosterMismatch);
    EXPECT_THAT(error.message, HasSubstr("may_learn"));
  }
}

TEST_F(RunPlayer, PlayersWhoseGeneratorsDifferRefuseEachOther) {
  RecordedProgram other = product();
  other.prg = PrgKind::kChaCha20;
  for (const Error& error : run_both({product(), other})) {
    EXPECT_EQ(error.code, ErrorCode::kRosterMismatch);
    EXPECT_THAT(error.message, HasSubstr("generators"));
  }
}

}  // namespace
}  // namespace beaverpond::testing
