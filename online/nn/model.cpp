#include "online/nn/model.h"

#include "beaverpond/program_builder.h"

namespace beaverpond {
namespace {

// A conv2d or dense layer with what follows it.
struct Linear {
  std::string name;
  bool conv = false;
  bool relu = false;      // a relu follows
  Shape image;            // conv: shape of one image, [height, width, channels]
  Conv2dShape shape;      // conv, with the batch
  std::uint32_t in = 0;   // dense
  std::uint32_t out = 0;  // units or channels
};

// Walks the layers with the image's shape; the geometry of every later use comes from here.
Result<std::vector<Linear>> linear_layers(const ModelConfig& model, std::uint32_t batch) {
  std::vector<Linear> linears;
  Shape image{model.height, model.width, model.channels};
  std::uint32_t convs = 0;
  std::uint32_t denses = 0;
  for (const LayerConfig& layer : model.layers) {
    if (layer.kind == LayerKind::kRelu) {
      if (linears.empty() || linears.back().relu) {
        return make_error(ErrorCode::kConfig, "a relu must follow a conv2d or dense layer");
      }
      linears.back().relu = true;
      continue;
    }
    Linear linear;
    if (layer.kind == LayerKind::kConv2d) {
      linear.name = "conv" + std::to_string(++convs);
      if (image.rank != 3) {
        return make_error(ErrorCode::kConfig,
                          "layer '" + linear.name + "': a conv2d cannot follow a dense layer");
      }
      linear.conv = true;
      linear.out = layer.channels;
      linear.shape =
          Conv2dShape{batch,        image[0],     image[1],         image[2],       layer.channels,
                      layer.kernel, layer.stride, layer.pad_before, layer.pad_after};
      const std::uint32_t side = std::min(image[0], image[1]);
      if (layer.kernel == 0 || layer.stride == 0 ||
          side + layer.pad_before + layer.pad_after < layer.kernel) {
        return make_error(ErrorCode::kConfig,
                          "layer '" + linear.name + "': kernel " + std::to_string(layer.kernel) +
                              " does not fit into the padded image " + image.str());
      }
      image = Shape{linear.shape.out_height(), linear.shape.out_width(), layer.channels};
    } else {
      linear.name = "dense" + std::to_string(++denses);
      if (image.count() == 0 || image.count() > UINT32_MAX) {
        return make_error(ErrorCode::kConfig, "layer '" + linear.name + "': its input " +
                                                  image.str() + " is empty or too large");
      }
      linear.in = static_cast<std::uint32_t>(image.count());
      linear.out = layer.units;
      image = Shape{layer.units};
    }
    linears.push_back(std::move(linear));
  }
  if (linears.empty() || linears.back().conv || linears.back().relu) {
    return make_error(ErrorCode::kConfig, "the last layer must be dense");
  }
  return linears;
}

Shape weight_shape(const Linear& l) {
  return l.conv ? l.shape.weight_shape() : Shape{l.in, l.out};
}

// What a forward pass leaves behind for the backward pass.
struct ForwardLayer {
  ValueId input = kNoValue;   // as the layer used it
  ValueId weight = kNoValue;  // at scale f
  ValueId bit = kNoValue;     // of its relu
  Shape output;
};

class ModelBuilder {
 public:
  ModelBuilder(std::vector<Linear> linears, const FixedPoint& fixed, std::uint32_t batch)
      : linears_(std::move(linears)), fixed_(fixed), batch_(batch) {
    forward_.resize(linears_.size());
  }

  // x: images at scale f. weights, biases: at scale f, in layer order. Returns the predictions.
  ValueId forward(ValueId x, const std::vector<ValueId>& weights,
                  const std::vector<ValueId>& biases) {
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      const Linear& l = linears_[i];
      b.set_layer(l.name);
      if (!l.conv) x = b.reshape(x, {batch_, l.in});
      const ValueId product = l.conv ? b.conv2d(x, weights[i], l.shape) : b.matmul(x, weights[i]);
      const ValueId sum = b.add_row(product, b.shift_left(biases[i], f()));
      forward_[i] = {x, weights[i], kNoValue,
                     l.conv ? l.shape.result_shape() : Shape{batch_, l.out}};
      if (l.relu) {
        const ValueAndBit y = b.relu_truncate(sum, f(), true);
        forward_[i].bit = y.bit;
        x = y.value;
      } else {
        x = b.truncate(sum, f(), true);
      }
    }
    return x;
  }

  // d: gradient of the loss by the predictions, at scale f.
  void backward(ValueId d, const std::vector<ValueId>& weight_states,
                const std::vector<ValueId>& bias_states) {
    for (std::size_t i = linears_.size(); i-- > 0;) {
      const Linear& l = linears_[i];
      const ForwardLayer& layer = forward_[i];
      b.set_layer(l.name + " backward");
      const ValueId grad_weight = l.conv ? b.conv2d_grad_weight(layer.input, d, l.shape)
                                         : b.matmul(layer.input, d, true, false);
      const ValueId grad_bias = b.shift_left(b.sum_rows(d), f());
      // The data need no gradient, so the first layer stops here.
      if (i != 0) {
        const ValueId grad_input = l.conv ? b.conv2d_grad_input(d, layer.weight, l.shape)
                                          : b.matmul(d, layer.weight, false, true);
        d = through_activation(i - 1, grad_input);
      }
      b.update(weight_states[i], grad_weight);
      b.update(bias_states[i], grad_bias);
    }
  }

  ProgramBuilder b;

 private:
  std::uint32_t f() const { return static_cast<std::uint32_t>(fixed_.fraction_bits); }

  // From the gradient by what layer `i` gave on, at 2f, to the gradient by its product, at f.
  ValueId through_activation(std::size_t i, ValueId gradient) {
    const ForwardLayer& layer = forward_[i];
    if (linears_[i].conv != linears_[i + 1].conv) gradient = b.reshape(gradient, layer.output);
    if (layer.bit == kNoValue) return b.truncate(gradient, f(), true);
    return b.truncate_times_bit(gradient, layer.bit, f(), true);
  }

  std::vector<Linear> linears_;
  FixedPoint fixed_;
  std::uint32_t batch_;
  std::vector<ForwardLayer> forward_;
};

}  // namespace

Result<std::vector<ModelParameter>> model_parameters(const ModelConfig& model,
                                                     const FixedPoint& fixed) {
  BP_ASSIGN(const std::vector<Linear> linears, linear_layers(model, 1));
  std::vector<ModelParameter> parameters;
  for (const Linear& l : linears) {
    const std::uint64_t fan_in = l.conv ? l.shape.patch_columns() : l.in;
    const int scale = fixed.master_scale_bits();
    const bool output = &l == &linears.back();
    parameters.push_back({l.name, false, output, weight_shape(l), fan_in, scale});
    parameters.push_back({l.name, true, output, Shape{l.out}, fan_in, scale});
  }
  return parameters;
}

Result<TrainingProgram> build_training_program(const ModelConfig& model, const FixedPoint& fixed,
                                               const TrainingProgramOptions& options) {
  std::uint32_t batch = 0;
  for (const BatchPart& part : options.parts) batch += part.rows;
  BP_ASSIGN(std::vector<Linear> linears, linear_layers(model, batch));
  BP_ASSIGN(const std::vector<ModelParameter> parameters, model_parameters(model, fixed));
  ModelBuilder builder(std::move(linears), fixed, batch);
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

  std::vector<ValueId> states[2];  // [0] weights, [1] biases
  std::vector<ValueId> used[2];    // the same, truncated to scale f once per step
  for (const ModelParameter& parameter : parameters) {
    b.set_layer(parameter.layer);
    const int which = parameter.bias ? 1 : 0;
    states[which].push_back(b.state(parameter.shape, parameter.scale_bits));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    b.set_layer(parameters[i].layer);
    const std::size_t which = i % 2;
    used[which].push_back(b.truncate(states[which][i / 2], fixed.master_shift(), true));
  }
  const ValueId predictions = builder.forward(x, used[0], used[1]);
  b.set_layer("loss");
  const ValueId difference = b.subtract(predictions, onehot);
  if (options.loss_receivers != 0) {
    const ValueId squares = b.multiply(difference, difference);
    const auto count = static_cast<std::uint32_t>(batch * model.classes());
    b.reveal(b.sum_rows(b.reshape(squares, {count, 1})), options.loss_receivers);
  }
  builder.backward(difference, states[0], states[1]);

  BP_ASSIGN(Program program, b.finish());
  return TrainingProgram{std::move(program)};
}

Result<InferenceProgram> build_inference_program(const ModelConfig& model, const FixedPoint& fixed,
                                                 const InferenceProgramOptions& options) {
  BP_ASSIGN(std::vector<Linear> linears, linear_layers(model, options.batch));
  BP_ASSIGN(const std::vector<ModelParameter> parameters, model_parameters(model, fixed));
  ModelBuilder builder(std::move(linears), fixed, options.batch);
  ProgramBuilder& b = builder.b;

  b.set_layer("input");
  const ValueId images =
      b.input(options.image_owner, {options.batch, model.height, model.width, model.channels},
              fixed.fraction_bits);
  std::vector<ValueId> used[2];
  for (const ModelParameter& parameter : parameters) {
    b.set_layer(parameter.layer);
    used[parameter.bias ? 1 : 0].push_back(
        b.input(options.weight_owner, parameter.shape, fixed.fraction_bits));
  }
  const ValueId logits = builder.forward(images, used[0], used[1]);
  b.set_layer("prediction");
  b.reveal(logits, options.receivers);

  BP_ASSIGN(Program program, b.finish());
  return InferenceProgram{std::move(program)};
}

}  // namespace beaverpond
