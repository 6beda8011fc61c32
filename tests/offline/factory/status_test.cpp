// Metrics, status document and page of a made-up status, over a real socket.
#include <gtest/gtest.h>

#include <sstream>

#include "offline/factory/metrics.h"
#include "offline/factory/report.h"
#include "offline/factory/status_page.h"
#include "offline/factory/status_server.h"

namespace beaverpond::testing {
namespace {

FactoryStatus example() {
  FactoryStatus status;
  status.state = "serving";
  status.used_bytes = 5000;
  status.free_bytes = 70000;
  ClassStatus one;
  one.name = "lenet";
  one.plan = "0123456789abcdef";
  one.state = "filling";
  one.level_bundles = 7;
  one.low_bundles = 5;
  one.high_bundles = 9;
  one.consumed_per_second = 2.5;
  one.seconds_left = 2.8;
  one.produced_bundles = 20;
  one.consumed_bundles = 13;
  one.discarded_bundles = 4;
  one.produced_bytes = 4096;
  one.generation_seconds = 1.25;
  one.sync_seconds = 0.5;
  one.players = {{"alice", 8, 12, 12}, {"bob", 7, 13, 13}};
  one.history = {{100, 0, 0, 0}, {101, 7, 20, 13}};
  status.classes = {one};
  return status;
}

TEST(Metrics, EveryFigureHasItsLine) {
  const std::string text = metrics_text(example());
  for (const char* line : {
           "beaverpond_ready 1\n",
           "beaverpond_paused 0\n",
           "beaverpond_pool_used_bytes 5000\n",
           "beaverpond_disk_free_bytes 70000\n",
           "beaverpond_pool_level_bundles{class=\"lenet\"} 7\n",
           "beaverpond_mark_bundles{class=\"lenet\",mark=\"low\"} 5\n",
           "beaverpond_mark_bundles{class=\"lenet\",mark=\"high\"} 9\n",
           "beaverpond_consumption_bundles_per_second{class=\"lenet\"} 2.5\n",
           "beaverpond_bundles_produced_total{class=\"lenet\"} 20\n",
           "beaverpond_bundles_discarded_total{class=\"lenet\"} 4\n",
           "beaverpond_bytes_produced_total{class=\"lenet\"} 4096\n",
           "beaverpond_generation_seconds_total{class=\"lenet\"} 1.25\n",
           "beaverpond_sync_seconds_total{class=\"lenet\"} 0.5\n",
           "beaverpond_bundles_available{class=\"lenet\",player=\"alice\"} 8\n",
           "beaverpond_bundles_consumed_total{class=\"lenet\",player=\"bob\"} 13\n",
           "# TYPE beaverpond_bundles_available gauge\n",
           "# TYPE beaverpond_bundles_consumed_total counter\n",
       }) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  // One header a family, before all of its values.
  std::istringstream lines(text);
  std::string current;
  std::vector<std::string> families;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) != 0) continue;
    families.push_back(line.substr(7, line.find(' ', 7) - 7));
  }
  std::sort(families.begin(), families.end());
  EXPECT_EQ(std::adjacent_find(families.begin(), families.end()), families.end());
}

TEST(Status, IsReadyOnlyWhenJobsMayCountOnIt) {
  FactoryStatus status = example();
  EXPECT_EQ(why_not_ready(status), "");
  status.classes[0].level_bundles = 0;
  EXPECT_NE(why_not_ready(status).find("lenet"), std::string::npos);
  status = example();
  for (const char* state : {"starting", "draining", "paused"}) {
    status.state = state;
    EXPECT_NE(why_not_ready(status), "") << state;
  }
}

TEST(Status, TextForTheTerminalNeedsAStatus) {
  const auto text = status_text(status_json(example()));
  ASSERT_TRUE(text.ok()) << text.error().message;
  EXPECT_NE(text->find("lenet"), std::string::npos);
  EXPECT_NE(text->find("7 bundles (marks 5 and 9)"), std::string::npos) << *text;
  for (const char* bad : {"", "{", "{}", "[]", "7", R"({"state":1,"reason":"","classes":[]})",
                          R"({"state":"a","reason":"","classes":[{}]})"}) {
    EXPECT_FALSE(status_text(bad).ok()) << bad;
  }
}

TEST(StatusPage, TextOfOthersCannotEndTheScript) {
  FactoryStatus status = example();
  status.reason = "</script><script>alert(1)</script> \xff";
  const std::string page = status_page(status_json(status));
  EXPECT_EQ(page.find("alert(1)</script>"), std::string::npos);
  EXPECT_NE(page.find("\\u003c/script>"), std::string::npos);
}

class StatusServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = StatusServer::start({"127.0.0.1", 0}, board_);
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(*server);
    const std::string url = server_->url();
    address_ = parse_loopback(url.substr(7, url.size() - 8)).value();
  }
  StatusBoard board_;
  std::unique_ptr<StatusServer> server_;
  ListenAddress address_;
};

TEST_F(StatusServerTest, AnswersEveryQuestion) {
  EXPECT_EQ(fetch_blocking(address_, "/readyz").error().code, ErrorCode::kConfig);  // 503
  board_.post(example());
  EXPECT_EQ(fetch_blocking(address_, "/readyz").value(), "ready\n");
  EXPECT_EQ(fetch_blocking(address_, "/healthz").value(), "ok\n");
  EXPECT_EQ(fetch_blocking(address_, "/metrics").value(), metrics_text(example()));
  EXPECT_EQ(fetch_blocking(address_, "/status.json").value(), status_json(example()));
  EXPECT_EQ(fetch_blocking(address_, "/").value(), status_page(status_json(example())));
  EXPECT_NE(fetch_blocking(address_, "/other").error().message.find("404"), std::string::npos);
}

TEST_F(StatusServerTest, TakenPortIsAnErrorAndAnEndedServerIsGone) {
  EXPECT_EQ(StatusServer::start(address_, board_).error().code, ErrorCode::kIo);
  server_.reset();
  EXPECT_EQ(fetch_blocking(address_, "/healthz").error().code, ErrorCode::kIo);
  EXPECT_TRUE(StatusServer::start(address_, board_).ok());
}

}  // namespace
}  // namespace beaverpond::testing
