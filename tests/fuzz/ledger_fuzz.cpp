// A ledger file of any bytes. The first byte says whether they are the file as it is, or fields of
// its slots that are sealed here, so that the fuzzer gets behind the checksum. Whatever opens must
// keep its promise: the watermark is never lower afterwards.
#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "offline/pool/ledger.h"
#include "tests/offline/pool/memory_disk.h"

namespace {

using namespace beaverpond;
using testing::MemoryDisk;

constexpr char kFolder[] = "/m0/lane";

void require(bool condition) {
  if (!condition) std::abort();
}

PoolIdentity identity() {
  PoolIdentity identity;
  identity.epoch = 3;
  identity.player = 1;
  identity.players = 3;
  return identity;
}

Result<Ledger> open(MemoryDisk& disk) {
  return Ledger::open(disk, kFolder, identity(), LaneKey{});
}

void overwrite(MemoryDisk& disk, std::span<const std::uint8_t> bytes) {
  (void)disk.unlink(std::string(kFolder) + "/ledger");
  const auto file = disk.open(std::string(kFolder) + "/ledger", Storage::Mode::kCreateNew);
  require(file.ok() && (*file)->write_at(0, bytes).ok());
}

/// The slots of a good ledger, with these bytes over their fields from `at` on, and sealed.
std::vector<std::uint8_t> sealed_slots(MemoryDisk& disk, std::size_t at,
                                       std::span<const std::uint8_t> bytes) {
  require(open(disk).ok());
  std::vector<std::uint8_t> file = disk.content(std::string(kFolder) + "/ledger");
  for (int slot = 0; slot < 2; ++slot) {
    Block block;
    const auto begin = file.begin() + slot * static_cast<std::ptrdiff_t>(kBlockSize);
    std::copy_n(begin, kBlockSize, block.begin());
    const std::size_t half = std::min(bytes.size() / 2, kBlockHashOffset - at);
    const auto from = bytes.subspan(slot == 0 ? 0 : bytes.size() / 2, half);
    std::copy(from.begin(), from.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
    seal_block(block);
    std::copy(block.begin(), block.end(), begin);
  }
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  MemoryDisk disk;
  require(disk.make_directory("/m0").ok() && disk.make_directory(kFolder).ok());
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  // Fields from the sequence (80) or from the start on.
  if (data[0] % 3 == 0) overwrite(disk, bytes);
  if (data[0] % 3 != 0) overwrite(disk, sealed_slots(disk, data[0] % 3 == 1 ? 80 : 0, bytes));
  const auto seen = Ledger::peek(disk, kFolder, identity(), LaneKey{});
  auto ledger = open(disk);
  require(seen.ok() == ledger.ok());
  if (!ledger.ok()) {
    require(ledger.error().code == ErrorCode::kPoolCorrupt ||
            ledger.error().code == ErrorCode::kRosterMismatch);
    return 0;
  }
  const std::uint64_t watermark = ledger->watermark();
  require(watermark == seen->watermark && watermark < kMaxBundleNumber);
  require(ledger->witnesses().size() == 3);
  require(ledger->advance_blocking(watermark + 1, {1, 2, 3}).ok());
  disk.crash("/m0", testing::Loss::kDropAll);
  (void)disk.make_directory("/m0");
  const auto again = open(disk);
  require(!again.ok() || again->watermark() >= watermark + 1 || again->watermark() == 0);
  return 0;
}
