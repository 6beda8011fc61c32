#include "online/transport/tls_records.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "beaverpond/result.h"

namespace beaverpond {

namespace {

constexpr std::uint8_t kUnexpectedMessage = 10;
constexpr std::uint8_t kBadRecordMac = 20;
constexpr std::uint8_t kRecordOverflow = 22;
constexpr std::uint8_t kDecodeError = 50;

constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::size_t kHandshakeHeaderBytes = 4;

/// What a record holds besides its content: the type and the tag.
constexpr std::size_t kSealBytes = 1 + kAeadTagBytes;
/// What a record costs its key besides its content: at most two blocks of the cipher.
constexpr std::uint64_t kRecordCost = 32;
/// So many records in a row may bring no data: each costs its reader much and its sender little.
constexpr std::size_t kMaxWithoutData = 32;

/// HKDF-Expand-Label(secret, label, "", size), size <= 32: one block of HKDF-Expand.
void expand_label(const TrafficSecret& secret, std::string_view label,
                  std::span<std::uint8_t> out) {
  std::vector<std::uint8_t> info = {0, static_cast<std::uint8_t>(out.size()),
                                    static_cast<std::uint8_t>(6 + label.size())};
  for (const char c : std::string_view("tls13 ")) info.push_back(static_cast<std::uint8_t>(c));
  for (const char c : label) info.push_back(static_cast<std::uint8_t>(c));
  info.push_back(0);  // no context
  info.push_back(1);  // the first block
  std::array<std::uint8_t, 32> block;
  unsigned int size = 0;
  const bool done = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), info.data(),
                         info.size(), block.data(), &size) != nullptr &&
                    size == block.size() && out.size() <= block.size();
  BP_CHECK(done, "HMAC-SHA256");
  std::copy_n(block.begin(), out.size(), out.begin());
  OPENSSL_cleanse(block.data(), block.size());
}

}  // namespace

// ---- Bytes ----

std::uint8_t* OutputBytes::extend(std::size_t size) {
  if (size_ + size > capacity_) {
    const std::size_t capacity = std::max(size_ + size, 2 * capacity_);
    auto data = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
    std::copy(begin(), end(), data.get());
    data_ = std::move(data);
    capacity_ = capacity;
  }
  std::uint8_t* const at = data_.get() + size_;
  size_ += size;
  return at;
}

void OutputBytes::append(std::span<const std::uint8_t> bytes) {
  std::copy(bytes.begin(), bytes.end(), extend(bytes.size()));
}

// ---- Keys ----

RecordKeys::RecordKeys(const TrafficSecret& secret) : secret_(secret) {
  derive();
}

RecordKeys::~RecordKeys() {
  OPENSSL_cleanse(secret_.data(), secret_.size());
  OPENSSL_cleanse(iv_.data(), iv_.size());
}

void RecordKeys::derive() {
  AeadKey key;
  expand_label(secret_, "key", key);
  expand_label(secret_, "iv", iv_);
  aead_ = make_record_aead(key);
  OPENSSL_cleanse(key.data(), key.size());
  sequence_ = 0;
}

void RecordKeys::update() {
  TrafficSecret next;
  expand_label(secret_, "traffic upd", next);
  secret_ = next;
  OPENSSL_cleanse(next.data(), next.size());
  derive();
}

std::array<std::uint8_t, kAeadNonceBytes> RecordKeys::next_nonce() {
  std::array<std::uint8_t, kAeadNonceBytes> nonce = iv_;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[kAeadNonceBytes - 1 - i] ^= static_cast<std::uint8_t>(sequence_ >> (8 * i));
  }
  ++sequence_;
  BP_CHECK(sequence_ != 0, "keys change long before their records are counted out");
  return nonce;
}

// ---- Writing ----

void RecordWriter::write_record(RecordType type, std::span<const std::uint8_t> content,
                                OutputBytes& output) {
  const std::size_t sealed = content.size() + kSealBytes;
  std::uint8_t* const at = output.extend(kRecordHeaderBytes + sealed);
  at[0] = static_cast<std::uint8_t>(RecordType::kData);  // what it really is, nobody sees
  at[1] = 3;
  at[2] = 3;
  at[3] = static_cast<std::uint8_t>(sealed >> 8);
  at[4] = static_cast<std::uint8_t>(sealed);
  keys_.aead().seal(keys_.next_nonce(), {at, kRecordHeaderBytes}, content,
                    static_cast<std::uint8_t>(type), at + kRecordHeaderBytes);
}

void RecordWriter::write(std::span<const std::uint8_t> bytes, OutputBytes& output) {
  const std::uint64_t records = (bytes.size() + kMaxRecordBytes - 1) / kMaxRecordBytes;
  const std::uint64_t cost = bytes.size() + records * kRecordCost;
  if (cost > left_) update_keys(false, output);
  left_ -= std::min(cost, left_);
  while (!bytes.empty()) {
    const std::size_t size = std::min(bytes.size(), kMaxRecordBytes);
    write_record(RecordType::kData, bytes.first(size), output);
    bytes = bytes.subspan(size);
  }
}

void RecordWriter::write_alert(std::uint8_t description, OutputBytes& output) {
  const std::array<std::uint8_t, 2> alert = {2, description};  // fatal
  write_record(RecordType::kAlert, alert, output);
}

void RecordWriter::update_keys(bool ask, OutputBytes& output) {
  const std::array<std::uint8_t, 5> message = {kKeyUpdate, 0, 0, 1,
                                               static_cast<std::uint8_t>(ask ? 1 : 0)};
  write_record(RecordType::kHandshake, message, output);
  keys_.update();
  left_ = rekey_bytes_;
}

// ---- Reading ----

RecordReader::~RecordReader() {
  OPENSSL_cleanse(rest_.data(), rest_.size());
}

std::size_t RecordReader::read(std::span<std::uint8_t> to) {
  while (!fault_.has_value()) {
    if (!rest_.empty()) {
      const std::size_t size = std::min(rest_.size(), to.size());
      std::memcpy(to.data(), rest_.data(), size);
      explicit_bzero(rest_.data(), size);
      rest_ = rest_.subspan(size);
      return size;
    }
    const std::optional<std::span<const std::uint8_t>> record = next_record();
    if (!record.has_value()) return 0;
    if (const std::size_t size = open(*record, to); size > 0) return size;
  }
  return 0;
}

/// The next whole record, in the input where it lies there.
std::optional<std::span<const std::uint8_t>> RecordReader::next_record() {
  if (std::exchange(kept_is_used_, false)) kept_.clear();
  const auto keep = [this](std::size_t wanted) {
    const std::size_t size = std::min(wanted - kept_.size(), input_.size());
    kept_.insert(kept_.end(), input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(size));
    input_ = input_.subspan(size);
    return kept_.size() == wanted;
  };
  if (!kept_.empty() || input_.size() < kRecordHeaderBytes) {
    if (kept_.size() < kRecordHeaderBytes && !keep(kRecordHeaderBytes)) return std::nullopt;
  }
  const std::uint8_t* const header = kept_.empty() ? input_.data() : kept_.data();
  const std::size_t sealed = std::size_t{header[3]} << 8 | header[4];
  if (header[0] != static_cast<std::uint8_t>(RecordType::kData) || header[1] != 3 ||
      header[2] != 3) {
    stop({false, kUnexpectedMessage});
    return std::nullopt;
  }
  if (sealed > kMaxSealedBytes || sealed < kSealBytes) {
    stop({false, sealed < kSealBytes ? kDecodeError : kRecordOverflow});
    return std::nullopt;
  }
  const std::size_t size = kRecordHeaderBytes + sealed;
  if (kept_.empty() && input_.size() >= size) {
    const std::span<const std::uint8_t> record = input_.first(size);
    input_ = input_.subspan(size);
    return record;
  }
  if (!keep(size)) return std::nullopt;
  kept_is_used_ = true;
  return kept_;
}

/// Decrypts a record, into `to` if it fits, and acts on it. Bytes of data that lie in `to`.
std::size_t RecordReader::open(std::span<const std::uint8_t> record, std::span<std::uint8_t> to) {
  const std::span<const std::uint8_t> sealed = record.subspan(kRecordHeaderBytes);
  std::size_t size = sealed.size() - kSealBytes;
  const bool direct = size <= to.size();
  const std::span<std::uint8_t> content = (direct ? to : std::span(plain_)).first(size);
  std::uint8_t type = 0;
  if (!keys_.aead().open(keys_.next_nonce(), record.first(kRecordHeaderBytes), sealed, content,
                         type)) {
    OPENSSL_cleanse(content.data(), content.size());
    return stop({false, kBadRecordMac});
  }
  if (size > kMaxRecordBytes) return stop({false, kRecordOverflow});  // padding counts
  while (type == 0 && size > 0) type = content[--size];               // padding
  return act_on(static_cast<RecordType>(type), content.first(size), direct);
}

std::size_t RecordReader::act_on(RecordType type, std::span<std::uint8_t> content, bool direct) {
  without_data_ = type == RecordType::kData && !content.empty() ? 0 : without_data_ + 1;
  if (without_data_ > kMaxWithoutData) return stop({false, kUnexpectedMessage});
  switch (type) {
    case RecordType::kData:
      if (direct) return content.size();
      rest_ = content;
      return 0;
    case RecordType::kHandshake: on_handshake(content); return 0;
    case RecordType::kAlert:
      return stop(content.size() == 2 ? RecordFault{true, content[1]}
                                      : RecordFault{false, kDecodeError});
  }
  return stop({false, kUnexpectedMessage});
}

/// Whole messages: none that may come here is split over records.
void RecordReader::on_handshake(std::span<const std::uint8_t> messages) {
  if (messages.empty()) stop({false, kDecodeError});
  while (!messages.empty() && !fault_.has_value()) {
    if (messages.size() < kHandshakeHeaderBytes) {
      stop({false, kDecodeError});
      return;
    }
    const std::uint8_t type = messages[0];
    const std::size_t size =
        std::size_t{messages[1]} << 16 | std::size_t{messages[2]} << 8 | messages[3];
    messages = messages.subspan(kHandshakeHeaderBytes);
    if (size > messages.size()) {
      stop({false, kDecodeError});
    } else if (type == kKeyUpdate && size == 1 && messages.size() == 1 && messages[0] <= 1) {
      keys_.update();
      update_requested_ = update_requested_ || messages[0] == 1;
    } else if (type != kNewSessionTicket) {  // which nobody here has a use for
      stop({false, kUnexpectedMessage});
    }
    if (!fault_.has_value()) messages = messages.subspan(size);
  }
}

std::size_t RecordReader::stop(RecordFault fault) {
  fault_ = fault;
  return 0;
}

}  // namespace beaverpond
