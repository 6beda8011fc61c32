// How fast sealed corrections go to the disk and come back, beside the raw disk and the cipher
// alone in the same run, taking turns.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bench/report/report.h"
#include "offline/pool/pool.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/segment_set.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 2;
constexpr std::size_t kPiece = 64 * 1024;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / "beaverpond-storage-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  Folder(const Folder&) = delete;             // one owner removes it
  Folder& operator=(const Folder&) = delete;  // one owner removes it
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Bytes a second of every repetition, by the wall and by the thread's CPU clock.
struct Speeds {
  std::vector<double> wall;
  std::vector<double> cpu;

  template <class Work>
  Result<void> time(double bytes, Work work) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = thread_cpu_seconds();
    BP_TRY(work());
    wall.push_back(bytes / seconds_since(start));
    cpu.push_back(bytes / std::max(thread_cpu_seconds() - cpu_start, 1e-9));
    return {};
  }
};

class StorageBench {
 public:
  StorageBench(std::string root, std::uint64_t correction_size, std::uint64_t bundles)
      : root_(std::move(root)), bundles_(bundles), correction_(correction_size) {
    for (std::size_t i = 0; i < correction_.size(); ++i) {
      correction_[i] = static_cast<std::uint8_t>(i * 2654435761u >> 13);
    }
  }

  Result<void> prepare() {
    for (int player = 0; player < kPlayers; ++player) {
      set_.directories.push_back(root_ + "/pool" + std::to_string(player));
      BP_ASSIGN(const PublicKey key, create_pool_key(pool_key_path(set_.directories.back())));
      set_.pool_keys.push_back(key);
    }
    BP_ASSIGN(dealer_, DealerKey::generate());
    set_.dealer_key = &*dealer_;
    set_.storage = &storage_;
    return {};
  }

  /// One turn of everything; the pool is empty again after it.
  Result<void> turn() {
    BP_TRY(raw_write.time(file_bytes() * kPlayers, [this] { return write_raw(); }));
    BP_TRY(pool_write.time(file_bytes() * kPlayers, [this] { return publish(); }));
    for (const bool cached : {false, true}) {
      if (cached) BP_TRY(publish());
      BP_TRY(each_file(cached));
      Speeds& raw = cached ? raw_read_cached : raw_read;
      BP_TRY(raw.time(file_bytes(), [this] { return read_raw(); }));
      BP_TRY(read_pool(cached ? pool_read_cached : pool_read));
    }
    return open_cipher();
  }

  /// Of the corrections in one player's file.
  double file_bytes() const {
    return static_cast<double>(bundles_ / kPlayers * correction_.size());
  }
  std::uint64_t wrong() const { return wrong_; }

  Speeds raw_write, pool_write, raw_read, pool_read, raw_read_cached, pool_read_cached, cipher;

 private:
  std::string raw_path(int player) const { return root_ + "/raw" + std::to_string(player); }

  Result<void> write_raw() {
    for (int player = 0; player < kPlayers; ++player) {
      (void)storage_.unlink(raw_path(player));
      BP_ASSIGN(const auto file, storage_.open(raw_path(player), Storage::Mode::kCreateNew));
      std::uint64_t at = 0;
      for (std::uint64_t bundle = 0; bundle < bundles_ / kPlayers; ++bundle) {
        for (std::size_t i = 0; i < correction_.size(); i += kPiece) {
          BP_TRY(file->write_at(at + i, std::span(correction_).subspan(i, kPiece)));
        }
        at += correction_.size();
      }
      BP_TRY(file->sync());
    }
    return storage_.sync_directory(root_);
  }

  Result<void> publish() {
    BP_ASSIGN(PoolSet pools, PoolSet::open(set_));
    BP_ASSIGN(const LaneSurvey survey, pools.survey(key_));
    SegmentSetSpec spec;
    spec.key = key_;
    spec.range = {survey.next_number, bundles_, {}};
    store_le(spec.range.set_id, 0, survey.next_number + 1, 8);
    spec.correction_size.value = correction_.size();
    const std::vector<std::vector<Seed>> seeds(kPlayers, std::vector<Seed>(bundles_));
    BP_ASSIGN(SegmentSetWriter writer, SegmentSetWriter::create_blocking(pools, spec, seeds));
    for (std::uint64_t i = 0; i < bundles_; ++i) BP_TRY(writer.append_blocking(correction_));
    BP_TRY(writer.publish_blocking());
    range_ = spec.range;
    return {};
  }

  /// Puts the files into the page cache, or takes them out of it.
  Result<void> each_file(bool cached) {
    const std::string segment =
        lane_directory(set_.directories[0], key_) + "/" + segment_name(range_, kSegmentSuffix);
    for (const std::string& path : {segment, raw_path(0)}) {
      const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      if (file < 0) return make_error(ErrorCode::kIo, "cannot open " + path);
      std::vector<std::uint8_t> piece(kPiece);
      if (!cached) ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
      while (cached && ::read(file, piece.data(), piece.size()) > 0) {
      }
      ::close(file);
    }
    return {};
  }

  Result<void> read_raw() {
    BP_ASSIGN(const auto file, storage_.open(raw_path(0), Storage::Mode::kRead));
    std::vector<std::uint8_t> piece(kPiece);
    std::size_t read = kPiece;
    for (std::uint64_t at = 0; read == kPiece; at += kPiece) {
      BP_ASSIGN(read, file->read_at(at, piece));
    }
    return {};
  }

  Result<void> read_pool(Speeds& speeds) {
    PoolOptions options;
    options.directory = set_.directories[0];
    options.identity.players = kPlayers;
    options.storage = &storage_;
    options.dealer_key = dealer_->public_key();
    options.pool_key = set_.pool_keys[0];
    BP_ASSIGN(Pool pool, Pool::open(options));
    Claim claim;
    BP_ASSIGN(claim.segments, pool.ranges(key_));
    claim.first = range_.first;
    claim.end = range_.end();
    claim.witnesses.resize(kPlayers);
    BP_TRY(pool.claim_blocking(key_, claim));
    std::vector<Bundle> kept;  // compared outside the clock
    BP_TRY(speeds.time(file_bytes(), [&]() -> Result<void> {
      for (std::uint64_t number = range_.first; number < range_.end(); ++number) {
        BP_ASSIGN(Bundle bundle, pool.read_bundle_blocking(key_, number));
        if (bundle.correction().empty()) continue;
        if (kept.empty() || number + kPlayers >= range_.end()) kept.push_back(std::move(bundle));
      }
      return {};
    }));
    for (const Bundle& bundle : kept) {
      wrong_ += !std::equal(correction_.begin(), correction_.end(), bundle.correction().begin(),
                            bundle.correction().end());
    }
    return {};
  }

  /// AES-256-GCM alone, on chunks that stay in the cache.
  Result<void> open_cipher() {
    const SecretKey key;
    ChunkCipher seal(ChunkCipher::Direction::kSeal, key, {});
    ChunkCipher open(ChunkCipher::Direction::kOpen, key, {});
    std::vector<std::uint8_t> sealed(kChunkSizeBytes);
    seal.start(0);
    seal.update(std::span(correction_).first(kChunkSizeBytes), sealed.data());
    const CipherTag tag = seal.finish();
    std::vector<std::uint8_t> chunk = sealed;
    constexpr int kChunks = 2000;
    return cipher.time(kChunks * static_cast<double>(kChunkSizeBytes), [&]() -> Result<void> {
      for (int i = 0; i < kChunks; ++i) {
        std::memcpy(chunk.data(), sealed.data(), chunk.size());
        wrong_ += !open.open(0, chunk, tag);
      }
      return {};
    });
  }

  const std::string root_;
  const std::uint64_t bundles_;
  std::vector<std::uint8_t> correction_;
  PosixStorage storage_;
  std::optional<DealerKey> dealer_;
  PoolSetOptions set_;
  LaneKey key_;
  PublishedRange range_;
  std::uint64_t wrong_ = 0;
};

/// A row by the wall clock, against what the disk does alone.
void add_row(BenchReport& report, const std::string& name, const Speeds& speeds,
             const std::string& reference, const Speeds& alone) {
  BenchRow row;
  row.name = name;
  row.unit = "B/s";
  row.value = median(speeds.wall);
  row.reference = Reference{reference, "measured", median(alone.wall)};
  row.extra = {{"per_cpu_second", median(speeds.cpu)},
               {"reference_per_cpu_second", median(alone.cpu)},
               {"fastest", *std::max_element(speeds.wall.begin(), speeds.wall.end())}};
  report.add(std::move(row));
}

/// By the CPU clock, which a busy neighbour does not change: what is in the page cache, against
/// reading it and AES-256-GCM of it, one after the other.
void add_cached_row(BenchReport& report, const StorageBench& bench) {
  const double read = median(bench.raw_read_cached.cpu);
  const double cipher = median(bench.cipher.cpu);
  BenchRow row;
  row.name = "pool/read-cached";
  row.unit = "B/s";
  row.value = median(bench.pool_read_cached.cpu);
  row.reference = Reference{"read, then AES-256-GCM", "measured", 1 / (1 / read + 1 / cipher)};
  row.extra = {{"per_cpu_second", row.value}, {"read_alone", read}, {"cipher_alone", cipher}};
  report.add(std::move(row));
}

Result<void> measure(BenchReport& report, bool quick) {
  const Folder folder;
  if (folder.path().empty()) return make_error(ErrorCode::kIo, "cannot make a temporary folder");
  StorageBench bench(folder.path(), quick ? 1 << 20 : 12 << 20, quick ? 8 : 32);
  BP_TRY(bench.prepare());
  for (int i = 0; i < (quick ? 1 : 7); ++i) BP_TRY(bench.turn());
  if (bench.wrong() != 0) {
    report.fail("pool/read", "a correction came back changed");
    return {};
  }
  add_row(report, "pool/write", bench.pool_write, "write and fdatasync alone", bench.raw_write);
  add_row(report, "pool/read", bench.pool_read, "read alone", bench.raw_read);
  add_cached_row(report, bench);
  return {};
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  try {
    const auto options = beaverpond::parse_bench_options(argc, argv);
    if (!options.has_value()) return 2;
    beaverpond::BenchReport report;
    if (options->wants("pool/write") || options->wants("pool/read-cached")) {
      const auto measured = beaverpond::measure(report, options->quick);
      if (!measured.ok()) report.fail("pool", measured.error().message);
    }
    return report.finish(options->json_path);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
