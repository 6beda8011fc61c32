// The record layer against the vectors of RFC 8448, against OpenSSL's own, and against records that
// nobody should send.
#include "online/transport/tls_records.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "online/transport/tls_session.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TrafficSecret secret_of(const std::string& hex) {
  TrafficSecret secret;
  const Bytes bytes = from_hex(hex);
  std::copy(bytes.begin(), bytes.end(), secret.begin());
  return secret;
}

Bytes copy_of(const OutputBytes& output) {
  return {output.begin(), output.end()};
}

Bytes counting(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i + i / 251);
  return bytes;
}

const TrafficSecret kSecret =
    secret_of("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");

TEST(RecordAead, TheOneInUseAndOpensslsAreTheSame) {
  const AeadKey key = {1, 2, 3};
  const auto one = make_record_aead(key);
  const auto other = make_openssl_record_aead(key);
  std::mt19937 random(7);
  for (std::size_t size = 0; size <= kMaxRecordBytes; size += size < 600 ? 1 : 1 + random() % 997) {
    std::array<std::uint8_t, kAeadNonceBytes> nonce;
    for (auto& byte : nonce) byte = static_cast<std::uint8_t>(random());
    const Bytes header = {23, 3, 3, 1, 2};
    const Bytes content = counting(size);
    Bytes sealed(size + 1 + kAeadTagBytes);
    Bytes expected(sealed.size());
    one->seal(nonce, header, content, 23, sealed.data());
    other->seal(nonce, header, content, 23, expected.data());
    ASSERT_EQ(sealed, expected) << size << " bytes by " << record_aead_name();
    for (RecordAead* aead : {one.get(), other.get()}) {
      Bytes opened(size);
      std::uint8_t type = 0;
      ASSERT_TRUE(aead->open(nonce, header, sealed, opened, type));
      ASSERT_EQ(opened, content);
      ASSERT_EQ(type, 23);
      Bytes altered = sealed;
      altered[random() % altered.size()] ^= static_cast<std::uint8_t>(1 << random() % 8);
      ASSERT_FALSE(aead->open(nonce, header, altered, opened, type));
      const Bytes other_header = {23, 3, 3, 1, 3};
      ASSERT_FALSE(aead->open(nonce, other_header, sealed, opened, type));
    }
  }
}

TEST(Records, AreThoseOfRfc8448) {
  // Section 3: the client's application data.
  Bytes content(50);
  std::iota(content.begin(), content.end(), 0);
  OutputBytes output;
  RecordWriter writer(kSecret, TlsSession::kRekeyBytes);
  writer.write(content, output);
  EXPECT_EQ(
      copy_of(output),
      from_hex("1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b39"
               "5bd54a9a20441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4"));
}

TEST(Records, ComeThroughHoweverTheyAreCut) {
  constexpr std::uint64_t kRekeyBytes = 100'000;
  const Bytes content = counting(600'000);
  OutputBytes output;
  RecordWriter writer(kSecret, kRekeyBytes);
  std::mt19937 random(3);
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 40'000, content.size() - at);
    writer.write(std::span(content).subspan(at, size), output);
    at += size;
  }
  for (const std::size_t most : {1u, 7u, 3'000u, 100'000u, 10'000'000u}) {
    RecordReader reader(kSecret);
    Bytes got;
    Bytes to(70'000);
    const std::span<const std::uint8_t> all(output.data(), output.size());
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % most, all.size() - at);
      reader.set_input(all.subspan(at, size));
      at += size;
      for (;;) {
        const std::size_t wanted = 1 + random() % to.size();
        const std::size_t read = reader.read(std::span(to).first(wanted));
        if (read == 0) break;
        got.insert(got.end(), to.begin(), to.begin() + static_cast<std::ptrdiff_t>(read));
      }
    }
    ASSERT_FALSE(reader.fault().has_value());
    EXPECT_TRUE(got == content) << "cut to at most " << most;
  }
}

/// The next record of these keys, as it should not be written.
Bytes next_record(RecordKeys& keys, std::uint8_t type, const Bytes& content,
                  std::uint8_t outer = 23) {
  const std::size_t size = content.size() + 1 + kAeadTagBytes;
  Bytes bytes(kRecordHeaderBytes + size);
  bytes[0] = outer;
  bytes[1] = bytes[2] = 3;
  bytes[3] = static_cast<std::uint8_t>(size >> 8);
  bytes[4] = static_cast<std::uint8_t>(size);
  keys.aead().seal(keys.next_nonce(), std::span(bytes).first(kRecordHeaderBytes), content, type,
                   bytes.data() + kRecordHeaderBytes);
  return bytes;
}

Bytes record(std::uint8_t type, const Bytes& content, std::uint8_t outer = 23) {
  RecordKeys keys(kSecret);
  return next_record(keys, type, content, outer);
}

/// What a reader takes from it, into room enough or too little.
Bytes read_all(RecordReader& reader, const Bytes& bytes, std::size_t room) {
  reader.set_input(bytes);
  Bytes got;
  Bytes to(room);
  while (const std::size_t size = reader.read(to)) {
    got.insert(got.end(), to.begin(), to.begin() + static_cast<std::ptrdiff_t>(size));
  }
  return got;
}

TEST(Records, PaddingIsTakenOff) {
  for (const std::size_t room : {2u, 100u}) {
    RecordReader reader(kSecret);
    EXPECT_EQ(read_all(reader, record(0, {5, 0, 6, 23, 0, 0}), room), (Bytes{5, 0, 6}));
    EXPECT_FALSE(reader.fault().has_value());
  }
}

TEST(Records, WhatDoesNotFitIsAFault) {
  Bytes altered = record(23, {1, 2, 3});
  altered[7] ^= 1;
  Bytes another_version = record(23, {1});
  another_version[2] = 4;
  Bytes padded(kMaxRecordBytes + 50);
  padded[0] = 1;
  padded[1] = 23;
  struct Case {
    Bytes bytes;
    std::uint8_t alert;
  };
  const std::vector<Case> cases = {
      {altered, 20},
      {another_version, 10},
      {record(23, {1}, 22), 10},                     // in the clear, it says
      {record(0, {0, 0, 0}), 10},                    // nothing but padding
      {record(20, {1}), 10},                         // a change of ciphers
      {record(23, Bytes(kMaxRecordBytes + 1)), 22},  // longer than a record may be
      {record(0, padded), 22},                       // as is this, with its padding
      {{23, 3, 3, 0, 16}, 50},                       // too short for a type
      {{23, 3, 3, 0x42, 0}, 22},
      {record(22, {24, 0, 0, 1, 2}), 10},     // a change of keys that is none
      {record(22, {24, 0, 0, 1, 0, 0}), 10},  // with more behind it
      {record(22, {24, 0, 0}), 50},
      {record(22, {4, 0, 0, 9, 1}), 50},
      {record(22, {1, 0, 0, 0}), 10},  // a second hello
      {record(22, {}), 50},
      {record(21, {2}), 50},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (const std::size_t room : {2u, 100'000u}) {
      RecordReader reader(kSecret);
      EXPECT_TRUE(read_all(reader, cases[i].bytes, room).empty()) << i;
      ASSERT_TRUE(reader.fault().has_value()) << i;
      EXPECT_FALSE(reader.fault()->received_alert) << i;
      EXPECT_EQ(reader.fault()->description, cases[i].alert) << i;
      // For good.
      EXPECT_TRUE(read_all(reader, record(23, {1}), room).empty()) << i;
    }
  }
}

TEST(Records, OfWhatIsNotAuthenticNothingIsLeft) {
  Bytes altered = record(23, Bytes(1000, 7));
  altered.back() ^= 1;
  RecordReader reader(kSecret);
  reader.set_input(altered);
  Bytes to(1200, 9);
  EXPECT_EQ(reader.read(to), 0u);
  ASSERT_TRUE(reader.fault().has_value());
  Bytes expected(1200, 9);
  std::fill_n(expected.begin(), 1000, std::uint8_t{0});
  EXPECT_EQ(to, expected);
}

TEST(Records, WhatWasReadIsWiped) {
  Bytes content(1'000);
  std::mt19937 random(5);
  for (auto& byte : content) byte = static_cast<std::uint8_t>(random());
  OutputBytes output;
  RecordWriter writer(kSecret, TlsSession::kRekeyBytes);
  writer.write(content, output);
  const auto reader = std::make_unique<RecordReader>(kSecret);
  const auto holds = [&](std::size_t at) {
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(reader.get()), sizeof *reader);
    const auto wanted = std::span(content).subspan(at, 20);
    return std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end()) != bytes.end();
  };
  reader->set_input({output.data(), output.size()});
  Bytes got(100);
  ASSERT_EQ(reader->read(got), 100u);
  EXPECT_FALSE(holds(80));
  EXPECT_TRUE(holds(100));
  got.resize(900);
  ASSERT_EQ(reader->read(got), 900u);
  for (std::size_t at = 0; at + 20 <= content.size(); ++at) ASSERT_FALSE(holds(at));
}

TEST(Records, FewInARowMayBringNoData) {
  constexpr int kMost = 32;
  RecordWriter writer(kSecret, TlsSession::kRekeyBytes);
  const auto change_of_keys = [&] {
    OutputBytes output;
    writer.update_keys(true, output);
    return copy_of(output);
  };
  for (int kind = 0; kind < 4; ++kind) {
    RecordReader reader(kSecret);
    RecordKeys own_keys(kSecret);
    const auto useless = [&] {
      switch (kind) {
        case 0: return next_record(own_keys, 23, {});
        case 1: return next_record(own_keys, 0, {23, 0, 0, 0});
        case 2: return next_record(own_keys, 22, {4, 0, 0, 0});
        default: return change_of_keys();
      }
    };
    const auto useful = [&] {
      if (kind < 3) return next_record(own_keys, 23, {1});
      OutputBytes output;
      writer.write(Bytes{1}, output);
      return copy_of(output);
    };
    for (int i = 0; i < kMost; ++i) EXPECT_TRUE(read_all(reader, useless(), 100).empty());
    ASSERT_FALSE(reader.fault().has_value()) << kind;
    EXPECT_EQ(read_all(reader, useful(), 100), Bytes{1}) << kind;
    for (int i = 0; i < kMost; ++i) EXPECT_TRUE(read_all(reader, useless(), 100).empty());
    ASSERT_FALSE(reader.fault().has_value()) << kind;
    EXPECT_TRUE(read_all(reader, useless(), 100).empty());
    ASSERT_TRUE(reader.fault().has_value()) << kind;
    EXPECT_EQ(reader.fault()->description, 10) << kind;
  }
}

TEST(Records, SmallOnesWearKeysOutToo) {
  constexpr std::size_t kRecords = 1000;
  OutputBytes output;
  RecordWriter writer(kSecret, 10'000);
  for (std::size_t i = 0; i < kRecords; ++i) writer.write(Bytes{5}, output);
  constexpr std::size_t kOverhead = kRecordHeaderBytes + 1 + kAeadTagBytes;
  const std::size_t changes = (output.size() - kRecords * (1 + kOverhead)) / (5 + kOverhead);
  EXPECT_EQ(changes, kRecords * 33 / 10'000);
  RecordReader reader(kSecret);
  EXPECT_EQ(read_all(reader, copy_of(output), 100), Bytes(kRecords, 5));
}

TEST(Records, AnAlertSaysWhich) {
  OutputBytes output;
  RecordWriter writer(kSecret, TlsSession::kRekeyBytes);
  writer.write(Bytes{1, 2}, output);
  writer.write_alert(42, output);
  RecordReader reader(kSecret);
  EXPECT_EQ(read_all(reader, copy_of(output), 100), (Bytes{1, 2}));
  ASSERT_TRUE(reader.fault().has_value());
  EXPECT_TRUE(reader.fault()->received_alert);
  EXPECT_EQ(reader.fault()->description, 42);
}

/// OpenSSL with its own record layer.
class PlainOpenssl {
 public:
  PlainOpenssl(const std::string& home, TlsRole role) : context_(SSL_CTX_new(TLS_method())) {
    BP_CHECK(SSL_CTX_use_certificate_file(context_, (home + "/cert.pem").c_str(),
                                          SSL_FILETYPE_PEM) == 1 &&
                 SSL_CTX_use_PrivateKey_file(context_, (home + "/key.pem").c_str(),
                                             SSL_FILETYPE_PEM) == 1,
             "the player's key");
    ssl_ = SSL_new(context_);
    SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_verify(ssl_, role == TlsRole::kServer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                   [](int, X509_STORE_CTX*) { return 1; });
    if (role == TlsRole::kServer) {
      SSL_set_accept_state(ssl_);
    } else {
      SSL_set_connect_state(ssl_);
    }
  }
  ~PlainOpenssl() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  PlainOpenssl(const PlainOpenssl&) = delete;             // owns OpenSSL's objects
  PlainOpenssl& operator=(const PlainOpenssl&) = delete;  // owns OpenSSL's objects

  SSL* ssl() { return ssl_; }
  void take(const OutputBytes& bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
  }
  Bytes output() {
    Bytes bytes(BIO_ctrl_pending(SSL_get_wbio(ssl_)));
    if (!bytes.empty()) BIO_read(SSL_get_wbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
};

/// A session that serves, and an OpenSSL client.
class RecordsAndOpenssl : public ::testing::Test {
 protected:
  void SetUp() override {
    for (bool done = false; !done;) {
      SSL_do_handshake(client.ssl());
      const Bytes bytes = client.output();
      server.set_input(bytes);
      const Result<bool> shaken = server.handshake();
      ASSERT_TRUE(shaken.ok()) << shaken.error().message;
      done = *shaken;
      to_client();
    }
  }
  void to_client() {
    client.take(server.output());
    server.output().clear();
  }

  testing::TlsPlayers setup{2};
  TlsSession server{
      TlsContext::create(setup.home(0) + "/key.pem", setup.home(0) + "/cert.pem").value(),
      TlsRole::kServer,
      {std::nullopt, setup.roster.players[1].certificate},
      /*rekey_bytes=*/50'000};
  PlainOpenssl client{setup.home(1), TlsRole::kClient};
};

TEST_F(RecordsAndOpenssl, UnderstandEachOther) {
  const Bytes content = counting(30'000);
  for (int round = 0; round < 20; ++round) {
    // Keys change in each direction, now and then because the other asked.
    if (round % 3 == 1) SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED);
    ASSERT_EQ(SSL_write(client.ssl(), content.data(), static_cast<int>(content.size())),
              static_cast<int>(content.size()));
    const Bytes bytes = client.output();
    server.set_input(bytes);
    Bytes got(content.size());
    for (std::size_t at = 0; at < got.size();) {
      const Result<std::size_t> size = server.read(std::span(got).subspan(at));
      ASSERT_TRUE(size.ok() && *size > 0);
      at += *size;
    }
    EXPECT_TRUE(got == content);
    ASSERT_TRUE(server.write(content).ok());
    to_client();
    Bytes heard(content.size());
    for (std::size_t at = 0; at < heard.size();) {
      const int size =
          SSL_read(client.ssl(), heard.data() + at, static_cast<int>(heard.size() - at));
      ASSERT_GT(size, 0);
      at += static_cast<std::size_t>(size);
    }
    EXPECT_TRUE(heard == content);
  }
  // Whom the reader believes no more is told so.
  const Bytes nonsense = {23, 3,  3,  0,  20, 1,  2,  3,  4,  5,  6,  7, 8,
                          9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
  server.set_input(nonsense);
  Bytes to(100);
  EXPECT_EQ(server.read(to).error().code, ErrorCode::kIo);
  EXPECT_FALSE(server.output().empty());
  to_client();
  EXPECT_LE(SSL_read(client.ssl(), to.data(), 100), 0);
  // And nothing else.
  EXPECT_FALSE(server.read(to).ok());
  EXPECT_FALSE(server.write(content).ok());
  EXPECT_TRUE(server.output().empty());
}

TEST(Records, OfAnOpensslServerThatSpeaksEarlyAndSendsTickets) {
  testing::TlsPlayers setup(2);
  TlsSession client(
      TlsContext::create(setup.home(1) + "/key.pem", setup.home(1) + "/cert.pem").value(),
      TlsRole::kClient, {setup.roster.players[0].certificate, std::nullopt});
  PlainOpenssl server(setup.home(0), TlsRole::kServer);
  SSL_set_max_early_data(server.ssl(), 1000);  // or it would not speak early itself
  const auto to_server = [&] {
    server.take(client.output());
    client.output().clear();
  };
  ASSERT_FALSE(*client.handshake());
  to_server();
  Bytes to(10);
  std::size_t size = 0;
  ASSERT_NE(SSL_read_early_data(server.ssl(), to.data(), to.size(), &size),
            SSL_READ_EARLY_DATA_ERROR);
  const Bytes early = {1, 2};
  ASSERT_EQ(SSL_write_early_data(server.ssl(), early.data(), early.size(), &size), 1);
  Bytes bytes = server.output();  // its hello, all to its Finished, and data
  client.set_input(bytes);
  const Result<bool> shaken = client.handshake();
  ASSERT_TRUE(shaken.ok() && *shaken);
  EXPECT_EQ(client.read(to).value(), 2u);
  EXPECT_EQ(to[1], 2);
  ASSERT_TRUE(client.write(Bytes{3}).ok());
  to_server();
  ASSERT_EQ(SSL_read(server.ssl(), to.data(), 10), 1);
  EXPECT_EQ(to[0], 3);
  bytes = server.output();
  EXPECT_GT(bytes.size(), 100u);  // tickets
  client.set_input(bytes);
  EXPECT_EQ(client.read(to).value(), 0u);
  ASSERT_EQ(SSL_write(server.ssl(), early.data(), 2), 2);
  bytes = server.output();
  client.set_input(bytes);
  EXPECT_EQ(client.read(to).value(), 2u);
  SSL_shutdown(server.ssl());
  bytes = server.output();
  client.set_input(bytes);
  EXPECT_NE(client.read(to).error().message.find("close notify"), std::string::npos);
}

TEST_F(RecordsAndOpenssl, ManyWishesForNewKeysGetOneAnswer) {
  Bytes byte = {7};
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(SSL_key_update(client.ssl(), SSL_KEY_UPDATE_REQUESTED), 1);
    ASSERT_EQ(SSL_write(client.ssl(), byte.data(), 1), 1);
    const Bytes bytes = client.output();
    server.set_input(bytes);
    const Result<std::size_t> size = server.read(byte);
    ASSERT_TRUE(size.ok() && *size == 1);
    // Whoever asks and does not listen fills no memory.
    ASSERT_TRUE(server.output().empty());
  }
  ASSERT_TRUE(server.write(Bytes{9}).ok());
  EXPECT_EQ(server.output().size(), 27u + 23u);  // the change, and the byte
  to_client();
  ASSERT_EQ(SSL_read(client.ssl(), byte.data(), 1), 1);
  EXPECT_EQ(byte[0], 9);
}

}  // namespace
}  // namespace beaverpond
