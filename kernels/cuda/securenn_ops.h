// What a device does for SecureNN, as SecurennBackend has it: blocks of 64 elements, whose streams
// are expanded into scratch memory.
#pragma once

#include "kernels/cuda/work.h"
#include "kernels/securenn_backend.h"

namespace beaverpond::cuda {

class SecurennOps final : public securenn::SecurennBackend {
 public:
  /// `work` is the backend's, and outlives this.
  explicit SecurennOps(Work& work) : work_(work) {}

  void run(const securenn::Step& step, std::uint64_t count, StreamRef stream) override;
  void odd_fill(const securenn::StreamOf& of, Words words, StreamRef stream) override;
  void odd_subtract(const securenn::StreamOf& of, Words words, StreamRef stream) override;
  void draw_digits(const securenn::StreamOf& of, securenn::Bytes out, StreamRef stream) override;
  void share_bits(ConstWords x, int bits, const securenn::StreamOf& of, securenn::Bytes out,
                  StreamRef stream) override;
  void compare(const securenn::PrivateComparison& comparison, securenn::Bytes out,
               StreamRef stream) override;
  void find_zero(securenn::ConstBytes of_p0, securenn::ConstBytes of_p1, Words out,
                 StreamRef stream) override;
  void deal_sign(const securenn::SignDeal& deal, StreamRef stream) override;
  securenn::ConstBytes read_sign(securenn::SignKind kind, const Material& material,
                                 const securenn::SignShares& out, StreamRef stream) override;
  void read_correction(const Material& material, Words out, StreamRef stream) override;

 private:
  Work& work_;
};

}  // namespace beaverpond::cuda
