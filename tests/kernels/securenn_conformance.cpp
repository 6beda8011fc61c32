// What every device does for SecureNN: the same bytes as the CPU, bit for bit, whatever is cut.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/securenn_backend.h"
#include "tests/kernels/two_backends.h"

namespace beaverpond {
namespace {

using namespace securenn;  // NOLINT: what is tested
using Tensors = std::vector<Tensor>;

class SecurennConformance : public TwoBackends {
 protected:
  StreamOf stream(PrgKind prg) const { return {&seed_, prg, std::uint64_t{1} << 40}; }
  static Bytes bytes(const Tensor& tensor, std::uint64_t count) {
    return tensor.bytes().first(packed_bytes(count));
  }
  /// A player's side of a dealt sign, with and without the correction.
  void read(SignKind kind, PrgKind prg, std::size_t count, const HostWords* correction);

  const Seed seed_ = random_seed(random_);
};

constexpr PrgKind kPrgs[] = {PrgKind::kAes128Ctr, PrgKind::kChaCha20};
constexpr std::size_t kCounts[] = {1, 63, 64, 65, 700};

TEST_F(SecurennConformance, OddWords) {
  for (const PrgKind prg : kPrgs) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{9}, std::size_t{3001}}) {
      const std::string what = std::string(to_string(prg)) + " " + std::to_string(count);
      same(what + " fill", {}, count, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.securenn().odd_fill(stream(prg), out, kHostStream);
      });
      same(what + " subtract", {}, count, [&](Backend& b, const Tensors&, const Tensor& out) {
        b.securenn().run(ReduceOdd{out.words().data()}, count, kHostStream);
        b.securenn().odd_subtract(stream(prg), out, kHostStream);
      });
    }
  }
}

TEST_F(SecurennConformance, ComparisonsOfDigits) {
  for (const PrgKind prg : kPrgs) {
    for (const std::size_t count : kCounts) {
      const HostWords x = random_words(count, random_);
      HostWords bound = random_words(count, random_);
      for (std::size_t i = 0; i < count; i += 3) bound[i] = x[i] + i % 2;
      const HostWords beta = random_words(blocks_of(count), random_);
      for (const int bits : {63, 64}) {
        const std::string what = std::string(to_string(prg)) + " " + std::to_string(count) +
                                 " of " + std::to_string(bits) + " bits";
        const std::uint64_t words = packed_bytes(count) / 8;
        same(what, {x, bound, beta}, 4 * words + blocks_of(count),
             [&](Backend& b, const Tensors& t, const Tensor& out) {
               const auto part = [&](std::uint64_t i) {
                 return bytes_of(out.words().subspan(i * words, words));
               };
               SecurennBackend& device = b.securenn();
               device.draw_digits(stream(prg), part(0), kHostStream);
               device.share_bits(t[0], bits, stream(prg), part(1), kHostStream);
               StreamOf common = stream(prg);
               common.index += 1000;
               for (const int player : {0, 1}) {
                 device.compare(
                     {player, bits == 64, bits, part(player == 0 ? 0 : 1), t[1], t[2], common},
                     part(player == 0 ? 2 : 3), kHostStream);
               }
               device.find_zero(part(2), part(3), out.words().last(blocks_of(count)), kHostStream);
             });
      }
    }
  }
}

void SecurennConformance::read(SignKind kind, PrgKind prg, std::size_t count,
                               const HostWords* correction) {
  const std::uint64_t packed = packed_bytes(count) / 8;
  same("read", {}, 2 * count + packed, [&](Backend& b, const Tensors&, const Tensor& out) {
    Material material{&seed_, prg, 5, 6, nullptr, correction != nullptr};
    if (correction != nullptr) {
      material.correction = reinterpret_cast<const std::uint8_t*>(correction->data());
    }
    const Words all = out;
    b.zero(bytes_of(all.first(count)), kHostStream);  // unused by one kind
    const SignShares shares{all.first(count), all.subspan(count, count),
                            bytes_of(all.last(packed))};
    const ConstBytes digits = b.securenn().read_sign(kind, material, shares, kHostStream);
    if (digits.data() != shares.memory.data()) b.upload(digits, shares.memory, kHostStream);
    EXPECT_TRUE(b.synchronize(kHostStream).ok());
  });
}

TEST_F(SecurennConformance, DealtSigns) {
  for (const PrgKind prg : kPrgs) {
    const std::vector<Seed> seeds = {random_seed(random_), random_seed(random_),
                                     random_seed(random_)};
    for (const SignKind kind : {SignKind::kConverted, SignKind::kOpened}) {
      for (const std::size_t count : kCounts) {
        SCOPED_TRACE(std::string(to_string(prg)) + " " + std::to_string(count));
        for (const int designated : {0, 1}) {
          same("deal", {}, count + packed_bytes(count) / 8,
               [&](Backend& b, const Tensors&, const Tensor& out) {
                 b.securenn().deal_sign({kind, count, prg, seeds, designated, 5, 6, out.bytes()},
                                        kHostStream);
               });
        }
        const HostWords correction = random_words(count + packed_bytes(count) / 8, random_);
        read(kind, prg, count, nullptr);
        read(kind, prg, count, &correction);
        same("a triple's", {}, count, [&](Backend& b, const Tensors&, const Tensor& out) {
          const auto* const dealt = reinterpret_cast<const std::uint8_t*>(correction.data());
          b.securenn().read_correction({&seed_, prg, 5, 6, nullptr, false}, out, kHostStream);
          b.securenn().run(MaskDouble{out.words().data(), out.words().data(), out.words().data()},
                           count, kHostStream);
          b.securenn().read_correction({&seed_, prg, 5, 6, dealt, true},
                                       out.words().first(count / 2), kHostStream);
          EXPECT_TRUE(b.synchronize(kHostStream).ok());
        });
      }
    }
  }
}

}  // namespace
}  // namespace beaverpond
