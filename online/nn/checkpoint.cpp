#include "online/nn/checkpoint.h"

#include <strings.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "offline/pool/block.h"
#include "offline/pool/cipher.h"
#include "online/session/session.h"

namespace beaverpond {
namespace {

// The table "Checkpoints" of README.md.
constexpr char kMagic[9] = "BPCKPT01";
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kPlayerAt = 12;
constexpr std::size_t kPlayersAt = 16;
constexpr std::size_t kStatesAt = 20;
constexpr std::size_t kPoolAt = 24;
constexpr std::size_t kEpochAt = 40;
constexpr std::size_t kRosterAt = 48;
constexpr std::size_t kPlanAt = 80;
constexpr std::size_t kJobAt = 112;
constexpr std::size_t kDataAt = 144;
constexpr std::size_t kRunAt = 176;
constexpr std::size_t kSessionAt = 192;
constexpr std::size_t kStepAt = 200;
constexpr std::size_t kPayloadAt = 208;
constexpr std::size_t kSaltAt = 216;
constexpr std::size_t kMembershipAt = 248;
static_assert(kMembershipAt + 8 <= kBlockHashOffset);

constexpr std::size_t kChunkBytes = 65536;
constexpr std::size_t kTagBytes = sizeof(CipherTag);
constexpr std::uint64_t kMaxPayload = std::uint64_t{1} << 36;
constexpr char kSuffix[] = ".ckpt";
constexpr char kUnfinished[] = ".ckpt.tmp";

using Bytes = std::vector<std::uint8_t>;

/// Of shares, on any way out.
struct Wiped {
  Bytes bytes;
  ~Wiped() {
    if (!bytes.empty()) explicit_bzero(bytes.data(), bytes.size());
  }
};

std::uint64_t chunks_of(std::uint64_t payload) {
  return (payload + kChunkBytes - 1) / kChunkBytes;
}

std::uint64_t file_size(std::uint64_t payload) {
  return kBlockSize + payload + chunks_of(payload) * kTagBytes;
}

Error corrupt(const std::string& path, const std::string& why) {
  return make_error(ErrorCode::kCheckpointCorrupt,
                    "the checkpoint " + path + " " + why +
                        "; restore the file, or remove it and go on from the one before");
}

/// Fields that must be those of this store, and the name.
Block encode_header(const CheckpointBinding& binding, const CheckpointName& name,
                    std::size_t states, std::uint64_t payload, std::span<const std::uint8_t> salt,
                    std::uint64_t epoch) {
  Block block{};
  store_bytes(block, 0, {reinterpret_cast<const std::uint8_t*>(kMagic), 8});
  store_le(block, kVersionAt, 1, 2);
  store_le(block, kPlayerAt, static_cast<std::uint64_t>(binding.pool.player), 4);
  store_le(block, kPlayersAt, static_cast<std::uint64_t>(binding.pool.players), 4);
  store_le(block, kStatesAt, states, 4);
  store_bytes(block, kPoolAt, binding.pool.pool_id);
  store_le(block, kEpochAt, binding.pool.epoch, 8);
  store_bytes(block, kRosterAt, binding.pool.roster_hash);
  store_bytes(block, kPlanAt, binding.plan);
  store_bytes(block, kJobAt, binding.job);
  store_bytes(block, kDataAt, binding.own_data);
  store_bytes(block, kRunAt, name.run);
  store_le(block, kSessionAt, name.session, 8);
  store_le(block, kStepAt, name.step, 8);
  store_le(block, kPayloadAt, payload, 8);
  store_bytes(block, kSaltAt, salt);
  store_le(block, kMembershipAt, epoch, 8);
  seal_block(block);
  return block;
}

CheckpointName name_of(const Block& block) {
  CheckpointName name;
  load_bytes(block, kRunAt, name.run);
  name.session = load_le(block, kSessionAt, 8);
  name.step = load_le(block, kStepAt, 8);
  return name;
}

/// What of the header is of another training, in words; empty if nothing is.
std::string difference(const Block& block, const Block& ours) {
  struct Field {
    std::size_t at;
    std::size_t size;
    const char* what;
  };
  static constexpr Field kFields[] = {
      {kPoolAt, 16, "another pool"},
      {kEpochAt, 8, "another epoch of the roster"},
      {kRosterAt, 32, "another roster"},
      {kPlayerAt, 8, "another player"},
      {kPlanAt, 32, "another plan"},
      {kJobAt, 32, "another job"},
      {kDataAt, 32, "other data of this player, or of another key file"}};
  for (const Field& field : kFields) {
    const auto from = block.begin() + static_cast<std::ptrdiff_t>(field.at);
    const auto to = from + static_cast<std::ptrdiff_t>(field.size);
    if (!std::equal(from, to, ours.begin() + static_cast<std::ptrdiff_t>(field.at))) {
      return field.what;
    }
  }
  return "";
}

void append_words(Bytes& out, const std::vector<std::uint64_t>& words) {
  const std::size_t at = out.size();
  out.resize(at + 8 * (1 + words.size()));
  store_le(out, at, words.size(), 8);
  for (std::size_t i = 0; i < words.size(); ++i) store_le(out, at + 8 * (1 + i), words[i], 8);
}

std::string hex(std::uint64_t number) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[(number >> shift) & 15];
  return text;
}

bool by_step(const CheckpointName& a, const CheckpointName& b) {
  return a.step != b.step ? a.step < b.step : a.session < b.session;
}

/// The head of a file of this store.
Result<Block> read_header(StorageFile& file, const std::string& path, const Block& ours) {
  Block block{};
  BP_ASSIGN(const std::size_t got, file.read_at(0, block));
  if (got != block.size() || std::memcmp(block.data(), kMagic, 8) != 0 || !is_sealed(block) ||
      load_le(block, kVersionAt, 2) != 1) {
    return corrupt(path, "is damaged or of another version");
  }
  if (const std::string what = difference(block, ours); !what.empty()) {
    return make_error(ErrorCode::kCheckpointMismatch,
                      "the checkpoint " + path + " is of " + what +
                          "; resume with the job, roster and data that it was made with, or name "
                          "another folder in [checkpoint] dir");
  }
  // A run has states: without a payload nothing in the file is authentic.
  const std::uint64_t size = load_le(block, kPayloadAt, 8);
  BP_ASSIGN(const std::uint64_t whole, file.size());
  if (size == 0 || size > kMaxPayload || whole != file_size(size)) {
    return corrupt(path, "has another length");
  }
  if (load_le(block, kMembershipAt, 8) > kLatestEpoch) {
    return corrupt(path, "names a membership epoch that nobody can have reached");
  }
  return block;
}

CheckpointBinding marked(CheckpointBinding binding, const PoolKey& key) {
  binding.own_data = key.checkpoint_mark(binding.own_data);
  return binding;
}

/// Chunk by chunk, each followed by its tag, as they lie in the file.
void seal(Bytes& payload, const SecretKey& key, const Hash256& context, Bytes& out) {
  ChunkCipher cipher(ChunkCipher::Direction::kSeal, key, context);
  for (std::uint64_t number = 0; number * kChunkBytes < payload.size(); ++number) {
    const std::size_t begin = number * kChunkBytes;
    const std::span<std::uint8_t> chunk =
        std::span(payload).subspan(begin, std::min(kChunkBytes, payload.size() - begin));
    cipher.start(number);
    cipher.update(chunk, chunk.data());
    const CipherTag tag = cipher.finish();
    out.insert(out.end(), chunk.begin(), chunk.end());
    out.insert(out.end(), tag.begin(), tag.end());
  }
}

}  // namespace

Checkpoint::~Checkpoint() {
  for (std::vector<std::uint64_t>& words : states) {
    if (!words.empty()) explicit_bzero(words.data(), 8 * words.size());
  }
}

CheckpointStore::CheckpointStore(Storage& storage, std::string directory, PoolKey key,
                                 const CheckpointBinding& binding, EntropySource entropy)
    : storage_(&storage),
      directory_(std::move(directory)),
      key_(std::move(key)),
      binding_(marked(binding, key_)),
      entropy_(std::move(entropy)) {}

Result<CheckpointStore> CheckpointStore::open(Storage& storage, const std::string& directory,
                                              PoolKey key, const CheckpointBinding& binding,
                                              const EntropySource& entropy) {
  BP_TRY(storage.make_directory(directory));
  const std::size_t slash = directory.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : directory.substr(0, slash);
  BP_TRY(storage.sync_directory(parent.empty() ? "/" : parent));
  CheckpointStore store(storage, directory, std::move(key), binding, entropy);
  BP_TRY(store.load());
  return store;
}

Result<std::optional<std::uint64_t>> CheckpointStore::last_epoch_blocking(
    Storage& storage, const std::string& directory, const PoolKey& key,
    const CheckpointBinding& binding) {
  std::optional<std::uint64_t> last;
  BP_ASSIGN(const bool present, storage.exists(directory));
  if (!present) return last;
  BP_ASSIGN(const std::vector<StorageEntry> entries, storage.list(directory));
  const Block ours = encode_header(marked(binding, key), {}, 0, 0, {}, 0);
  for (const StorageEntry& entry : entries) {
    if (!entry.name.ends_with(kSuffix)) continue;
    last = last.value_or(0);
    const std::string path = directory + "/" + entry.name;
    BP_ASSIGN(const auto file, storage.open(path, Storage::Mode::kRead));
    const Result<Block> header = read_header(*file, path, ours);
    if (!header.ok() && header.error().code != ErrorCode::kCheckpointCorrupt) {
      return header.error();
    }
    if (header.ok()) last = std::max(*last, load_le(*header, kMembershipAt, 8));
  }
  return last;
}

Result<void> CheckpointStore::load() {
  BP_ASSIGN(const std::vector<StorageEntry> entries, storage_->list(directory_));
  for (const StorageEntry& entry : entries) {
    const std::string path = directory_ + "/" + entry.name;
    if (entry.name.ends_with(kUnfinished)) BP_TRY(storage_->unlink(path));
    if (!entry.name.ends_with(kSuffix)) continue;
    Result<Checkpoint> found = read_file(path);
    if (found.ok() && path == path_of(found->name)) {
      held_.push_back(found->name);
      continue;
    }
    Error error = found.ok() ? corrupt(path, "has another file's name") : found.error();
    if (error.code != ErrorCode::kCheckpointCorrupt) return error;
    if (!damaged_.has_value()) damaged_ = std::move(error);
  }
  std::sort(held_.begin(), held_.end(), by_step);
  return {};
}

std::string CheckpointStore::path_of(const CheckpointName& name) const {
  const std::string step = std::to_string(name.step);
  return directory_ + "/" + std::string(step.size() < 12 ? 12 - step.size() : 0, '0') + step + "-" +
         hex(name.session) + kSuffix;
}

Result<Checkpoint> CheckpointStore::read_blocking(const CheckpointName& name) const {
  BP_ASSIGN(Checkpoint checkpoint, read_file(path_of(name)));
  if (checkpoint.name == name) return checkpoint;
  return corrupt(path_of(name), "has another file's name");
}

Result<Checkpoint> CheckpointStore::read_file(const std::string& path) const {
  BP_ASSIGN(const auto file, storage_->open(path, Storage::Mode::kRead));
  const Block ours = encode_header(binding_, {}, 0, 0, {}, 0);
  BP_ASSIGN(const Block block, read_header(*file, path, ours));
  const std::uint64_t size = load_le(block, kPayloadAt, 8);
  Wiped payload;
  try {
    payload.bytes.resize(size);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "no memory to read the checkpoint " + path);
  }
  const Hash256 context = sha256(block);
  const SecretKey key = key_.checkpoint_key(std::span(block).subspan(kSaltAt, 32));
  ChunkCipher cipher(ChunkCipher::Direction::kOpen, key, context);
  std::uint64_t at = kBlockSize;
  for (std::uint64_t number = 0; number < chunks_of(size); ++number) {
    const std::span<std::uint8_t> chunk =
        std::span(payload.bytes)
            .subspan(number * kChunkBytes,
                     std::min<std::uint64_t>(kChunkBytes, size - number * kChunkBytes));
    CipherTag tag{};
    BP_ASSIGN(const std::size_t read, file->read_at(at, chunk));
    BP_ASSIGN(const std::size_t read_tag, file->read_at(at + chunk.size(), tag));
    at += chunk.size() + kTagBytes;
    if (read != chunk.size() || read_tag != tag.size() || !cipher.open(number, chunk, tag)) {
      return corrupt(path, "is damaged, or was sealed under another key file");
    }
  }
  Checkpoint checkpoint;
  checkpoint.name = name_of(block);
  checkpoint.epoch = load_le(block, kMembershipAt, 8);
  std::size_t begin = 0;
  for (std::uint64_t slot = 0; slot < load_le(block, kStatesAt, 4); ++slot) {
    const std::size_t left = payload.bytes.size() - begin;
    const std::uint64_t count = left < 8 ? ~std::uint64_t{0} : load_le(payload.bytes, begin, 8);
    if (count > (left - 8) / 8) return corrupt(path, "has states that do not fit");
    std::vector<std::uint64_t>& words = checkpoint.states.emplace_back(count);
    for (std::size_t i = 0; i < count; ++i) {
      words[i] = load_le(payload.bytes, begin + 8 * (1 + i), 8);
    }
    begin += 8 * (1 + count);
  }
  if (begin != payload.bytes.size()) return corrupt(path, "has states that do not fit");
  return checkpoint;
}

Result<void> CheckpointStore::write_blocking(const Checkpoint& checkpoint) {
  std::size_t size = 0;
  for (const std::vector<std::uint64_t>& words : checkpoint.states) size += 8 * (1 + words.size());
  Bytes sealed;
  try {
    Wiped payload;
    payload.bytes.reserve(size);  // never moved: no unwiped copy stays behind
    for (const std::vector<std::uint64_t>& words : checkpoint.states) {
      append_words(payload.bytes, words);
    }
    std::array<std::uint8_t, 32> salt{};
    BP_TRY(entropy_(salt));
    const Block block = encode_header(binding_, checkpoint.name, checkpoint.states.size(), size,
                                      salt, checkpoint.epoch);
    sealed.reserve(file_size(size));
    sealed.assign(block.begin(), block.end());
    seal(payload.bytes, key_.checkpoint_key(salt), sha256(block), sealed);
  } catch (const std::bad_alloc&) {
    return make_error(ErrorCode::kOutOfMemory, "no memory to write a checkpoint");
  }
  const std::string path = path_of(checkpoint.name);
  const std::string unfinished = path.substr(0, path.size() - std::strlen(kSuffix)) + kUnfinished;
  {
    BP_ASSIGN(const auto file, storage_->open(unfinished, Storage::Mode::kCreateNew));
    Result<void> written = file->write_at(0, sealed);
    if (written.ok()) written = file->sync();
    if (!written.ok()) {
      (void)storage_->unlink(unfinished);
      return written;
    }
  }
  BP_TRY(storage_->rename(unfinished, path));
  BP_TRY(storage_->sync_directory(directory_));
  held_.push_back(checkpoint.name);
  std::sort(held_.begin(), held_.end(), by_step);
  while (held_.size() > kKept) {
    BP_TRY(storage_->unlink(path_of(held_.front())));
    held_.erase(held_.begin());
  }
  return {};
}

Result<void> CheckpointStore::keep_only_blocking(const std::optional<CheckpointName>& name) {
  bool removed = false;
  for (const CheckpointName& held : held_) {
    if (name == held) continue;
    BP_TRY(storage_->unlink(path_of(held)));
    removed = true;
  }
  if (removed) BP_TRY(storage_->sync_directory(directory_));
  held_.clear();
  if (name.has_value()) held_.push_back(*name);
  return {};
}

}  // namespace beaverpond
