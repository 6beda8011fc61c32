// The record layer of TLS 1.3 behind the handshake, for TLS_AES_128_GCM_SHA256 (RFC 8446, sections
// 4.6.3, 5.2, 6 and 7): a message is encrypted from where it lies straight into what goes to the
// socket, and decrypted straight into where it belongs. OpenSSL's own would go through its buffers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "online/transport/aead.h"

namespace beaverpond {

/// A traffic secret of one direction, as the handshake gives it.
using TrafficSecret = std::array<std::uint8_t, 32>;

/// Bytes that nobody zeroes before they are written.
class OutputBytes {
 public:
  OutputBytes() = default;
  OutputBytes(const OutputBytes&) = delete;             // swap() is enough
  OutputBytes& operator=(const OutputBytes&) = delete;  // swap() is enough

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::uint8_t* data() const { return data_.get(); }
  std::uint8_t* data() { return data_.get(); }
  const std::uint8_t* begin() const { return data_.get(); }
  const std::uint8_t* end() const { return data_.get() + size_; }
  std::uint8_t& operator[](std::size_t i) { return data_[i]; }
  void clear() { size_ = 0; }
  /// `size` more bytes, to be written.
  std::uint8_t* extend(std::size_t size);
  void append(std::span<const std::uint8_t> bytes);
  void swap(OutputBytes& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  std::unique_ptr<std::uint8_t[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

enum class RecordType : std::uint8_t { kAlert = 21, kHandshake = 22, kData = 23 };

inline constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 14;
inline constexpr std::size_t kRecordHeaderBytes = 5;
/// A sealed record may carry up to 256 bytes besides its content.
inline constexpr std::size_t kMaxSealedBytes = kMaxRecordBytes + 256;

/// Key, nonce and number of the next record of one direction. Wipes its secret.
class RecordKeys {
 public:
  explicit RecordKeys(const TrafficSecret& secret);
  ~RecordKeys();
  RecordKeys(const RecordKeys&) = delete;             // holds a secret
  RecordKeys& operator=(const RecordKeys&) = delete;  // holds a secret

  /// The next secret, from this one.
  void update();
  RecordAead& aead() { return *aead_; }
  /// Of the next record; counts it.
  std::array<std::uint8_t, kAeadNonceBytes> next_nonce();

 private:
  void derive();

  TrafficSecret secret_;
  std::array<std::uint8_t, kAeadNonceBytes> iv_{};
  std::uint64_t sequence_ = 0;
  std::unique_ptr<RecordAead> aead_;
};

class RecordWriter {
 public:
  RecordWriter(const TrafficSecret& secret, std::uint64_t rekey_bytes)
      : keys_(secret), rekey_bytes_(rekey_bytes), left_(rekey_bytes) {}

  /// Appends the records of `bytes` to `output`, and before them a change of keys when enough went
  /// out under the present ones: counted are blocks of the cipher, so that small records wear keys
  /// out as well.
  void write(std::span<const std::uint8_t> bytes, OutputBytes& output);
  void write_alert(std::uint8_t description, OutputBytes& output);
  /// A change of keys, with or without asking the other side for one.
  void update_keys(bool ask, OutputBytes& output);

 private:
  void write_record(RecordType type, std::span<const std::uint8_t> content, OutputBytes& output);

  RecordKeys keys_;
  const std::uint64_t rekey_bytes_;
  std::uint64_t left_;
};

/// What stopped a reader.
struct RecordFault {
  bool received_alert = false;   ///< else what came was no good
  std::uint8_t description = 0;  ///< of the alert, or of the one that the peer should get
};

class RecordReader {
 public:
  explicit RecordReader(const TrafficSecret& secret) : keys_(secret) {}
  ~RecordReader();
  RecordReader(const RecordReader&) = delete;             // rest_ lies in plain_
  RecordReader& operator=(const RecordReader&) = delete;  // rest_ lies in plain_

  /// What came; used until read() returns 0, and then kept as far as it is part of a record.
  void set_input(std::span<const std::uint8_t> bytes) { input_ = bytes; }
  /// Decrypted bytes into `to`, of which what was not returned may be overwritten; 0 when more
  /// input is needed, or on a fault.
  std::size_t read(std::span<std::uint8_t> to);
  const std::optional<RecordFault>& fault() const { return fault_; }
  /// Whether the peer asked for a change of keys; once.
  bool take_update_request() { return std::exchange(update_requested_, false); }

 private:
  std::optional<std::span<const std::uint8_t>> next_record();
  std::size_t open(std::span<const std::uint8_t> record, std::span<std::uint8_t> to);
  std::size_t act_on(RecordType type, std::span<std::uint8_t> content, bool direct);
  void on_handshake(std::span<const std::uint8_t> messages);
  std::size_t stop(RecordFault fault);

  RecordKeys keys_;
  std::span<const std::uint8_t> input_;
  std::vector<std::uint8_t> kept_;  ///< the beginning of a record
  bool kept_is_used_ = false;       ///< the record in kept_ was read
  /// A record that does not fit into what the caller has; wiped as it is read.
  std::array<std::uint8_t, kMaxSealedBytes> plain_;
  std::span<std::uint8_t> rest_;  ///< of plain_, not yet read
  std::size_t without_data_ = 0;  ///< records in a row
  bool update_requested_ = false;
  std::optional<RecordFault> fault_;
};

}  // namespace beaverpond
