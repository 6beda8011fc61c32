// The status page of a running factory in a headless browser, while the pools are drained: what it
// shows is what the ledgers say. Checks elements, not pixels.
#include "offline/pool/ledger.h"
#include "tests/offline/factory/program_fixture.h"
#include "tests/offline/pool/pool_fixture.h"

namespace beaverpond::testing {
namespace {

class StatusPage : public TripleFactory {
 protected:
  void SetUp() override {
    if (std::system("command -v chromium >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "chromium is not installed; apt-get install chromium";
    }
    TripleFactory::SetUp();
    std::ofstream(root_ + "/factory.toml")
        << "roster = \"roster.toml\"\npools = [\"pool0\", \"pool1\"]\n"
        << "status = \"127.0.0.1:0\"\nthreads = 1\n\n"
        << "[[class]]\nname = \"busy\"\nplan = \"x.plan\"\nsegment_bundles = 8\n"
        << "low_bundles = 40\nhigh_bundles = 64\n\n"
        << "[[class]]\nname = \"idle\"\nplan = \"x.plan\"\nlane = 1\nlow_bundles = 12\n";
    factory_ =
        start(std::string(TRIPLE_FACTORY) + " serve --json --config " + root_ + "/factory.toml");
    ASSERT_TRUE(wait_for_output(R"("class":"busy","level":64})"));
    ASSERT_TRUE(wait_for_output(R"("class":"idle","level":12})"));
    const std::string output = read("out.txt");
    const std::size_t at = output.find("http://127.0.0.1:");
    url_ = output.substr(at, output.find('"', at) - at);
  }
  void TearDown() override {
    if (factory_ > 0) {
      ::kill(factory_, SIGTERM);
      EXPECT_EQ(wait_for(factory_), 0) << read("err.txt");
    }
    if (!root_.empty()) TripleFactory::TearDown();
  }

  /// Runs the browser; true if it ended well.
  bool browse(const std::string& flags, const std::string& output) const {
    const std::string line = "HOME=" + root_ + " timeout 120 chromium --headless --no-sandbox" +
                             " --disable-gpu --disable-dev-shm-usage --user-data-dir=" + root_ +
                             "/browser " + flags + " " + url_ + " >" + root_ + "/" + output +
                             " 2>" + root_ + "/browser.txt";
    return std::system(line.c_str()) == 0;
  }
  /// The text of the element with this id in the page as the script made it; -1 if it has none.
  static long shown(const std::string& page, const std::string& id) {
    const std::string mark = "id=\"" + id + "\">";
    const std::size_t at = page.find(mark);
    if (at == std::string::npos) return -1;
    const std::size_t first = at + mark.size();
    const std::size_t end = page.find_first_not_of("0123456789", first);
    if (end == std::string::npos || end == first || page[end] != '<') return -1;
    return std::stol(page.substr(first, end - first));
  }

  LaneKey lane(std::uint32_t number) const {
    LaneKey key = key_;
    key.lane = number;
    return key;
  }
  std::string folder(int player, const LaneKey& key) const {
    return lane_directory(root_ + "/pool" + std::to_string(player), key);
  }
  std::uint64_t watermark(int player, const LaneKey& key) {
    const auto state =
        Ledger::peek(storage_, folder(player, key), pool_options(player).identity, key);
    EXPECT_TRUE(state.ok());
    return state->watermark;
  }
  std::uint64_t level_of(const LaneKey& key) {
    std::vector<std::vector<PublishedRange>> published;
    std::uint64_t floor = 0;
    for (const int player : {0, 1}) {
      published.push_back(list_ranges(storage_, folder(player, key), kSegmentSuffix).value());
      floor = std::max(floor, watermark(player, key));
    }
    std::uint64_t level = 0;
    for (const PublishedRange& range : common_ranges(published)) {
      if (range.end() > floor) level += range.end() - std::max(range.first, floor);
    }
    return level;
  }

  std::string url_;
  pid_t factory_ = -1;
};

/// What a training does to the pools: leases and reads, two players side by side.
class Drain {
 public:
  Drain(std::vector<PoolOptions> options, const LaneKey& key) : key_(key) {
    for (const PoolOptions& one : options) {
      auto pool = Pool::open(one);
      EXPECT_TRUE(pool.ok()) << pool.error().message;
      pools_.push_back(std::move(pool).value());
    }
    thread_ = std::thread([this] {
      while (!stop_) {
        step();
        std::this_thread::sleep_for(std::chrono::milliseconds(40));
      }
    });
  }
  ~Drain() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t spent() const { return spent_; }

 private:
  void step() {
    const std::uint64_t first = pools_[0].watermark(key_).value();
    std::vector<std::vector<PublishedRange>> published;
    for (Pool& pool : pools_) published.push_back(pool.ranges(key_).value());
    for (const PublishedRange& range : common_ranges(published)) {
      if (range.first > first || range.end() <= first) continue;
      const std::uint64_t end = std::min(range.end(), first + 3);
      for (Pool& pool : pools_) {
        ASSERT_TRUE(pool.claim_blocking(key_, claim_of({range}, first, end, 2)).ok());
        for (std::uint64_t n = first; n < end; ++n) {
          ASSERT_TRUE(pool.read_bundle_blocking(key_, n).ok());
        }
      }
      spent_ += end - first;
      return;
    }
  }

  LaneKey key_;
  std::vector<Pool> pools_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> spent_ = 0;
  std::thread thread_;
};

TEST_F(StatusPage, ShowsWhatTheLedgersSayWhileAJobDrainsThePools) {
  {
    const Drain job({pool_options(0), pool_options(1)}, lane(0));
    while (job.spent() < 30) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::this_thread::sleep_for(std::chrono::milliseconds(400));  // the factory looks again
    const long before = static_cast<long>(watermark(1, lane(0)));
    ASSERT_TRUE(browse("--dump-dom", "page.html")) << read("browser.txt");
    const long after = static_cast<long>(watermark(1, lane(0)));
    const std::string page = read("page.html");
    // The page may be half a second older than its request, about 38 bundles here.
    EXPECT_GE(shown(page, "watermark-busy-player1"), before - 60) << page;
    EXPECT_LE(shown(page, "watermark-busy-player1"), after);
    EXPECT_GT(shown(page, "watermark-busy-player1"), 0);
    EXPECT_GT(shown(page, "produced-busy"), 64);
    EXPECT_GE(shown(page, "level-busy"), 1);
    EXPECT_LE(shown(page, "level-busy"), 64);
    if (const char* place = std::getenv("BEAVERPOND_SCREENSHOT")) {
      std::this_thread::sleep_for(std::chrono::seconds(20));
      ASSERT_TRUE(browse("--window-size=1100,1000 --screenshot=" + std::string(place), "shot.txt"));
    }
  }
  // With the job at rest the numbers stand still, and have to be the same.
  std::string page;
  long level = -1;
  for (int i = 0; i < 20; ++i) {
    level = static_cast<long>(level_of(lane(0)));
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    ASSERT_TRUE(browse("--dump-dom", "page.html")) << read("browser.txt");
    page = read("page.html");
    if (level == static_cast<long>(level_of(lane(0)))) break;
  }
  EXPECT_EQ(shown(page, "level-busy"), level);
  EXPECT_EQ(shown(page, "level-idle"), static_cast<long>(level_of(lane(1))));
  for (const int player : {0, 1}) {
    const std::string name = "player" + std::to_string(player);
    const long mark = static_cast<long>(watermark(player, lane(0)));
    EXPECT_EQ(shown(page, "watermark-busy-" + name), mark);
    EXPECT_EQ(shown(page, "available-busy-" + name), level);
    EXPECT_EQ(shown(page, "watermark-idle-" + name), 0);
    EXPECT_EQ(shown(page, "available-idle-" + name), 12);
  }
  // What a reader looks for is there: a section a class, two charts in each with a line, the state.
  const auto count = [&page](const std::string& text) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = page.find(text, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count("<section id=\"class-"), 2u);
  EXPECT_EQ(count("<svg viewBox"), 4u);
  EXPECT_GE(count("<path class=\"level\" d=\"M"), 2u);
  EXPECT_EQ(count("<tr data-player=\"player1\">"), 2u);
  EXPECT_NE(page.find("id=\"state\">serving<"), std::string::npos);
}

}  // namespace
}  // namespace beaverpond::testing
