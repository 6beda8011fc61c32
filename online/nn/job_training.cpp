#include <algorithm>
#include <cmath>

#include "online/nn/config_section.h"
#include "online/nn/job_sections.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMaxMomentumShift = 16;
constexpr std::uint32_t kMaxBatch = 1u << 20;
constexpr std::uint64_t kMaxMultiplier = std::uint64_t{1} << 40;

class TrainingReader {
 public:
  TrainingReader(ConfigContext& context, ConfigSection& top, Job& job)
      : context_(context), top_(top), job_(job) {}

  void read() {
    ConfigSection s = required_section(
        context_, top_, "training",
        {"batch", "steps", "rate", "multiplier", "learning_rate", "momentum", "weight_decay"});
    TrainingConfig& training = job_.training;
    training.batch = u32(s.integer("batch", 1, kMaxBatch));
    training.steps = s.integer("steps", 1, kMaxSteps);
    read_optimiser(s);
    const bool single = s.has("multiplier") || s.has("learning_rate");
    const std::vector<ConfigNode>& rates = s.tables("rate");
    if (single && !rates.empty()) {
      s.fail("rate", "both a single rate and a schedule are given", "keep one of them");
    }
    if (rates.empty()) {
      training.rates.push_back({0, read_multiplier(s)});
      return;
    }
    for (std::size_t i = 0; i < rates.size(); ++i) {
      ConfigSection r(context_, &rates[i], indexed("training.rate", i),
                      {"from_step", "multiplier", "learning_rate"});
      RateChange change;
      change.from_step = r.integer("from_step", 0, kMaxSteps);
      change.multiplier = read_multiplier(r);
      const bool first = training.rates.empty();
      if (first && change.from_step != 0) {
        r.fail("from_step", "the first rate must start at step 0", "set it to 0");
      }
      if (!first && change.from_step <= training.rates.back().from_step) {
        r.fail("from_step", "not after the rate before it", "sort the rates by from_step");
      }
      training.rates.push_back(change);
    }
  }

 private:
  // A momentum is 1 - 2^-j, so that it costs a shift.
  void read_optimiser(ConfigSection& s) {
    OptimiserConfig& optimiser = job_.training.optimiser;
    if (s.has("momentum")) {
      const double wanted = s.positive_real("momentum");
      const auto exact = [](std::uint32_t j) { return 1.0 - 1.0 / double(1u << j); };
      if (wanted < 0.25 || wanted > exact(kMaxMomentumShift)) {
        s.fail("momentum", "outside 0.25 .. 1 - 2^-16", "use 0.5, 0.75, 0.875, 0.9375 ..");
      }
      std::uint32_t best = 1;
      for (std::uint32_t j = 2; j <= kMaxMomentumShift; ++j) {
        if (std::abs(exact(j) - wanted) < std::abs(exact(best) - wanted)) best = j;
      }
      optimiser.momentum_shift = best;
      if (exact(best) != wanted) {
        job_.notes.push_back(s.field("momentum") + " = " + number_text(wanted) + " becomes " +
                             number_text(exact(best)) + " = 1 - 2^-" + std::to_string(best));
      }
    }
    if (s.has("weight_decay")) {
      const double wanted = s.positive_real("weight_decay");
      const double one = double(std::uint64_t{1} << job_.fixed_point.fraction_bits);
      const double word = wanted * job_.training.batch * one;
      if (wanted > 1 || word < 0.5) {
        s.fail("weight_decay", wanted > 1 ? "above 1" : "too small for fraction_bits and batch",
               "use a value from " + number_text(0.5 / (job_.training.batch * one)) +
                   " to 1, or leave it out");
      }
      optimiser.weight_decay_word = s.failed() ? 0 : static_cast<std::uint64_t>(word + 0.5);
    }
  }

  // `multiplier`, or the multiplier nearest to `learning_rate` = multiplier * batch * 2^-K.
  std::uint64_t read_multiplier(ConfigSection& s) {
    if (s.has("multiplier") == s.has("learning_rate")) {
      s.fail("multiplier", s.has("multiplier") ? "given together with learning_rate" : "missing",
             "give either multiplier or learning_rate");
      return 1;
    }
    if (s.has("multiplier")) return s.integer("multiplier", 1, kMaxMultiplier);
    const double wanted = s.positive_real("learning_rate");
    const double unit = static_cast<double>(job_.training.batch) /
                        static_cast<double>(std::uint64_t{1} << job_.fixed_point.master_extra_bits);
    const double exact = wanted / unit;
    if (s.failed()) return 1;
    const FixedPoint& fixed = job_.fixed_point;
    if (exact < 0.5 || exact > static_cast<double>(kMaxMultiplier)) {
      s.fail("learning_rate", "its multiplier would be " + number_text(exact),
             exact >= 0.5 ? "lower the rate"
             : fixed.master_scale_bits() < kMaxMasterScale &&
                     fixed.master_extra_bits < kMaxMasterExtraBits
                 ? "raise master_extra_bits or the rate"
                 : "lower fraction_bits or raise the rate");
      return 1;
    }
    const auto below = static_cast<std::uint64_t>(exact);
    const std::uint64_t nearest = below + (exact - static_cast<double>(below) >= 0.5 ? 1 : 0);
    job_.notes.push_back(s.field("learning_rate") + " = " + number_text(wanted) +
                         " becomes multiplier " + std::to_string(nearest) + ", a rate of " +
                         number_text(static_cast<double>(nearest) * unit));
    return nearest;
  }

  ConfigContext& context_;
  ConfigSection& top_;
  Job& job_;
};

}  // namespace

void read_training(ConfigContext& context, ConfigSection& top, Job& job) {
  TrainingReader(context, top, job).read();
}

}  // namespace beaverpond
