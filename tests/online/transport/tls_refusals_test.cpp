// Who is turned away at the door: a client made of OpenSSL alone against the product's own end.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>

#include "offline/plan/openssl_free.h"
#include "online/transport/tls_session.h"
#include "tests/online/transport/expired.h"
#include "tests/online/transport/players.h"

namespace beaverpond {
namespace {

using testing::TlsPlayers;
using Bytes = std::vector<std::uint8_t>;
using Key = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Context = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

struct Identity {
  Key key;
  Certificate certificate;
  Fingerprint fingerprint{};
};

/// A key and its certificate in the name `name`, signed by `issuer`, or by itself.
Identity make_identity(const char* name, const Identity* issuer = nullptr) {
  Identity made;
  made.key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  made.certificate.reset(X509_new());
  X509* const certificate = made.certificate.get();
  X509_NAME* const subject = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_version(certificate, X509_VERSION_3);
  X509_set_issuer_name(
      certificate, issuer == nullptr ? subject : X509_get_subject_name(issuer->certificate.get()));
  ASN1_TIME_set_string(X509_getm_notBefore(certificate), "20000101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(certificate), "99991231235959Z");
  X509_set_pubkey(certificate, made.key.get());
  BP_CHECK(
      X509_sign(certificate, issuer == nullptr ? made.key.get() : issuer->key.get(), nullptr) > 0,
      "signed");
  unsigned int size = 0;
  X509_digest(certificate, EVP_sha256(), made.fingerprint.data(), &size);
  return made;
}

/// The other end, by OpenSSL alone, between memory and memory.
class Client {
 public:
  explicit Client(const Identity* identity, int most = TLS1_3_VERSION)
      : context_(SSL_CTX_new(TLS_method())) {
    SSL_CTX_set_max_proto_version(context_.get(), most);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_NONE, nullptr);
    if (identity != nullptr) {
      SSL_CTX_use_certificate(context_.get(), identity->certificate.get());
      SSL_CTX_use_PrivateKey(context_.get(), identity->key.get());
    }
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
  }

  /// Goes on with what came; what it says in answer.
  Bytes step(const Bytes& input) {
    if (!input.empty()) {
      BIO_write(SSL_get_rbio(ssl_.get()), input.data(), static_cast<int>(input.size()));
    }
    if (SSL_do_handshake(ssl_.get()) == 1 && !said_) {
      said_ = true;
      EXPECT_EQ(SSL_write(ssl_.get(), "secret", 6), 6);
    }
    Bytes output(BIO_ctrl_pending(SSL_get_wbio(ssl_.get())));
    if (!output.empty()) {
      BIO_read(SSL_get_wbio(ssl_.get()), output.data(), static_cast<int>(output.size()));
    }
    return output;
  }

 private:
  Context context_;
  Ssl ssl_;
  bool said_ = false;
};

class TlsRefusals : public ::testing::Test {
 protected:
  /// Player 0's end, which takes nobody but who is pinned for player 1.
  std::unique_ptr<TlsSession> server(const Fingerprint& pinned) {
    auto context = TlsContext::create(setup_.home(0) + "/key.pem", setup_.home(0) + "/cert.pem");
    BP_CHECK(context.ok(), "context");
    return std::make_unique<TlsSession>(
        *context, TlsRole::kServer, std::vector<std::optional<Fingerprint>>{std::nullopt, pinned});
  }

  /// Carries bytes to and fro until the server has an opinion. `heard` gets all the client said.
  static Result<std::string> meet(TlsSession& server, Client& client, Bytes* heard = nullptr) {
    Bytes to_client;
    for (int round = 0; round < 10; ++round) {
      const Bytes to_server = client.step(to_client);
      if (heard != nullptr) heard->insert(heard->end(), to_server.begin(), to_server.end());
      BP_ASSIGN(const std::string text, hear(server, to_server));
      if (!text.empty()) return text;
      to_client.assign(server.output().begin(), server.output().end());
      server.output().clear();
    }
    return std::string();
  }

  /// What the server reads as plaintext from `bytes`.
  static Result<std::string> hear(TlsSession& server, const Bytes& bytes) {
    server.set_input(bytes);
    BP_ASSIGN(const bool done, server.handshake());
    if (!done) return std::string();
    Bytes plain(100);
    BP_ASSIGN(const std::size_t size, server.read(plain));
    return std::string(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(size));
  }

  void expect_refused(const Fingerprint& pinned, Client client, ErrorCode code,
                      const std::string& words) {
    const auto end = server(pinned);
    const Result<std::string> result = meet(*end, client);
    ASSERT_FALSE(result.ok()) << "let in, and heard '" << *result << "'";
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(words), std::string::npos) << result.error().message;
  }

  TlsPlayers setup_{2};
};

TEST_F(TlsRefusals, ThePinnedPlayerIsLetInWhoeverSignedItsCertificate) {
  const Identity authority = make_identity("authority");
  const Identity player = make_identity("player1", &authority);
  Client client(&player);
  const auto end = server(player.fingerprint);
  const Result<std::string> heard = meet(*end, client);
  ASSERT_TRUE(heard.ok()) << heard.error().message;
  EXPECT_EQ(*heard, "secret");
  EXPECT_EQ(end->peer_rank(), 1);
}

TEST_F(TlsRefusals, AnotherAuthoritysCertificateInTheSameName) {
  const Identity authority = make_identity("authority");
  const Identity other = make_identity("authority");
  const Identity player = make_identity("player1", &authority);
  const Identity impostor = make_identity("player1", &other);
  expect_refused(player.fingerprint, Client(&impostor), ErrorCode::kRosterMismatch,
                 "is not the one in the roster");
}

TEST_F(TlsRefusals, TheSameAuthoritysCertificateOfAnother) {
  const Identity authority = make_identity("authority");
  const Identity player = make_identity("player1", &authority);
  const Identity impostor = make_identity("player1", &authority);
  expect_refused(player.fingerprint, Client(&impostor), ErrorCode::kRosterMismatch,
                 "is not the one in the roster");
}

TEST_F(TlsRefusals, NoCertificate) {
  const Identity player = make_identity("player1");
  expect_refused(player.fingerprint, Client(nullptr), ErrorCode::kIo,
                 "peer did not return a certificate");
}

TEST_F(TlsRefusals, AnEarlierTls) {
  const Identity player = make_identity("player1");
  expect_refused(player.fingerprint, Client(&player, TLS1_2_VERSION), ErrorCode::kIo,
                 "unsupported protocol");
}

TEST_F(TlsRefusals, APinnedCertificateThatIsOver) {
  std::vector<TlsOptions> options = {setup_.options(0), setup_.options(1)};
  const Fingerprint over = testing::end_certificate(setup_.home(1), "20200101000000Z");
  for (TlsOptions& each : options) {
    each.players[1].certificate = over;
    each.connect_timeout = std::chrono::milliseconds(1'500);
  }
  const auto connected = testing::connect_each(std::move(options));
  ASSERT_FALSE(connected[1].ok());
  EXPECT_EQ(connected[1].error().code, ErrorCode::kRosterMismatch);
  EXPECT_NE(connected[1].error().message.find("by its clock it has expired"), std::string::npos)
      << connected[1].error().message;
  ASSERT_FALSE(connected[0].ok());
  EXPECT_NE(connected[0].error().message.find("has expired"), std::string::npos)
      << connected[0].error().message;
}

/// All that a player once said, said again by somebody who listened.
TEST_F(TlsRefusals, AReplayedHandshake) {
  const Identity player = make_identity("player1");
  Client client(&player);
  Bytes recorded;
  const auto first = server(player.fingerprint);
  const Result<std::string> heard = meet(*first, client, &recorded);
  ASSERT_TRUE(heard.ok());
  ASSERT_EQ(*heard, "secret");
  const auto second = server(player.fingerprint);
  const Result<std::string> again = hear(*second, recorded);
  ASSERT_FALSE(again.ok()) << "let in, and heard '" << *again << "'";
  EXPECT_EQ(again.error().code, ErrorCode::kIo) << again.error().message;
  EXPECT_FALSE(second->peer_rank().has_value());
}

}  // namespace
}  // namespace beaverpond
