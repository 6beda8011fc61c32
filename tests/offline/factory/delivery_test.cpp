// Delivery over real sockets: TLS 1.3, pinned certificates, Range.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <mutex>
#include <thread>

#include "offline/factory/delivery_server.h"
#include "offline/factory/pull.h"
#include "offline/pool/posix_storage.h"
#include "tests/offline/factory/delivery_fixture.h"
#include "tests/offline/factory/test_identity.h"

namespace beaverpond::testing {
namespace {

class DeliveryTest : public ::testing::Test {
 protected:
  static constexpr int kPlayers = 3;

  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    std::string name = std::filesystem::temp_directory_path() / "beaverpond-deliver-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    site_.factory.storage = site_.players.storage = &storage_;
    site_.factory.players = site_.players.players = kPlayers;
    site_.factory.correction_size = site_.players.correction_size = 300000;
    site_.factory.root = root_ + "/spool";
    site_.players.root = root_ + "/player";
    site_.factory.make_machines();
    site_.players.make_machines();
    for (int player = 0; player < kPlayers; ++player) {
      certificates_.push_back(make_test_home(home(player), "player"));
    }
    factory_certificate_ = make_test_home(root_ + "/factory", "factory");
    make_test_home(root_ + "/stranger", "stranger");
    spool_ =
        std::make_unique<Spool>(storage_, site_.spool_directories(), test_identity(0, kPlayers));
    spool_->add_lanes({test_key()});
    serve(root_ + "/factory");
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(root_);
  }

  std::string home(int player) const { return site_.players.machine(player); }
  void serve(const std::string& with_home, std::uint16_t port = 0) {
    server_.reset();
    DeliveryServerOptions options;
    options.host = "127.0.0.1";
    options.port = port;
    options.spool = spool_.get();
    auto tls = PinnedTls::read(with_home, certificates_);
    ASSERT_TRUE(tls.ok()) << tls.error().message;
    options.tls = std::move(*tls);
    auto server = DeliveryServer::start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(*server);
  }
  Result<Puller> puller(int player, const std::string& with_home) {
    PullOptions options;
    options.host = "127.0.0.1";
    options.port = server_->port();
    BP_ASSIGN(options.tls, PinnedTls::read(with_home, {factory_certificate_}));
    options.incoming = site_.incoming_options(player);
    options.poll_interval = std::chrono::milliseconds(20);
    options.stop = &stop_;
    options.on_event = [this](const PullEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    };
    return Puller::open(std::move(options));
  }
  void make(std::uint64_t bundles) {
    FactoryOptions options = factory_options(site_.factory);
    auto factory = Factory::open(std::move(options));
    ASSERT_TRUE(factory.ok()) << factory.error().message;
    ASSERT_TRUE(factory->make_blocking(bundles).ok());
  }

  std::string root_;
  PosixStorage storage_;
  DeliverySite site_;
  std::vector<Hash256> certificates_;
  Hash256 factory_certificate_{};
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<DeliveryServer> server_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::vector<PullEvent> events_;
};

TEST_F(DeliveryTest, EveryPlayerGetsItsOwnSegmentsAndSpendsThem) {
  make(12);
  std::vector<std::thread> threads;
  std::vector<Result<void>> outcomes(kPlayers);
  for (int player = 0; player < kPlayers; ++player) {
    threads.emplace_back([&, player] {
      auto pull = puller(player, home(player));
      outcomes[static_cast<std::size_t>(player)] =
          pull.ok() ? pull->run_blocking() : Result<void>(pull.error());
    });
  }
  Consumer consumer(site_.players);
  std::uint64_t consumed = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (consumed < 12 && std::chrono::steady_clock::now() < deadline) {
    consumed += consumer.consume(100);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(consumed, 12u);
  // The spool hears that all is spent.
  const auto level = [&] {
    auto pools = PoolSet::open(site_.spool_options());
    return pools->survey(test_key())->level_bundles;
  };
  while (level() != 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(level(), 0u);
  stop_ = true;
  for (std::thread& thread : threads) thread.join();
  for (const auto& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome.error().message;
}

TEST_F(DeliveryTest, StrangersOnEitherSideGetNothing) {
  make(4);
  auto stranger = puller(0, root_ + "/stranger");
  ASSERT_TRUE(stranger.ok());
  const auto refused = stranger->turn_blocking();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);  // TLS never comes about
  EXPECT_NE(refused.error().message.find("certificate"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(site_.players.directory(0) + "/incoming"));
  { const Puller gone = std::move(*stranger); }
  // A factory with another key than the roster's: the player tells it nothing.
  serve(root_ + "/stranger");
  auto pull = puller(0, home(0));
  ASSERT_TRUE(pull.ok());
  EXPECT_EQ(pull->turn_blocking().error().code, ErrorCode::kIo);
  serve(root_ + "/factory", server_->port());
  EXPECT_TRUE(pull->turn_blocking().ok());
}

TEST_F(DeliveryTest, OlderTlsIsRefused) {
  auto tls = PinnedTls::read(home(0), {factory_certificate_});
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  ASSERT_TRUE((*tls)->configure(context));
  SSL_CTX_set_min_proto_version(context, 0);
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  BIO* const bio = BIO_new_ssl_connect(context);
  BIO_set_conn_hostname(bio, ("127.0.0.1:" + std::to_string(server_->port())).c_str());
  EXPECT_LE(BIO_do_connect(bio), 0);
  BIO_free_all(bio);
  SSL_CTX_free(context);
}

TEST_F(DeliveryTest, DownloadIsResumedByRange) {
  make(4);
  const auto answer = spool_->sync_blocking(1, {});
  ASSERT_EQ(answer->offers.size(), 1u);
  const SegmentOffer offer = answer->offers[0];
  constexpr std::size_t kHad = 123457;
  ASSERT_GT(offer.size_bytes, kHad);
  std::vector<std::uint8_t> begun(kHad);
  ASSERT_TRUE((*spool_->open(1, offer.what))->read_at(0, begun).ok());
  {
    auto incoming = Incoming::open(site_.incoming_options(1));
    auto part = incoming->begin(offer);
    ASSERT_TRUE(incoming->append(*part, begun).ok());
  }
  auto pull = puller(1, home(1));
  ASSERT_TRUE(pull->turn_blocking().ok());
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].resumed_from, kHad);
  EXPECT_EQ(events_[0].bytes, offer.size_bytes - kHad);
  for (const int player : {0, 2}) {
    auto other = puller(player, home(player));
    ASSERT_TRUE(other->turn_blocking().ok());
    ASSERT_TRUE(other->turn_blocking().ok());
    EXPECT_EQ(site_.published(player), 0u);  // the first has not said that it holds it
  }
  ASSERT_TRUE(pull->turn_blocking().ok());
  EXPECT_EQ(site_.published(1), 1u);  // the last to say so
  for (const int player : {0, 2}) {
    auto other = puller(player, home(player));
    ASSERT_TRUE(other->turn_blocking().ok());
    EXPECT_EQ(site_.published(player), 1u);
  }
  Consumer consumer(site_.players);
  EXPECT_EQ(consumer.consume(100), 4u);
}

TEST_F(DeliveryTest, WaitsForAFactoryThatIsAway) {
  const std::uint16_t port = server_->port();
  auto pull = puller(0, home(0));
  ASSERT_TRUE(pull.ok());
  server_.reset();
  std::thread thread([&] { EXPECT_TRUE(pull->run_blocking().ok()); });
  const auto count = [&](PullEvent::Kind kind) {
    const std::lock_guard lock(mutex_);
    return std::count_if(events_.begin(), events_.end(),
                         [kind](const PullEvent& event) { return event.kind == kind; });
  };
  const auto wait_for = [&](PullEvent::Kind kind) {
    for (int i = 0; i < 1000 && count(kind) == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return count(kind) > 0;
  };
  EXPECT_TRUE(wait_for(PullEvent::Kind::kRetrying));
  make(4);
  serve(root_ + "/factory", port);
  EXPECT_TRUE(wait_for(PullEvent::Kind::kStaged));
  EXPECT_EQ(count(PullEvent::Kind::kRetrying), 1);
  stop_ = true;
  thread.join();
}

}  // namespace
}  // namespace beaverpond::testing
