// SecurennBackend of the CPU: every operation is complete when its call returns.
#include <algorithm>
#include <cstring>

#include "kernels/securenn/digits.h"
#include "kernels/securenn/material.h"

namespace beaverpond::securenn {
namespace {

class CpuOperations final : public SecurennBackend {
 public:
  void run(const Step& step, std::uint64_t count, StreamRef) override {
    std::visit(
        [count](const auto& one) {
          for (std::uint64_t i = 0; i < count; ++i) one(i);
        },
        step);
  }
  void odd_fill(const StreamOf& of, Words words, StreamRef stream) override {
    Prg(*of.seed, of.prg).fill(of.index, 0, bytes_of(words));
    run(ReduceOdd{words.data()}, words.size(), stream);
  }
  void odd_subtract(const StreamOf& of, Words words, StreamRef stream) override {
    const Prg prg(*of.seed, of.prg);
    std::uint64_t drawn[kPiece];
    for (std::uint64_t at = 0; at < words.size(); at += kPiece) {
      const std::uint64_t n = std::min(kPiece, words.size() - at);
      prg.fill(of.index, at * 8, bytes_of(Words(drawn, n)));
      run(SubtractOdd{drawn, words.data() + at}, n, stream);
    }
    explicit_bzero(drawn, sizeof drawn);
  }

  void draw_digits(const StreamOf& of, Bytes out, StreamRef) override {
    const Prg prg(*of.seed, of.prg);
    digit_kernels().draw({&prg, of.index}, out);
  }
  void share_bits(ConstWords x, int bits, const StreamOf& of, Bytes out, StreamRef) override {
    const Prg prg(*of.seed, of.prg);
    digit_kernels().share_bits(x, bits, {&prg, of.index}, out);
  }
  void compare(const PrivateComparison& c, Bytes out, StreamRef) override {
    const Prg prg(*c.common.seed, c.common.prg);
    digit_kernels().compare(
        {c.player, c.at_least, c.bits, c.x, c.bound, c.beta, {&prg, c.common.index}}, out);
  }
  void find_zero(ConstBytes of_p0, ConstBytes of_p1, Words out, StreamRef) override {
    digit_kernels().find_zero(of_p0, of_p1, out);
  }

  void deal_sign(const SignDeal& deal, StreamRef) override { securenn::deal_sign(deal); }
  ConstBytes read_sign(SignKind kind, const Material& material, const SignShares& out,
                       StreamRef) override {
    return securenn::read_sign(kind, material, out);
  }
  void read_correction(const Material& material, Words out, StreamRef) override {
    if (material.correction != nullptr) {
      std::memcpy(out.data(), material.correction, out.size_bytes());
    } else {
      Prg(*material.seed, material.prg).fill(material.correction_stream, 0, bytes_of(out));
    }
  }

 private:
  static constexpr std::uint64_t kPiece = 1024;  // words of a stream that stay in the cache
};

}  // namespace

SecurennBackend& cpu_operations() {
  static CpuOperations operations;
  return operations;
}

}  // namespace beaverpond::securenn
