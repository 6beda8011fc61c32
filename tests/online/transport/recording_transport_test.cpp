#include "tests/online/transport/recording_transport.h"

#include <gtest/gtest.h>

#include "tests/online/transport/players.h"

namespace beaverpond::testing {
namespace {

TEST(RecordingTransport, RecordsWhatWasSentAndSeesAPadUsedTwice) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/sent.txt";
  {
    SentLog log(path);
    SentLog other_log;
    auto transports = make_local_transports(2);
    RecordingTransport first(std::move(transports[0]), log);
    RecordingTransport second(std::move(transports[1]), other_log);
    const auto open = [&](std::uint64_t bundle, std::uint32_t operation, std::uint64_t value) {
      const Tag tag{.session = 5, .bundle = bundle, .lane = 1, .operation = operation};
      std::vector<std::uint64_t> mine = {value};
      std::vector<std::uint64_t> theirs = {1};
      Operation pending = first.start_all_reduce(mine, ReduceOp::kSum, tag, kHostStream);
      ASSERT_TRUE(second.all_reduce_blocking(theirs, ReduceOp::kSum, tag, in_ms(5000)).ok());
      ASSERT_TRUE(pending.wait(in_ms(5000)).ok());
      EXPECT_EQ(mine[0], value + 1);
    };
    open(7, 1, 10);
    open(7, 2, 11);
    open(8, 1, 12);
    open(7, 1, 10);  // the same words again tell nobody anything new
    EXPECT_TRUE(opened_twice(log.records()).empty());
    open(8, 1, 13);
    EXPECT_EQ(opened_twice(log.records()).size(), 1u);
    EXPECT_EQ(opened_twice(log.records())[0], (std::pair<std::uint64_t, std::uint32_t>(8, 1)));
    EXPECT_EQ(log.records().size(), 5u);
    EXPECT_EQ(other_log.records().size(), 5u);
  }
  const std::vector<SentRecord> read = read_sent_log(path);
  ASSERT_EQ(read.size(), 5u);
  EXPECT_EQ(read[0].tag, (Tag{.session = 5, .bundle = 7, .lane = 1, .operation = 1}));
  EXPECT_EQ(read[0].size_bytes, 8u);
  EXPECT_EQ(opened_twice(read).size(), 1u);
}

}  // namespace
}  // namespace beaverpond::testing
