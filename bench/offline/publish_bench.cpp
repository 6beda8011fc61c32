// How fast a factory fills the pools of three players on this machine: dealt, sealed, written,
// synced and published, against the slowest of dealing the same bundles into memory, sealing them
// and writing as many bytes. All with one dealer and on one disk, taking turns. Afterwards every
// chunk of every pool is authenticated.
//
//   beaverpond-publish-bench [--json FILE] [--examples DIR] [--only NAME] [--quick]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/dealing/dealing.h"
#include "bench/report/report.h"
#include "offline/factory/factory.h"
#include "offline/pool/dealer_key.h"
#include "offline/pool/pool_key.h"
#include "offline/pool/posix_storage.h"
#include "offline/pool/verify.h"

namespace beaverpond {
namespace {

constexpr int kPlayers = 3;
constexpr std::uint64_t kSegmentBundles = 3;  // a correction for each player's file
constexpr std::uint64_t kTurnBundles = 12;
constexpr std::uint64_t kCounted = kTurnBundles - kSegmentBundles;  // the first takes new memory
constexpr std::size_t kPiece = 4 << 20;  // as much as a segment's writer hands to the disk

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class PublishBench {
 public:
  PublishBench(std::string root, Plan plan)
      : root_(std::move(root)), plan_(std::move(plan)), backend_(make_cpu_backend()) {}

  Result<void> prepare() {
    BP_ASSIGN(DealerKey key, DealerKey::generate());
    dealer_key_ = std::make_unique<DealerKey>(std::move(key));
    BP_ASSIGN(Dealer dealer, Dealer::create(plan_, kPlayers, *backend_));
    dealer_ = std::make_unique<Dealer>(std::move(dealer));
    BP_ASSIGN(memory_, BufferCache(0).take(plan_.correction_size.value));
    FactoryOptions options;
    for (int player = 0; player < kPlayers; ++player) {
      const std::string directory = root_ + "/pool" + std::to_string(player);
      options.pools.directories.push_back(directory);
      BP_ASSIGN(const PublicKey pool_key, create_pool_key(pool_key_path(directory)));
      options.pools.pool_keys.push_back(pool_key);
    }
    options.pools.storage = &storage_;
    options.pools.dealer_key = dealer_key_.get();
    pools_ = options.pools;
    options.key.plan = plan_hash(plan_);
    options.prg = plan_.prg;
    options.correction_size = plan_.correction_size;
    options.segment_bundles = kSegmentBundles;
    options.on_event = [this](const FactoryEvent& event) {
      if (event.kind != FactoryEvent::Kind::kSegment) return;
      published_.push_back({std::chrono::steady_clock::now(), process_cpu_seconds()});
      if (published_.size() > 1) sync_seconds += event.segment.sync_seconds;
    };
    options.dealers = {
        [this](std::span<const Seed> seeds, int designated, std::span<std::uint8_t> correction) {
          return dealer_->deal(seeds, designated, correction, kHostStream);
        }};
    BP_ASSIGN(Factory factory, Factory::open(std::move(options)));
    factory_ = std::make_unique<Factory>(std::move(factory));
    return {};
  }

  Result<void> turn() {
    BP_TRY(timed(dealing, kTurnBundles, [this] { return deal(); }));
    BP_TRY(timed(sealing, kSegmentBundles, [this] { return seal(); }));
    BP_TRY(timed(writing, kTurnBundles, [this] { return write(); }));
    for (const std::string& path : raw_) BP_TRY(storage_.unlink(path));
    raw_.clear();
    bundles_ += kTurnBundles;
    published_.clear();
    BP_TRY(factory_->make_blocking(kTurnBundles));
    BP_CHECK(published_.size() == kTurnBundles / kSegmentBundles, "an event a segment");
    // As a daemon goes on: from the first publication to the last.
    const Moment& first = published_.front();
    const Moment& last = published_.back();
    const double seconds = std::chrono::duration<double>(last.time - first.time).count();
    counted_seconds += seconds;
    publishing.push_back(kCounted / seconds);
    cpu_seconds.push_back((last.cpu_seconds - first.cpu_seconds) / kCounted);
    return {};
  }

  /// Whether every player has all that was published, undamaged.
  Result<bool> is_right() {
    for (int player = 0; player < kPlayers; ++player) {
      const auto index = static_cast<std::size_t>(player);
      PoolOptions options;
      options.directory = pools_.directories[index];
      options.storage = &storage_;
      options.identity.player = player;
      options.identity.players = kPlayers;
      options.dealer_key = dealer_key_->public_key();
      options.pool_key = pools_.pool_keys[index];
      BP_ASSIGN(const PoolReport report, verify_pool_blocking(options));
      if (!report.damaged.empty() || report.bundles != bundles_) return false;
    }
    return true;
  }

  FactoryTotals totals() const { return factory_->totals(); }

  std::vector<double> dealing, sealing, writing, publishing;  ///< bundles/s
  std::vector<double> cpu_seconds;                            ///< of publishing a bundle
  double sync_seconds = 0;     ///< of what is counted, spent waiting in syncs and renames
  double counted_seconds = 0;  ///< of publishing, all turns

 private:
  struct Moment {
    std::chrono::steady_clock::time_point time;
    double cpu_seconds = 0;
  };

  template <class Work>
  static Result<void> timed(std::vector<double>& rates, std::uint64_t bundles, Work work) {
    const auto start = std::chrono::steady_clock::now();
    BP_TRY(work());
    rates.push_back(static_cast<double>(bundles) / seconds_since(start));
    return {};
  }

  Result<void> deal() {
    for (std::uint64_t i = 0; i < kTurnBundles; ++i) {
      BP_ASSIGN(const std::vector<Seed> seeds, fresh_seeds(kPlayers));
      BP_TRY(dealer_->deal(seeds, designated_player(i, kPlayers), memory_.bytes, kHostStream));
    }
    return {};
  }

  Result<void> seal() {
    for (std::uint64_t i = 0; i < kSegmentBundles; ++i) BP_TRY(seal_bundle());
    return {};
  }

  /// Chunk by chunk, as a segment's writer does.
  Result<void> seal_bundle() {
    SecretKey key;
    BP_TRY(fill_random_blocking(key.mutable_bytes()));
    ChunkCipher cipher(ChunkCipher::Direction::kSeal, key, {});
    std::vector<std::uint8_t> chunk(kChunkSizeBytes);
    const std::span<const std::uint8_t> bytes = memory_.bytes;
    for (std::size_t at = 0; at < bytes.size(); at += chunk.size()) {
      cipher.start(at / chunk.size());
      cipher.update(bytes.subspan(at, std::min(chunk.size(), bytes.size() - at)), chunk.data());
      cipher.finish();
    }
    return {};
  }

  /// As many bytes as a turn publishes, in segments: a file a player, past the page cache as
  /// theirs, synced at the end.
  Result<void> write() {
    for (std::uint64_t i = 0; i < kTurnBundles; i += kSegmentBundles) BP_TRY(write_segment());
    return {};
  }

  Result<void> write_segment() {
    std::vector<std::unique_ptr<StorageFile>> files;
    for (int player = 0; player < kPlayers; ++player) {
      raw_.push_back(root_ + "/raw" + std::to_string(raw_.size()));
      BP_ASSIGN(auto file, storage_.open(raw_.back(), Storage::Mode::kCreateNew));
      file->bypass_cache();
      files.push_back(std::move(file));
    }
    const std::span<const std::uint8_t> bytes = memory_.bytes;
    for (const auto& file : files) {
      for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
        BP_TRY(file->write_at(at, bytes.subspan(at, std::min(kPiece, bytes.size() - at))));
      }
    }
    for (const auto& file : files) BP_TRY(file->sync());
    return {};
  }

  std::string root_;
  Plan plan_;
  std::unique_ptr<Backend> backend_;
  PosixStorage storage_;
  std::unique_ptr<DealerKey> dealer_key_;
  std::unique_ptr<Dealer> dealer_;
  BufferCache::Buffer memory_;    // as the factory's: whole pages
  std::vector<std::string> raw_;  // files of write()
  PoolSetOptions pools_;
  std::unique_ptr<Factory> factory_;
  std::vector<Moment> published_;  // segments of this turn
  std::uint64_t bundles_ = 0;
};

/// What bounds the rate, by name.
struct Bound {
  const char* name = "";
  double rate = 0;
};

Bound bound_of(const PublishBench& bench) {
  return std::min({Bound{"dealing", median(bench.dealing)}, Bound{"sealing", median(bench.sealing)},
                   Bound{"the disk", median(bench.writing)}},
                  [](const Bound& a, const Bound& b) { return a.rate < b.rate; });
}

Result<void> run(BenchReport& report, const std::string& name, const BenchOptions& options,
                 const std::string& root) {
  BP_ASSIGN(const Job job, read_job(options.examples + "/lenet.toml"));
  BP_ASSIGN(const TrainingSetup setup, prepare_training(job, PrgKind::kAes128Ctr));
  const std::uint64_t bytes = setup.plan.correction_size.value;
  PublishBench bench(root, setup.plan);
  BP_TRY(bench.prepare());
  for (int i = 0; i < (options.quick ? 1 : 3); ++i) BP_TRY(bench.turn());
  const Bound limit = bound_of(bench);
  const double rate = median(bench.publishing);
  std::printf(
      "dealing %.2f, sealing %.2f, disk %.2f bundles/s alone: the limit is %s, %.0f %% of it; "
      "%.2f CPU s a bundle; syncs take %.0f %% of the time, beside the rest\n",
      median(bench.dealing), median(bench.sealing), median(bench.writing), limit.name,
      100 * rate / limit.rate, median(bench.cpu_seconds),
      100 * bench.sync_seconds / bench.counted_seconds);
  BP_ASSIGN(const bool right, bench.is_right());
  if (!right) {
    report.fail(name, "the pools do not hold what was published");
    return {};
  }
  BenchRow row;
  row.name = name;
  row.value = rate;
  row.unit = "bundles/s";
  row.reference = Reference{std::string(limit.name) + " alone", "measured", limit.rate};
  row.extra = {{"bytes", static_cast<double>(bytes)},
               {"players", kPlayers},
               {"cpu_seconds", median(bench.cpu_seconds)},
               {"sealing_alone", median(bench.sealing)},
               {"disk_alone", median(bench.writing)},
               {"dealing_alone", median(bench.dealing)},
               {"limit", limit.rate},
               {"fraction_of_limit", rate / limit.rate},
               {"sync_share", bench.sync_seconds / bench.counted_seconds}};
  report.add(std::move(row));
  return {};
}

int run(const BenchOptions& options) {
  const std::string name = "factory/publish/lenet-b128";
  return bench_on_disk(options, name, "beaverpond-publish-bench",
                       [&](BenchReport& report, const std::string& root) {
                         return run(report, name, options, root);
                       });
}

}  // namespace
}  // namespace beaverpond

int main(int argc, char** argv) {
  return beaverpond::bench_main(argc, argv, &beaverpond::run);
}
