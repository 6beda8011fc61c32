// Coming together over TLS: who is let in, who is not, and what each is told.
#include "online/transport/tls.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "online/transport/control.h"
#include "online/transport/frame.h"
#include "online/transport/tls_session.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::connect_each;
using testing::in_ms;
using testing::run_players;
using testing::seconds_since;
using testing::TlsPlayers;

void expect_error(const Result<TlsConnected>& result, ErrorCode code, std::optional<int> player,
                  const std::string& words) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_EQ(result.error().player, player) << result.error().message;
  EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
}

void expect_works(std::vector<Result<TlsConnected>>& connected) {
  run_players(static_cast<int>(connected.size()), [&](int rank) {
    auto& mine = connected[static_cast<std::size_t>(rank)];
    ASSERT_TRUE(mine.ok()) << mine.error().message;
    std::vector<std::uint64_t> words = {1};
    const Result<void> result =
        mine->transport->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000));
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(words[0], connected.size());
  });
}

/// A plain TCP client at a player's door.
class Stranger {
 public:
  explicit Stranger(std::uint16_t port) : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~Stranger() { ::close(descriptor_); }
  Stranger(const Stranger&) = delete;             // owns a descriptor
  Stranger& operator=(const Stranger&) = delete;  // owns a descriptor

  bool say(const std::string& text) const {
    return connected_ && ::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL) > 0;
  }

 private:
  int descriptor_;
  bool connected_ = false;
};

TEST(Tls, HellosArriveByRank) {
  TlsPlayers setup(3);
  std::vector<TlsOptions> options;
  for (int rank = 0; rank < 3; ++rank) {
    options.push_back(setup.options(rank));
    options.back().hello.assign(10, static_cast<std::uint8_t>(rank));
  }
  auto connected = connect_each(std::move(options));
  for (const auto& mine : connected) {
    ASSERT_TRUE(mine.ok());
    for (std::uint8_t rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(mine->hellos[rank], std::vector<std::uint8_t>(10, rank));
    }
  }
  expect_works(connected);
}

TEST(Tls, AForeignCertificateIsTurnedAwayAndTold) {
  TlsPlayers setup(2);
  TlsPlayers foreign(2);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  // Player 1 comes with another key, which its own roster has and that of player 0 does not.
  options[1].key_path = foreign.home(1) + "/key.pem";
  options[1].certificate_path = foreign.home(1) + "/cert.pem";
  options[1].players[1].certificate = foreign.roster.players[1].certificate;
  options[0].connect_timeout = std::chrono::milliseconds(2'000);
  const auto connected = connect_each(std::move(options));
  expect_error(connected[1], ErrorCode::kRosterMismatch, 0, "refused this player's certificate");
  expect_error(connected[0], ErrorCode::kTimeout, 1, "turned away a stranger");
}

TEST(Tls, AServerWithAForeignCertificateIsNotTalkedTo) {
  TlsPlayers setup(2);
  TlsPlayers foreign(2);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  options[0].key_path = foreign.home(0) + "/key.pem";
  options[0].certificate_path = foreign.home(0) + "/cert.pem";
  options[0].players[0].certificate = foreign.roster.players[0].certificate;
  options[0].connect_timeout = std::chrono::milliseconds(2'000);
  const auto connected = connect_each(std::move(options));
  expect_error(connected[1], ErrorCode::kRosterMismatch, 0, "is not the one in the roster");
  expect_error(connected[0], ErrorCode::kTimeout, 1, "refused this player's certificate");
}

TEST(Tls, AHomeThatIsNotThisRankIsAnError) {
  TlsPlayers setup(2);
  TlsOptions options = setup.options(0);
  options.key_path = setup.home(1) + "/key.pem";
  options.certificate_path = setup.home(1) + "/cert.pem";
  expect_error(connect_tls_blocking(options), ErrorCode::kRosterMismatch, std::nullopt,
               "is not that of player 0");
}

TEST(Tls, SwappedRanksAreAnError) {
  TlsPlayers setup(3);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1), setup.options(2)};
  // Players 1 and 2 have swapped places in their own rosters: certificates no longer fit ranks.
  for (const std::size_t rank : {1, 2}) {
    std::swap(options[rank].players[1].certificate, options[rank].players[2].certificate);
    const std::string home = setup.home(rank == 1 ? 2 : 1);
    options[rank].key_path = home + "/key.pem";
    options[rank].certificate_path = home + "/cert.pem";
    // Once the first of them is refused, player 0 is gone for the other.
    options[rank].connect_timeout = std::chrono::milliseconds(3'000);
  }
  const auto connected = connect_each(std::move(options));
  for (const std::size_t rank : {1, 2}) {
    ASSERT_FALSE(connected[rank].ok());
  }
  ASSERT_FALSE(connected[0].ok());
  EXPECT_EQ(connected[0].error().code, ErrorCode::kRosterMismatch) << connected[0].error().message;
  EXPECT_NE(connected[0].error().message.find("its certificate is that of player"),
            std::string::npos)
      << connected[0].error().message;
}

TEST(Tls, RostersThatDifferAreToldToBothSides) {
  TlsPlayers setup(2);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  options[1].roster_hash.fill(0xab);
  const auto connected = connect_each(std::move(options));
  for (int rank = 0; rank < 2; ++rank) {
    expect_error(connected[static_cast<std::size_t>(rank)], ErrorCode::kRosterMismatch, 1 - rank,
                 "the rosters differ");
  }
}

TEST(Tls, AHelloThatIsRefusedIsToldToBothSidesWithItsCode) {
  TlsPlayers setup(2);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  options[1].hello = {66};
  options[0].check_hello = [](int player, std::span<const std::uint8_t> hello) -> Result<void> {
    EXPECT_EQ(player, 1);
    EXPECT_EQ(hello.size(), 1u);
    return make_error(ErrorCode::kConfig, "another plan");
  };
  const auto connected = connect_each(std::move(options));
  expect_error(connected[0], ErrorCode::kConfig, 1, "another plan");
  expect_error(connected[1], ErrorCode::kConfig, 0, "refused this player: another plan");
}

TEST(Tls, APlayerThatNeverComesIsNamed) {
  TlsPlayers setup(3);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  for (TlsOptions& each : options) each.connect_timeout = std::chrono::milliseconds(500);
  const Deadline start = in_ms(0);
  const auto connected = connect_each(std::move(options));
  EXPECT_LT(seconds_since(start), 4.0);
  for (const auto& mine : connected) {
    ASSERT_FALSE(mine.ok());
    // Who gave up first says so to the other.
    EXPECT_TRUE(mine.error().code == ErrorCode::kTimeout ||
                mine.error().code == ErrorCode::kPeerLost);
    EXPECT_NE(mine.error().message.find("player 2 (player2, 127.0.0.1"), std::string::npos)
        << mine.error().message;
  }
}

TEST(Tls, ADialledPlayerThatIsNotThereIsNamedWithTheReason) {
  TlsPlayers setup(2);
  TlsOptions options = setup.options(1);
  ::close(setup.options(0).listen_descriptor);
  options.connect_timeout = std::chrono::milliseconds(300);
  expect_error(connect_tls_blocking(options), ErrorCode::kTimeout, 0, "Connection refused");
}

TEST(Tls, PlayersMayComeInAnyOrderAndLate) {
  TlsPlayers setup(3);
  std::vector<TlsOptions> options;
  for (int rank = 0; rank < 3; ++rank) options.push_back(setup.options(rank));
  // Player 0 opens its port only later: it is dialled again and again.
  ::close(options[0].listen_descriptor);
  options[0].listen_descriptor = -1;
  options[0].listen_address = "127.0.0.1";
  std::vector<std::optional<Result<TlsConnected>>> made(3);
  run_players(3, [&](int rank) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400 - 200 * rank));
    made[static_cast<std::size_t>(rank)].emplace(
        connect_tls_blocking(options[static_cast<std::size_t>(rank)]));
  });
  std::vector<Result<TlsConnected>> connected;
  for (auto& one : made) connected.push_back(*std::move(one));
  expect_works(connected);
}

TEST(Tls, APortInUseIsNamedWithARemedy) {
  TlsPlayers setup(2);
  const TlsOptions taken = setup.options(0);
  TlsOptions options = taken;
  options.listen_descriptor = -1;
  options.listen_address = "127.0.0.1";
  expect_error(connect_tls_blocking(options), ErrorCode::kIo, std::nullopt,
               "127.0.0.1 port " + std::to_string(options.players[0].port));
  expect_error(connect_tls_blocking(options), ErrorCode::kIo, std::nullopt, "stop it or change");
  ::close(taken.listen_descriptor);
  EXPECT_EQ(listen_on("no-such-address", 0).error().code, ErrorCode::kConfig);
}

TEST(Tls, BadKeyAndCertificateFilesAreNamed) {
  TlsPlayers setup(2);
  const TlsOptions good = setup.options(1);
  TlsOptions options = good;
  options.key_path = setup.home(1) + "/none.pem";
  expect_error(connect_tls_blocking(options), ErrorCode::kConfig, std::nullopt, "none.pem");
  options = good;
  options.certificate_path = setup.home(1) + "/roster.toml";
  expect_error(connect_tls_blocking(options), ErrorCode::kConfig, std::nullopt, "roster.toml");
  options = good;
  options.key_path = setup.home(0) + "/key.pem";
  expect_error(connect_tls_blocking(options), ErrorCode::kConfig, std::nullopt, "does not belong");
  ASSERT_EQ(::chmod(good.key_path.c_str(), 0440), 0);
  expect_error(connect_tls_blocking(good), ErrorCode::kConfig, std::nullopt, "chmod 0400");
  options.rank = 2;
  expect_error(connect_tls_blocking(options), ErrorCode::kConfig, std::nullopt, "rank 2");
}

TEST(Tls, StrangersDoNotDisturb) {
  TlsPlayers setup(3);
  const std::uint16_t port = setup.roster.players[0].port;
  std::vector<std::unique_ptr<Stranger>> strangers;
  for (int i = 0; i < 100; ++i) strangers.push_back(std::make_unique<Stranger>(port));
  ASSERT_TRUE(strangers[0]->say("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  ASSERT_TRUE(strangers[1]->say(std::string(100'000, '\x16')));
  ASSERT_TRUE(strangers[2]->say(std::string("\x16\x03\x01\x02\x00\x01", 6)));
  strangers[3].reset();
  std::vector<TlsOptions> options;
  for (int rank = 0; rank < 3; ++rank) options.push_back(setup.options(rank));
  auto connected = connect_each(std::move(options));
  expect_works(connected);
  // All have come, so the door is shut.
  EXPECT_FALSE(Stranger(port).say("hello"));
  expect_works(connected);
}

TEST(Tls, ASilentStrangerIsDroppedInTime) {
  TlsPlayers setup(2);
  TlsOptions options = setup.options(0);
  options.handshake_timeout = std::chrono::milliseconds(300);
  options.connect_timeout = std::chrono::milliseconds(3'000);
  std::thread waiting(
      [&] { expect_error(connect_tls_blocking(options), ErrorCode::kTimeout, 1, ""); });
  const Stranger stranger(options.players[0].port);
  std::this_thread::sleep_for(std::chrono::milliseconds(1'500));
  // The first bytes meet a closed socket, so that the next fail.
  stranger.say("anybody there?");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(stranger.say("?"));
  waiting.join();
}

TEST(Tls, TheSamePlayerTwiceIsRefused) {
  TlsPlayers setup(3);
  TlsOptions first = setup.options(0);
  TlsOptions second = setup.options(1);
  ::close(setup.options(2).listen_descriptor);
  TlsOptions again = second;
  again.listen_descriptor = -1;
  again.players[1].port = 0;
  first.connect_timeout = std::chrono::milliseconds(2'000);
  std::thread zero([&] { expect_error(connect_tls_blocking(first), ErrorCode::kTimeout, 2, ""); });
  std::thread one([&] { EXPECT_FALSE(connect_tls_blocking(second).ok()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  expect_error(connect_tls_blocking(again), ErrorCode::kRosterMismatch, 0, "connected already");
  zero.join();
  one.join();
}

/// Player 1 by hand, as far as the test wants it.
class ManualPlayer {
 public:
  ManualPlayer(const TlsPlayers& setup, const TlsOptions& options) : options_(options) {
    auto context = TlsContext::create(setup.home(1) + "/key.pem", setup.home(1) + "/cert.pem");
    BP_CHECK(context.ok(), "context");
    session_ = std::make_unique<TlsSession>(
        *context, TlsRole::kClient,
        std::vector<std::optional<Fingerprint>>{options.players[0].certificate, std::nullopt});
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.players[0].port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval patience{10, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    EXPECT_EQ(::connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ~ManualPlayer() { ::close(descriptor_); }
  ManualPlayer(const ManualPlayer&) = delete;             // owns a descriptor
  ManualPlayer& operator=(const ManualPlayer&) = delete;  // owns a descriptor

  void say(FrameType type, const std::vector<std::uint8_t>& payload) {
    const FrameHeaderBytes header = encode_frame_header({type, 0, sequence_++, payload.size()});
    ASSERT_TRUE(session_->write(header).ok() && session_->write(payload).ok());
    flush();
  }
  void say_hello() {
    for (;;) {
      const Result<bool> done = session_->handshake();
      ASSERT_TRUE(done.ok()) << done.error().message;
      flush();
      if (*done) break;
      ASSERT_TRUE(receive());
    }
    say(FrameType::kHello, encode(hello()));
  }
  LinkHello hello() const {
    LinkHello hello;
    hello.rank = 1;
    hello.roster_hash = options_.roster_hash;
    hello.application = options_.hello;
    return hello;
  }
  /// The payload of the next frame of this type; those before it are dropped.
  std::optional<std::string> next(FrameType type) {
    std::vector<std::uint8_t> plain(1 << 16);
    for (;;) {
      while (heard_.size() >= kFrameHeaderBytes) {
        const auto header = decode_frame_header(
            std::span<const std::uint8_t, kFrameHeaderBytes>(heard_.data(), kFrameHeaderBytes));
        if (!header.ok() || heard_.size() < kFrameHeaderBytes + header->length) break;
        const auto from = heard_.begin() + kFrameHeaderBytes;
        const auto to = from + static_cast<std::ptrdiff_t>(header->length);
        const std::string payload(from, to);
        heard_.erase(heard_.begin(), to);
        if (header->type == type) return payload;
      }
      const Result<std::size_t> size = session_->read(plain);
      if (!size.ok()) return std::nullopt;
      heard_.insert(heard_.end(), plain.begin(),
                    plain.begin() + static_cast<std::ptrdiff_t>(*size));
      if (*size == 0 && !receive()) return std::nullopt;
    }
  }

 private:
  void flush() {
    OutputBytes& output = session_->output();
    EXPECT_EQ(::send(descriptor_, output.data(), output.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(output.size()));
    output.clear();
  }
  bool receive() {
    input_.resize(1 << 16);
    const ssize_t size = ::recv(descriptor_, input_.data(), input_.size(), 0);
    if (size <= 0) return false;
    session_->set_input({input_.data(), static_cast<std::size_t>(size)});
    return true;
  }

  const TlsOptions& options_;
  int descriptor_ = ::socket(AF_INET, SOCK_STREAM, 0);
  std::unique_ptr<TlsSession> session_;
  std::vector<std::uint8_t> input_;
  std::vector<std::uint8_t> heard_;
  std::uint64_t sequence_ = 0;
};

TEST(Tls, OfTwoThatWereAdmittedAtOnceTheSecondIsDropped) {
  TlsPlayers setup(2);
  const TlsOptions options = setup.options(0);
  std::optional<Result<TlsConnected>> connected;
  std::thread zero([&] { connected.emplace(connect_tls_blocking(options)); });
  {
    ManualPlayer first(setup, options);
    ManualPlayer second(setup, options);
    for (ManualPlayer* player : {&first, &second}) {
      player->say_hello();
      EXPECT_TRUE(player->next(FrameType::kAck).has_value());  // admitted
    }
    first.say(FrameType::kAck, {});
    zero.join();
    ASSERT_TRUE(connected->ok()) << connected->error().message;
    second.say(FrameType::kAck, {});
    const auto goodbye = second.next(FrameType::kGoodbye);
    ASSERT_TRUE(goodbye.has_value());
    EXPECT_NE(goodbye->find("connected already"), std::string::npos);
    // The first is served as before.
    const std::vector<std::uint8_t> word = {42};
    ASSERT_TRUE((*connected)->transport->send_blocking(1, word, {}, in_ms(5'000)).ok());
    const auto data = first.next(FrameType::kData);
    ASSERT_TRUE(data.has_value());
    EXPECT_EQ(data->back(), 42);
  }
  connected.reset();
}

TEST(Tls, ACleanEndIsALossOnlyForWhoWaits) {
  auto transports = testing::make_tls_transports(3);
  const std::vector<std::uint8_t> last(3'000'000, 42);
  std::vector<std::uint8_t> bytes(3'000'000);
  {
    Operation send = transports[2]->start_send(0, last, {}, kHostStream);
    ASSERT_TRUE(send.wait(in_ms(20'000)).ok());
    const Deadline start = in_ms(0);
    transports[2].reset();  // at once: what was posted still goes out
    EXPECT_LT(seconds_since(start), 4.0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ASSERT_TRUE(transports[0]->recv_blocking(2, bytes, {}, in_ms(20'000)).ok());
  EXPECT_TRUE(bytes == last);
  Operation send = transports[0]->start_send(1, last, {}, kHostStream);
  ASSERT_TRUE(transports[1]->recv_blocking(0, bytes, {}, in_ms(20'000)).ok());
  ASSERT_TRUE(send.wait(in_ms(20'000)).ok());

  const Result<void> lost = transports[0]->recv_blocking(2, bytes, {}, in_ms(20'000));
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(lost.error().code, ErrorCode::kPeerLost);
  EXPECT_EQ(lost.error().player, 2);
  EXPECT_NE(lost.error().message.find("closed the connection"), std::string::npos);
}

TEST(Tls, HeartbeatsKeepAnIdleConnection) {
  TlsPlayers setup(2);
  std::vector<TlsOptions> options = {setup.options(0), setup.options(1)};
  for (TlsOptions& each : options) {
    each.heartbeat_interval = std::chrono::milliseconds(50);
    each.peer_timeout = std::chrono::milliseconds(1'000);
  }
  auto connected = connect_each(std::move(options));
  std::this_thread::sleep_for(std::chrono::milliseconds(2'500));
  expect_works(connected);
  // They are not traffic of the application.
  EXPECT_EQ(connected[0]->transport->stats().sent_bytes, 28u + 36u + 8u);
}

TEST(Tls, ADeadlineNamesThePlayerAndBuffersMayGo) {
  auto transports = testing::make_tls_transports(2);
  {
    std::vector<std::uint64_t> words(1'000'000, 1);
    const Result<void> late =
        transports[0]->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(100));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code, ErrorCode::kTimeout);
    EXPECT_EQ(late.error().player, 1);
  }
  // Player 1 gets the words all the same, from a copy.
  std::vector<std::uint64_t> words(1'000'000, 2);
  ASSERT_TRUE(transports[1]->all_reduce_blocking(words, ReduceOp::kSum, {}, in_ms(20'000)).ok());
  EXPECT_EQ(words.front(), 3u);
  EXPECT_EQ(words.back(), 3u);
}

TEST(Tls, AMismatchAtOneIsAnErrorWithAReasonAtTheOthers) {
  auto transports = testing::make_tls_transports(2);
  run_players(2, [&](int rank) {
    auto& mine = transports[static_cast<std::size_t>(rank)];
    std::vector<std::uint8_t> bytes(rank == 0 ? 10 : 20);
    const Tag tag{.operation = 7};
    if (rank == 0) {
      ASSERT_TRUE(mine->send_blocking(1, bytes, tag, in_ms(20'000)).ok());
      const Result<void> result = mine->recv_blocking(1, bytes, tag, in_ms(20'000));
      EXPECT_EQ(result.error().code, ErrorCode::kPeerLost);
      EXPECT_NE(result.error().message.find("10 bytes for"), std::string::npos)
          << result.error().message;
    } else {
      const Result<void> result = mine->recv_blocking(0, bytes, tag, in_ms(20'000));
      EXPECT_EQ(result.error().code, ErrorCode::kProtocolMismatch);
      mine.reset();
    }
  });
}

}  // namespace
}  // namespace beaverpond
