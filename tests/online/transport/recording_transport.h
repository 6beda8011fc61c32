// A transport that keeps a record of what it sends: the judge of "no bundle is opened twice".
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "offline/plan/hash.h"
#include "online/transport/transport.h"

namespace beaverpond::testing {

/// What this player sent in one operation.
struct SentRecord {
  Tag tag;
  std::uint64_t size_bytes = 0;
  Hash256 hash{};
  std::vector<std::uint8_t> bytes;  ///< where the log keeps them
};

/// The records of one player, or of several that share it. Thread safe. Outlives its transports.
class SentLog {
 public:
  SentLog() = default;
  /// Appends a line "session bundle lane operation bytes sha256" to the file for each operation, at
  /// once, so that the record survives the process.
  explicit SentLog(const std::string& path) : file_(path, std::ios::app) {
    BP_CHECK(file_.is_open(), "cannot open the record of sent messages");
  }

  /// From now on the messages themselves are kept too.
  void keep_bytes() { keeps_bytes_ = true; }

  void add(const Tag& tag, std::span<const std::uint8_t> bytes) {
    SentRecord record{tag, bytes.size(), sha256(bytes), {}};
    const std::scoped_lock lock(mutex_);
    if (keeps_bytes_) record.bytes.assign(bytes.begin(), bytes.end());
    records_.push_back(record);
    if (!file_.is_open()) return;
    file_ << tag.session << ' ' << tag.bundle << ' ' << tag.lane << ' ' << tag.operation << ' '
          << bytes.size() << ' ' << to_hex(record.hash) << std::endl;
  }

  std::vector<SentRecord> records() const {
    const std::scoped_lock lock(mutex_);
    return records_;
  }

 private:
  mutable std::mutex mutex_;
  bool keeps_bytes_ = false;
  std::vector<SentRecord> records_;
  std::ofstream file_;
};

/// Reads the lines that a SentLog wrote; a torn last line is left out.
inline std::vector<SentRecord> read_sent_log(const std::string& path) {
  std::vector<SentRecord> records;
  std::ifstream file(path);
  SentRecord record;
  std::string hash;
  while (file >> record.tag.session >> record.tag.bundle >> record.tag.lane >>
         record.tag.operation >> record.size_bytes >> hash) {
    if (hash.size() != 64) break;
    for (std::size_t i = 0; i < record.hash.size(); ++i) {
      record.hash[i] = static_cast<std::uint8_t>(std::stoul(hash.substr(2 * i, 2), nullptr, 16));
    }
    records.push_back(record);
  }
  return records;
}

/// Bundle and operation under which one player sent two different messages: a pad used twice. Empty
/// when there is none. Bundle 0 of control traffic is for the caller to leave out.
inline std::vector<std::pair<std::uint64_t, std::uint32_t>> opened_twice(
    const std::vector<SentRecord>& records) {
  std::map<std::pair<std::uint64_t, std::uint32_t>, Hash256> first;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> twice;
  for (const SentRecord& record : records) {
    const std::pair key(record.tag.bundle, record.tag.operation);
    const auto [place, inserted] = first.emplace(key, record.hash);
    if (!inserted && place->second != record.hash) twice.push_back(key);
  }
  return twice;
}

/// Passes everything on to `inner`, after recording what this player sends.
class RecordingTransport final : public Transport {
 public:
  RecordingTransport(std::unique_ptr<Transport> inner, SentLog& log)
      : inner_(std::move(inner)), log_(log) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name() const override { return inner_->name(); }
  TransportStats stats() const override { return inner_->stats(); }
  std::optional<Error> obstacle(int peer) override { return inner_->obstacle(peer); }

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    log_.add(tag, {reinterpret_cast<const std::uint8_t*>(words.data()), words.size_bytes()});
    return inner_->start_all_reduce(words, op, tag, stream);
  }
  Operation start_all_gather(std::span<const std::uint8_t> mine, std::span<std::uint8_t> all,
                             const Tag& tag, StreamRef stream) override {
    log_.add(tag, mine);
    return inner_->start_all_gather(mine, all, tag, stream);
  }
  Operation start_broadcast(int root, std::span<std::uint8_t> bytes, const Tag& tag,
                            StreamRef stream) override {
    if (root == rank()) log_.add(tag, bytes);
    return inner_->start_broadcast(root, bytes, tag, stream);
  }
  Operation start_send(int to, std::span<const std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    log_.add(tag, bytes);
    return inner_->start_send(to, bytes, tag, stream);
  }
  Operation start_recv(int from, std::span<std::uint8_t> bytes, const Tag& tag,
                       StreamRef stream) override {
    return inner_->start_recv(from, bytes, tag, stream);
  }
  Result<std::vector<std::vector<std::uint8_t>>> all_gather_messages_blocking(
      std::span<const std::uint8_t> mine, const Tag& tag, Deadline deadline) override {
    log_.add(tag, mine);
    return inner_->all_gather_messages_blocking(mine, tag, deadline);
  }

 private:
  std::unique_ptr<Transport> inner_;
  SentLog& log_;
};

}  // namespace beaverpond::testing
