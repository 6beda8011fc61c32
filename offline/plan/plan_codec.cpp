// The canonical encoding of a plan (table in offline/plan/README.md).

#include <cstring>
#include <memory>

#include "offline/plan/entry_layout.h"
#include "offline/plan/file.h"
#include "offline/plan/plan.h"

namespace beaverpond {
namespace {

constexpr char kMagic[8] = {'B', 'P', 'P', 'L', 'A', 'N', '0', '2'};
constexpr std::size_t kHeaderSize = 24;
constexpr std::size_t kEntrySize = 88;
// Bounds that keep a forged file from asking for absurd memory.
constexpr std::uint32_t kMaxEntries = 1u << 20;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 32;
constexpr std::uint32_t kMaxMembers = 1u << 16;
constexpr std::uint32_t kMaxTables = 1u << 12;
constexpr std::uint32_t kMaxTableWords = 1u << 12;
constexpr std::size_t kMaxFileBytes = kHeaderSize + std::size_t{kMaxEntries} * kEntrySize +
                                      std::size_t{kMaxTables} * 8 * kMaxTableWords;
constexpr std::uint64_t kMaxCorrectionBytes = std::uint64_t{1} << 40;

class Writer {
 public:
  void u8(std::uint8_t v) { bytes_.push_back(v); }
  void u16(std::uint16_t v) { integer(v, 2); }
  void u32(std::uint32_t v) { integer(v, 4); }
  void u64(std::uint64_t v) { integer(v, 8); }
  std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  void integer(std::uint64_t v, int size) {
    for (int i = 0; i < size; ++i) bytes_.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  }
  std::vector<std::uint8_t> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint8_t u8() { return static_cast<std::uint8_t>(integer(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(integer(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(integer(4)); }
  std::uint64_t u64() { return integer(8); }
  std::size_t left() const { return bytes_.size() - at_; }

 private:
  std::uint64_t integer(std::size_t size) {
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < size; ++i) v |= std::uint64_t{bytes_[at_ + i]} << (8 * i);
    at_ += size;
    return v;
  }
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

Error bad(const std::string& what) {
  return make_error(ErrorCode::kConfig, "bad plan: " + what);
}

void write_entry(Writer& out, const PlanEntry& e) {
  out.u16(static_cast<std::uint16_t>(e.kind));
  out.u8(e.transpose_x ? 1 : 0);
  out.u8(e.transpose_y ? 1 : 0);
  out.u32(e.source);
  out.u64(e.count);
  for (const std::uint32_t v :
       {e.shift, e.mask_x, e.mask_y, e.forward, e.m, e.n, e.k, e.conv.batch, e.conv.height,
        e.conv.width, e.conv.in_channels, e.conv.out_channels, e.conv.kernel, e.conv.stride,
        e.conv.pad_before, e.conv.pad_after}) {
    out.u32(v);
  }
  out.u32(e.table);
  out.u32(e.head ? 1 : 0);
}

Result<void> check_factors(const Plan& plan, const PlanEntry& e, std::uint64_t x, std::uint64_t y) {
  for (const std::uint32_t mask : {e.mask_x, e.mask_y}) {
    if (mask >= plan.entries.size() || plan.entries[mask].kind != EntryKind::kMask) {
      return bad("a product refers to something that is not a mask before it");
    }
  }
  if (e.head && !(plan.entries[e.mask_x].head && plan.entries[e.mask_y].head)) {
    return bad("an entry of the head refers to one that is not");
  }
  if (plan.entries[e.mask_x].count != x || plan.entries[e.mask_y].count != y) {
    return bad("a product's shape does not fit its masks");
  }
  return {};
}

Result<void> check_conv(const Plan& plan, const PlanEntry& e) {
  const Conv2dShape& c = e.conv;
  const bool sane = c.batch > 0 && c.height > 0 && c.width > 0 && c.in_channels > 0 &&
                    c.out_channels > 0 && c.kernel > 0 && c.stride > 0 && c.kernel <= (1u << 15) &&
                    c.pad_before < (1u << 15) && c.pad_after < (1u << 15) &&
                    c.height < (1u << 20) && c.width < (1u << 20) &&
                    c.height + c.pad_before + c.pad_after >= c.kernel &&
                    c.width + c.pad_before + c.pad_after >= c.kernel;
  const auto size = [](double a, double b, double x, double y) { return a * b * x * y; };
  if (!sane || size(c.batch, c.height, c.width, c.in_channels) > kMaxCount ||
      size(c.kernel, c.kernel, c.in_channels, c.out_channels) > kMaxCount ||
      size(c.batch, c.out_height(), c.out_width(), c.out_channels) > kMaxCount) {
    return bad("a convolution's shape makes no sense");
  }
  const std::uint64_t images = c.image_shape().count();
  const std::uint64_t weights = c.weight_shape().count();
  const std::uint64_t result = c.result_shape().count();
  switch (e.kind) {
    case EntryKind::kConv2d:
      if (e.count != result) break;
      return check_factors(plan, e, images, weights);
    case EntryKind::kConv2dGradWeight:
      if (e.count != weights) break;
      return check_factors(plan, e, images, result);
    default:
      if (e.count != images) break;
      return check_factors(plan, e, result, weights);
  }
  return bad("a convolution's count does not fit its shape");
}

Result<void> check_forward(const Plan& plan, const PlanEntry& e) {
  const bool fits = e.forward < plan.entries.size() && plan.entries[e.forward].count == e.count &&
                    (!e.head || plan.entries[e.forward].head) &&
                    (plan.entries[e.forward].kind == EntryKind::kReluTruncate ||
                     plan.entries[e.forward].kind == EntryKind::kRelu);
  if (!fits) return bad("a product with a bit refers to no relu before it");
  return {};
}

/// Checks an entry against those before it, which are already in `plan`.
Result<void> check_entry(const Plan& plan, const PlanEntry& e) {
  if (e.count == 0 || e.count > kMaxCount) return bad("an entry's count is 0 or above 2^32");
  // Who holds a sign, a bit or a product with it differs; masks, products and truncations do not.
  const bool of_securenn = e.kind >= EntryKind::kScalarTriple;
  const bool of_additive = is_comparison(e.kind) && e.kind != EntryKind::kTruncate;
  if (plan.protocol == Protocol::kAdditive ? of_securenn : of_additive) {
    return bad("an entry is of another protocol");
  }
  switch (e.kind) {
    case EntryKind::kMask: return {};
    case EntryKind::kMatMul:
      if (e.count != std::uint64_t{e.m} * e.n) return bad("a matrix product's count is not m*n");
      return check_factors(plan, e, std::uint64_t{e.m} * e.k, std::uint64_t{e.k} * e.n);
    case EntryKind::kConv2d:
    case EntryKind::kConv2dGradWeight:
    case EntryKind::kConv2dGradInput: return check_conv(plan, e);
    case EntryKind::kMultiply: return check_factors(plan, e, e.count, e.count);
    case EntryKind::kRelu: return {};
    case EntryKind::kLookup:
      if (e.table >= plan.tables.size()) return bad("a lookup names no table of the plan");
      return {};
    case EntryKind::kMultiplyBit: return check_forward(plan, e);
    case EntryKind::kScalarTriple:
    case EntryKind::kConvertedSign:
    case EntryKind::kOpenedSign: return {};
    case EntryKind::kTruncate:
    case EntryKind::kReluTruncate:
    case EntryKind::kTruncateTimesBit:
      if (e.shift < 1 || e.shift > 61) return bad("a truncation's shift is outside 1..61");
      if (e.kind == EntryKind::kTruncateTimesBit) return check_forward(plan, e);
      return {};
  }
  return bad("unknown kind of entry");
}

PlanEntry read_entry(Reader& in) {
  PlanEntry e;
  e.kind = static_cast<EntryKind>(in.u16());
  e.transpose_x = in.u8() == 1;
  e.transpose_y = in.u8() == 1;
  e.source = in.u32();
  e.count = in.u64();
  for (std::uint32_t* v :
       {&e.shift, &e.mask_x, &e.mask_y, &e.forward, &e.m, &e.n, &e.k, &e.conv.batch, &e.conv.height,
        &e.conv.width, &e.conv.in_channels, &e.conv.out_channels, &e.conv.kernel, &e.conv.stride,
        &e.conv.pad_before, &e.conv.pad_after}) {
    *v = in.u32();
  }
  e.table = in.u32();
  e.head = in.u32() == 1;
  return e;
}

}  // namespace

std::vector<std::uint8_t> encode_plan(const Plan& plan) {
  Writer out;
  for (const char c : kMagic) out.u8(static_cast<std::uint8_t>(c));
  out.u16(static_cast<std::uint16_t>(plan.prg));
  out.u8(static_cast<std::uint8_t>(plan.protocol));
  out.u8(static_cast<std::uint8_t>(plan.profile));
  out.u32(static_cast<std::uint32_t>(plan.entries.size()));
  out.u32(plan.members);
  out.u32(static_cast<std::uint32_t>(plan.tables.size()));
  for (const std::vector<std::uint64_t>& table : plan.tables) {
    out.u64(table.size());
    for (const std::uint64_t word : table) out.u64(word);
  }
  for (const PlanEntry& entry : plan.entries) write_entry(out, entry);
  return out.take();
}

namespace {

Result<void> read_tables(Reader& in, Plan& plan) {
  const std::uint32_t tables = in.u32();
  if (tables > kMaxTables) return bad("it has too many tables");
  for (std::uint32_t i = 0; i < tables; ++i) {
    const std::uint64_t size = in.left() < 8 ? 0 : in.u64();
    if (size < 2 || size > kMaxTableWords || (size & (size - 1)) != 0 || in.left() < size * 8) {
      return bad("a table's size is not a power of two from 2 to 4096, or the file ends in it");
    }
    std::vector<std::uint64_t>& table = plan.tables.emplace_back(size);
    for (std::uint64_t& word : table) word = in.u64();
  }
  return {};
}

}  // namespace

Result<Plan> decode_plan(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kHeaderSize || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return bad("it does not start with BPPLAN02");
  }
  Reader in(bytes.subspan(sizeof kMagic));
  Plan plan;
  plan.prg = static_cast<PrgKind>(in.u16());
  if (plan.prg != PrgKind::kAes128Ctr && plan.prg != PrgKind::kChaCha20) {
    return bad("unknown generator");
  }
  plan.protocol = static_cast<Protocol>(in.u8());
  if (plan.protocol > Protocol::kSecurennFused) return bad("unknown protocol");
  plan.profile = static_cast<CompareProfile>(in.u8());
  if (plan.profile != CompareProfile::kLan &&
      (plan.profile != CompareProfile::kWan || plan.protocol != Protocol::kAdditive)) {
    return bad("unknown profile of comparisons");
  }
  const std::uint32_t count = in.u32();
  plan.members = in.u32();
  if (plan.members == 0 || plan.members > kMaxMembers) {
    return bad("its number of members is 0 or above 2^16");
  }
  BP_TRY(read_tables(in, plan));
  if (count > kMaxEntries || in.left() != std::size_t{count} * kEntrySize) {
    return bad("its size does not fit its number of entries");
  }
  std::uint64_t bound = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const PlanEntry entry = read_entry(in);
    BP_TRY(check_entry(plan, entry));
    plan.entries.push_back(entry);
    const std::uint64_t element_bytes =
        entry.kind == EntryKind::kLookup ? plan.tables[entry.table].size() * 8 : 512;
    bound += entry.count * element_bytes * (entry.head ? 1 : plan.members);
    if (bound > kMaxCorrectionBytes) return bad("one bundle would need more than 2^40 bytes");
  }
  lay_out(plan);
  const std::vector<std::uint8_t> canonical = encode_plan(plan);
  if (std::memcmp(canonical.data(), bytes.data(), bytes.size()) != 0) {
    return bad("it is not in canonical form");
  }
  return plan;
}

Hash256 plan_hash(const Plan& plan) {
  return sha256(encode_plan(plan));
}

Result<void> write_plan_file(const Plan& plan, const std::string& path) {
  const std::vector<std::uint8_t> bytes = encode_plan(plan);
  return replace_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}, 0644);
}

Result<Plan> read_plan_file(const std::string& path) {
  const Result<std::string> text = read_small_file(path, kMaxFileBytes);
  if (!text.ok()) return make_error(text.error().code, "plan file: " + text.error().message);
  Result<Plan> plan =
      decode_plan({reinterpret_cast<const std::uint8_t*>(text->data()), text->size()});
  if (!plan.ok()) {
    Error error = std::move(plan).error();
    error.message = path + ": " + error.message + "; make it again with `beaverpond plan -o`";
    return error;
  }
  return plan;
}

}  // namespace beaverpond
