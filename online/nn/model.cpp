#include "online/nn/model.h"

#include "online/nn/blocks.h"
#include "online/nn/model_layers.h"

namespace beaverpond {
namespace {

// A tensor whose words are to be divided by 2^pending before a product may use them: what a product
// or an average leaves behind. Maxima and reluctant truncations are taken before the division.
struct Signal {
  ValueId value = kNoValue;
  std::uint32_t pending = 0;
};

// An average over `taps` elements as their sum times word / 2^bits.
struct Average {
  std::uint64_t word = 1;
  std::uint32_t bits = 0;
};

Average average_of(std::uint32_t taps, int fraction_bits) {
  if ((taps & (taps - 1)) == 0) return {1, static_cast<std::uint32_t>(__builtin_ctz(taps))};
  // As fine as the domain of the truncation leaves room for: values up to 2^10 at scale 2f.
  const int room = 62 - 2 * fraction_bits - 10;
  const auto bits = static_cast<std::uint32_t>(room < 4 ? 4 : room > 16 ? 16 : room);
  return {((std::uint64_t{1} << bits) + taps / 2) / taps, bits};
}

Result<void> check_averages(const std::vector<ModelLayer>& layers, const FixedPoint& fixed) {
  for (const ModelLayer& layer : layers) {
    if (layer.kind != LayerKind::kAvgPool) continue;
    const std::uint64_t taps = layer.pool.taps();
    const Average average = average_of(layer.pool.taps(), fixed.fraction_bits);
    const std::uint64_t one = std::uint64_t{1} << average.bits;
    const std::uint64_t got = average.word * taps;
    if ((got > one ? got - one : one - got) * 8 <= one) continue;
    return make_error(ErrorCode::kConfig,
                      "layer '" + layer.name + "': with fraction_bits " +
                          std::to_string(fixed.fraction_bits) + " an average over " +
                          std::to_string(taps) + " values would be off by more than an eighth; " +
                          "lower fraction_bits, or use a kernel that is a power of two");
  }
  return {};
}

// What the forward pass leaves for the backward pass, by layer.
struct ForwardLayer {
  ValueId input = kNoValue;   // of a linear layer, at scale f
  ValueId weight = kNoValue;  // of a linear layer, at scale f
  ValueId bit = kNoValue;     // of a relu
  MaxTree tree;               // of a maximum
};

class ModelBuilder {
 public:
  ModelBuilder(std::vector<ModelLayer> layers, const FixedPoint& fixed)
      : layers_(std::move(layers)), fixed_(fixed), forward_(layers_.size()) {}

  // x: images at scale f. weights, biases: at scale f, by linear layer. Returns the scores.
  ValueId forward(ValueId images, const std::vector<ValueId>& weights,
                  const std::vector<ValueId>& biases) {
    Signal x{images, 0};
    std::size_t linear = 0;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const ModelLayer& layer = layers_[i];
      b.set_layer(layer.name);
      switch (layer.kind) {
        case LayerKind::kConv2d:
        case LayerKind::kDense:
          x = forward_linear(layer, forward_[i], x, weights[linear], biases[linear]);
          ++linear;
          break;
        case LayerKind::kRelu: x = forward_relu(forward_[i], x); break;
        case LayerKind::kMaxPool:
          forward_[i].tree = max_rows(b, b.window(x.value, layer.pool));
          x.value = b.reshape(forward_[i].tree.max, layer.output);
          break;
        case LayerKind::kAvgPool: {
          const ValueId sum = b.sum_rows(b.window(x.value, layer.pool));
          x = averaged(layer, {b.reshape(sum, layer.output), x.pending});
          break;
        }
      }
    }
    b.set_layer(layers_.back().name);
    return settled(x);
  }

  // d: gradient of the loss by the scores, at scale f. Returns the gradients of weights and biases
  // at scale 2f, by parameter.
  std::vector<ValueId> backward(ValueId d) {
    std::vector<ValueId> gradients;
    Signal g{d, 0};
    std::size_t first = 0;
    while (!layers_[first].linear()) ++first;
    for (std::size_t i = layers_.size(); i-- > first;) {
      const ModelLayer& layer = layers_[i];
      const ForwardLayer& before = forward_[i];
      b.set_layer(layer.name + " backward");
      switch (layer.kind) {
        case LayerKind::kConv2d:
        case LayerKind::kDense: g = backward_linear(layer, before, g, i == first, gradients); break;
        case LayerKind::kRelu:
          g = g.pending == 0
                  ? Signal{b.multiply_bit(g.value, before.bit), 0}
                  : Signal{b.truncate_times_bit(g.value, before.bit, g.pending, true), 0};
          break;
        case LayerKind::kMaxPool: g = backward_max(layer, before, g); break;
        case LayerKind::kAvgPool: {
          g = averaged(layer, g);
          const ValueId taps = repeat_rows(b, g.value, layer.pool.taps());
          g.value = b.window_grad(taps, layer.pool);
          break;
        }
      }
    }
    return {gradients.rbegin(), gradients.rend()};
  }

  ProgramBuilder b;

 private:
  std::uint32_t f() const { return static_cast<std::uint32_t>(fixed_.fraction_bits); }

  ValueId settled(const Signal& x) {
    return x.pending == 0 ? x.value : b.truncate(x.value, x.pending, true);
  }

  Signal forward_linear(const ModelLayer& layer, ForwardLayer& kept, const Signal& x,
                        ValueId weight, ValueId bias) {
    kept.weight = weight;
    kept.input = settled(x);
    const bool conv = layer.kind == LayerKind::kConv2d;
    if (!conv) kept.input = b.reshape(kept.input, layer.input);
    const ValueId product =
        conv ? b.conv2d(kept.input, weight, layer.conv) : b.matmul(kept.input, weight);
    return {b.add_row(product, b.shift_left(bias, f())), f()};
  }

  Signal forward_relu(ForwardLayer& kept, const Signal& x) {
    const ValueAndBit y =
        x.pending == 0 ? b.relu(x.value) : b.relu_truncate(x.value, x.pending, true);
    kept.bit = y.bit;
    return {y.value, 0};
  }

  // Scale and shift pending grow alike: the words are divided later.
  Signal averaged(const ModelLayer& layer, const Signal& x) {
    const Average average = average_of(layer.pool.taps(), fixed_.fraction_bits);
    if (average.bits == 0) return x;
    return {b.multiply_public(x.value, {average.word}, static_cast<int>(average.bits)),
            x.pending + average.bits};
  }

  Signal backward_linear(const ModelLayer& layer, const ForwardLayer& kept, const Signal& g,
                         bool first, std::vector<ValueId>& gradients) {
    const bool conv = layer.kind == LayerKind::kConv2d;
    const ValueId d = settled(g);
    const ValueId weight = conv ? b.conv2d_grad_weight(kept.input, d, layer.conv)
                                : b.matmul(kept.input, d, true, false);
    gradients.push_back(b.shift_left(b.sum_rows(d), f()));  // the bias
    gradients.push_back(weight);
    if (first) return {};  // the data need no gradient
    const ValueId input = conv ? b.conv2d_grad_input(d, kept.weight, layer.conv)
                               : b.matmul(d, kept.weight, false, true);
    const auto at = static_cast<std::size_t>(&layer - layers_.data());
    return {b.reshape(input, layers_[at - 1].output), f()};
  }

  // Truncated first, while it is small.
  Signal backward_max(const ModelLayer& layer, const ForwardLayer& kept, const Signal& g) {
    const auto pixels = static_cast<std::uint32_t>(layer.pool.pixels());
    const ValueId small = b.reshape(settled(g), {1, pixels});
    return {b.window_grad(max_rows_grad(b, kept.tree, small), layer.pool), 0};
  }

  std::vector<ModelLayer> layers_;
  FixedPoint fixed_;
  std::vector<ForwardLayer> forward_;
};

// The loss's gradient by the scores, at scale f; and the loss to its receivers.
ValueId loss_gradient(ProgramBuilder& b, const ModelConfig& model, const FixedPoint& fixed,
                      const TrainingProgramOptions& options, ValueId scores, ValueId onehot) {
  const int f = fixed.fraction_bits;
  b.set_layer("loss");
  ValueId loss = kNoValue;
  ValueId difference = kNoValue;
  if (model.loss != Loss::kSoftmax) {
    const bool normalise = model.loss == Loss::kNormalisedRelu;
    difference = b.subtract(normalise ? normalised_relu(b, scores, f) : scores, onehot);
    if (options.loss_receivers == 0 || difference == kNoValue) return difference;
    const auto count = static_cast<std::uint32_t>(b.value(difference).shape.count());
    loss = b.sum_rows(b.reshape(b.multiply(difference, difference), {count, 1}));
  } else if (options.exact_softmax) {
    difference = b.subtract(b.exact_softmax(scores), onehot);
    loss = b.exact_cross_entropy(scores, onehot, 2 * f);
  } else {
    const Softmax s = softmax(b, scores, f);
    difference = b.subtract(s.probabilities, onehot);
    if (options.loss_receivers != 0) loss = cross_entropy(b, s, onehot, f);
  }
  if (options.loss_receivers != 0) b.reveal(loss, options.loss_receivers);
  return difference;
}

Result<void> check_loss(const ModelConfig& model, const FixedPoint& fixed) {
  if (model.loss != Loss::kSoftmax) return {};
  if (fixed.fraction_bits < kSoftmaxMinFractionBits ||
      fixed.fraction_bits > kSoftmaxMaxFractionBits) {
    return make_error(ErrorCode::kConfig, "the softmax needs fraction_bits from 8 to 20, not " +
                                              std::to_string(fixed.fraction_bits));
  }
  if (model.classes() < 2 || model.classes() > kSoftmaxMaxClasses) {
    return make_error(ErrorCode::kConfig,
                      "the softmax takes 2 to 255 classes, not " + std::to_string(model.classes()));
  }
  return {};
}

// Weights and biases as their values at scale f, by linear layer.
struct UsedParameters {
  std::vector<ValueId> weights;
  std::vector<ValueId> biases;
  void add(const ModelParameter& parameter, ValueId value) {
    (parameter.bias ? biases : weights).push_back(value);
  }
};

// g + decay * W, then the velocity, then the update (README.md, "Optimiser").
class Optimiser {
 public:
  Optimiser(ProgramBuilder& b, const FixedPoint& fixed, const OptimiserConfig& config)
      : b_(b), fixed_(fixed), config_(config) {}

  // After the parameters' states, so that slots are those of the weight file.
  void add_velocities(const std::vector<ModelParameter>& parameters) {
    if (config_.momentum_shift == 0) return;
    for (const ModelParameter& parameter : parameters) {
      b_.set_layer(parameter.layer);
      velocities_.push_back(b_.state(parameter.shape, 2 * fixed_.fraction_bits));
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      b_.set_layer(parameters[i].layer);
      const auto j = config_.momentum_shift;
      const ValueId part = b_.truncate(velocities_[i], j, true);
      kept_.push_back(
          b_.subtract(velocities_[i], b_.multiply_public(part, {1}, static_cast<int>(j))));
    }
  }

  void update(std::size_t i, const ModelParameter& parameter, ValueId state, ValueId used,
              ValueId gradient) {
    b_.set_layer(parameter.layer + " update");
    if (config_.weight_decay_word != 0 && !parameter.bias) {
      gradient = b_.add(
          gradient, b_.multiply_public(used, {config_.weight_decay_word}, fixed_.fraction_bits));
    }
    if (config_.momentum_shift != 0) {
      gradient = b_.add(kept_[i], gradient);
      b_.assign(velocities_[i], gradient);
    }
    b_.update(state, gradient);
  }

 private:
  ProgramBuilder& b_;
  FixedPoint fixed_;
  OptimiserConfig config_;
  std::vector<ValueId> velocities_;
  std::vector<ValueId> kept_;  // V - round(V / 2^j)
};

}  // namespace

Result<std::vector<ModelParameter>> model_parameters(const ModelConfig& model,
                                                     const FixedPoint& fixed) {
  BP_TRY(check_loss(model, fixed));
  BP_ASSIGN(const std::vector<ModelLayer> layers, model_layers(model, 1));
  BP_TRY(check_averages(layers, fixed));
  std::vector<ModelParameter> parameters;
  for (const ModelLayer& layer : layers) {
    if (!layer.linear()) continue;
    const int scale = fixed.master_scale_bits();
    const bool output = &layer == &layers.back();
    parameters.push_back({layer.name, false, output, layer.weight_shape(), layer.fan_in(), scale});
    parameters.push_back({layer.name, true, output, Shape{layer.out}, layer.fan_in(), scale});
  }
  return parameters;
}

Result<TrainingProgram> build_training_program(const ModelConfig& model, const FixedPoint& fixed,
                                               const OptimiserConfig& optimiser,
                                               const TrainingProgramOptions& options) {
  std::uint32_t batch = 0;
  for (const BatchPart& part : options.parts) batch += part.rows;
  BP_ASSIGN(std::vector<ModelLayer> layers, model_layers(model, batch));
  BP_ASSIGN(const std::vector<ModelParameter> parameters, model_parameters(model, fixed));
  ModelBuilder builder(std::move(layers), fixed);
  ProgramBuilder& b = builder.b;

  b.set_layer("input");
  std::vector<ValueId> images;
  std::vector<ValueId> labels;
  for (const BatchPart& part : options.parts) {
    images.push_back(b.input(part.player, {part.rows, model.height, model.width, model.channels},
                             fixed.fraction_bits));
    labels.push_back(b.input(part.player, {part.rows, model.classes()}, fixed.fraction_bits));
  }
  const ValueId x = images.size() == 1 ? images[0] : b.concat_rows(images);
  const ValueId onehot = labels.size() == 1 ? labels[0] : b.concat_rows(labels);

  std::vector<ValueId> states;
  std::vector<ValueId> used;  // the same, truncated to scale f once per step
  UsedParameters layered;
  for (const ModelParameter& parameter : parameters) {
    b.set_layer(parameter.layer);
    states.push_back(b.state(parameter.shape, parameter.scale_bits));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    b.set_layer(parameters[i].layer);
    used.push_back(b.truncate(states[i], fixed.master_shift(), true));
    layered.add(parameters[i], used[i]);
  }
  Optimiser sgd(b, fixed, optimiser);
  sgd.add_velocities(parameters);
  const ValueId scores = builder.forward(x, layered.weights, layered.biases);
  const ValueId d = loss_gradient(b, model, fixed, options, scores, onehot);
  const std::vector<ValueId> gradients = builder.backward(d);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    sgd.update(i, parameters[i], states[i], used[i], gradients[i]);
  }
  BP_ASSIGN(Program program, b.finish());
  return TrainingProgram{std::move(program)};
}

Result<InferenceProgram> build_inference_program(const ModelConfig& model, const FixedPoint& fixed,
                                                 const InferenceProgramOptions& options) {
  BP_ASSIGN(std::vector<ModelLayer> layers, model_layers(model, options.batch));
  BP_ASSIGN(const std::vector<ModelParameter> parameters, model_parameters(model, fixed));
  ModelBuilder builder(std::move(layers), fixed);
  ProgramBuilder& b = builder.b;
  b.set_members(options.members);

  b.set_layer("input");
  const ValueId images =
      b.input(options.image_owner, {options.batch, model.height, model.width, model.channels},
              fixed.fraction_bits);
  UsedParameters used;
  for (const ModelParameter& parameter : parameters) {
    b.set_layer(parameter.layer);
    used.add(parameter,
             options.weight_owner.has_value()
                 ? b.input(*options.weight_owner, parameter.shape, fixed.fraction_bits, true)
                 : b.truncate(b.state(parameter.shape, parameter.scale_bits, true),
                              fixed.master_shift(), true));
  }
  const ValueId scores = builder.forward(images, used.weights, used.biases);
  b.set_layer("answer");
  ValueId answer = scores;
  if (options.answer == Answer::kClass) answer = argmax_rows(b, b.transpose(scores));
  if (options.answer == Answer::kProbabilities) {
    answer = softmax(b, scores, fixed.fraction_bits).probabilities;
  }
  b.reveal(answer, options.receivers);

  BP_ASSIGN(Program program, b.finish());
  return InferenceProgram{std::move(program)};
}

}  // namespace beaverpond
