// A training step allocates nothing once the third has begun. Counted: every malloc, calloc,
// realloc, aligned allocation and operator new of the threads that run players, in the trainer, the
// engine and the CPU backend. Not counted, for reasons in online/protocol/README.md: what a
// transport does inside its calls, of which only blocks the size of tensors have a bound, and where
// bundles come from (they are dealt before).
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "online/nn/trainer.h"
#include "online/transport/local.h"
#include "tests/online/protocol/engine_harness.h"
#include "tests/online/transport/forwarding_transport.h"

#if defined(__SANITIZE_ADDRESS__)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
#else
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* data, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}
#endif

namespace beaverpond {
namespace {

constexpr std::size_t kTensorBytes = std::size_t{64} << 10;

thread_local bool counting = false;      // this thread is in a step that may not allocate
thread_local bool in_transport = false;  // and in a call of its transport
std::atomic<std::uint64_t> allocations{0};
std::atomic<std::uint64_t> transport_allocations{0};
std::atomic<std::uint64_t> transport_tensors{0};

void note(std::size_t size) {
  if (!counting) return;
  if (!in_transport) {
    ++allocations;
    return;
  }
  ++transport_allocations;
  if (size >= kTensorBytes) ++transport_tensors;
}

}  // namespace
}  // namespace beaverpond

#if !defined(__SANITIZE_ADDRESS__)
// In front of the C library's, for the whole program; operator new ends here too.
extern "C" {
void* malloc(std::size_t size) {
  beaverpond::note(size);
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  beaverpond::note(count * size);
  return __libc_calloc(count, size);
}
void* realloc(void* data, std::size_t size) {
  beaverpond::note(size);
  return __libc_realloc(data, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  beaverpond::note(size);
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return memalign(alignment, size);
}
int posix_memalign(void** data, std::size_t alignment, std::size_t size) {
  *data = memalign(alignment, size);
  return *data == nullptr ? ENOMEM : 0;
}
}
#endif

namespace beaverpond {
namespace {

using testing::ForwardingTransport;

void install_hooks() {
#if defined(__SANITIZE_ADDRESS__)
  static const int installed = __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, size_t size) { note(size); }, [](const volatile void*) {});
  ASSERT_NE(installed, 0);
#endif
}

/// Marks what the transport does.
class MarkedTransport final : public ForwardingTransport {
 public:
  explicit MarkedTransport(Transport& inner) : ForwardingTransport(inner) {}

  Operation start_all_reduce(std::span<std::uint64_t> words, ReduceOp op, const Tag& tag,
                             StreamRef stream) override {
    class Marked final : public Operation::Pending {
     public:
      explicit Marked(Operation inner) : inner_(std::move(inner)) {}
      Result<void> wait(Deadline deadline) override {
        in_transport = true;
        Result<void> result = inner_.wait(deadline);
        in_transport = false;
        return result;
      }

     private:
      Operation inner_;
    };
    in_transport = true;
    Operation started(
        std::make_unique<Marked>(ForwardingTransport::start_all_reduce(words, op, tag, stream)));
    in_transport = false;
    return started;
  }
};

/// One dealt bundle per step.
class DealtBundles final : public BundleSource {
 public:
  DealtBundles(std::vector<std::vector<Bundle>>& bundles, int rank)
      : bundles_(bundles), rank_(static_cast<std::size_t>(rank)) {}
  Result<Bundle> next_blocking(std::uint64_t step, std::uint64_t) override {
    return std::move(bundles_[step][rank_]);
  }
  std::uint64_t left() const override { return 0; }

 private:
  std::vector<std::vector<Bundle>>& bundles_;
  std::size_t rank_;
};

/// Every kind of layer; 8 steps. `loss_every`: 0 opens nothing on the way.
Job small_job(const std::string& profile) {
  std::string text =
      "[job]\nname = \"test\"\nseed = 7\nplayers = 2\n[model]\ninput = [28, 28, 1]\n"
      "loss = \"softmax_cross_entropy\"\n"
      "[[layer]]\nkind = \"conv2d\"\nchannels = 4\nkernel = 5\n"
      "[[layer]]\nkind = \"maxpool\"\nkernel = 2\n[[layer]]\nkind = \"relu\"\n"
      "[[layer]]\nkind = \"conv2d\"\nchannels = 4\nkernel = 3\n"
      "[[layer]]\nkind = \"avgpool\"\nkernel = 2\n[[layer]]\nkind = \"relu\"\n"
      "[[layer]]\nkind = \"dense\"\nunits = 300\n[[layer]]\nkind = \"relu\"\n"
      "[[layer]]\nkind = \"dense\"\nunits = 10\n"
      "[training]\nbatch = 32\nsteps = 8\nmomentum = 0.875\nweight_decay = 0.001\n"
      "multiplier = 3\n[pool]\nprofile = \"" +
      profile + "\"\n[reveal]\nloss_every = 0\nweights = [\"player0\"]\n";
  for (const char* player : {"0", "1"}) {
    const std::string data = "/usr/share/datasets/fashion-mnist/t10k-";
    text += std::string("[[data.owner]]\nplayer = ") + player + "\ntrain_images = \"" + data +
            "images-idx3-ubyte.gz\"\ntrain_labels = \"" + data +
            "labels-idx1-ubyte.gz\"\nrows = [0, 5000]\n";
  }
  return parse_job(text, "test").value();
}

class Allocations : public ::testing::TestWithParam<const char*> {};

TEST_P(Allocations, NoneFromTheThirdStepOn) {
  install_hooks();
  const Job job = small_job(GetParam());
  const Result<TrainingSetup> setup = prepare_training(job, PrgKind::kAes128Ctr);
  ASSERT_TRUE(setup.ok()) << setup.error().message;
  testing::TestDealer dealer(setup->plan, 2, 3);
  std::vector<std::vector<Bundle>> bundles;
  for (std::uint64_t step = 0; step < job.training.steps; ++step) {
    bundles.push_back(dealer.deal(step));
  }
  allocations = transport_allocations = transport_tensors = 0;
  std::vector<std::unique_ptr<Transport>> transports = make_local_transports(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      MarkedTransport transport(*transports[static_cast<std::size_t>(rank)]);
      const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      const Result<Session> session = Session::create_blocking(transport, deadline);
      ASSERT_TRUE(session.ok());
      const std::unique_ptr<Backend> backend = make_cpu_backend();
      DealtBundles source(bundles, rank);
      TrainOptions options;
      options.on_progress = [&](const TrainProgress& now) {
        counting = now.steps_done >= 2 && now.steps_done < now.steps;
      };
      const Result<TrainReport> report =
          train_blocking(job, *setup, *backend, transport, *session, source, options);
      EXPECT_TRUE(report.ok()) << report.error().message;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocations.load(), 0u);
  // Messages have buffers that come back; only a player that runs further ahead of the other than
  // ever before needs one more.
  EXPECT_LE(transport_tensors.load(), 6u) << "blocks of 64 KiB and more in six steps";
  RecordProperty("transport_allocations", static_cast<int>(transport_allocations.load()));
  EXPECT_GT(transport_allocations.load(), 0u);  // so the hooks count
}

INSTANTIATE_TEST_SUITE_P(Profiles, Allocations, ::testing::Values("lan", "wan"),
                         [](const auto& profile) { return std::string(profile.param); });

}  // namespace
}  // namespace beaverpond
