#include "online/nn/model_layers.h"

#include <algorithm>
#include <map>
#include <utility>

namespace beaverpond {
namespace {

const char* base_name(LayerKind kind) {
  switch (kind) {
    case LayerKind::kConv2d: return "conv";
    case LayerKind::kDense: return "dense";
    case LayerKind::kRelu: return "relu";
    case LayerKind::kMaxPool: return "maxpool";
    case LayerKind::kAvgPool: return "avgpool";
  }
  return "layer";
}

class Walk {
 public:
  Walk(const ModelConfig& model, std::uint32_t batch)
      : batch_(batch), shape_{batch, model.height, model.width, model.channels} {}

  Result<ModelLayer> next(const LayerConfig& config) {
    ModelLayer layer;
    layer.kind = config.kind;
    layer.name = base_name(config.kind) + std::to_string(++numbers_[config.kind]);
    layer.input = shape_;
    switch (config.kind) {
      case LayerKind::kRelu:
        if (!relu_makes_sense_) {
          return error(layer, "a relu must follow a conv2d or dense layer, once");
        }
        break;
      case LayerKind::kDense: BP_TRY(dense(config, layer)); break;
      case LayerKind::kConv2d: BP_TRY(conv(config, layer)); break;
      case LayerKind::kMaxPool:
      case LayerKind::kAvgPool: BP_TRY(pool(config, layer)); break;
    }
    if (layer.linear() || layer.kind == LayerKind::kRelu) relu_makes_sense_ = layer.linear();
    layer.output = shape_;
    return layer;
  }

 private:
  static Error error(const ModelLayer& layer, const std::string& what) {
    return make_error(ErrorCode::kConfig, "layer '" + layer.name + "': " + what);
  }

  Result<void> dense(const LayerConfig& config, ModelLayer& layer) {
    std::uint64_t in = 1;  // of one sample; Shape::count() would wrap with the batch
    for (std::uint32_t i = 1; i < shape_.rank; ++i) in *= shape_[i];
    if (in == 0 || in > UINT32_MAX) {
      return error(layer, "its input " + shape_.str() + " is empty or too large");
    }
    layer.in = static_cast<std::uint32_t>(in);
    layer.out = config.units;
    layer.input = Shape{batch_, layer.in};
    shape_ = Shape{batch_, config.units};
    return {};
  }

  Result<void> check_window(const LayerConfig& config, const ModelLayer& layer) const {
    if (shape_.rank != 4) return error(layer, "it takes images, but a dense layer gives rows");
    const std::uint32_t side = std::min(shape_[1], shape_[2]);
    if (config.kernel == 0 || config.stride == 0 ||
        side + config.pad_before + config.pad_after < config.kernel) {
      return error(layer, "kernel " + std::to_string(config.kernel) +
                              " does not fit into the padded image " +
                              Shape{shape_[1], shape_[2], shape_[3]}.str());
    }
    return {};
  }

  Result<void> conv(const LayerConfig& config, ModelLayer& layer) {
    BP_TRY(check_window(config, layer));
    layer.out = config.channels;
    layer.conv = {batch_,        shape_[1],     shape_[2],         shape_[3],       config.channels,
                  config.kernel, config.stride, config.pad_before, config.pad_after};
    shape_ = layer.conv.result_shape();
    return {};
  }

  Result<void> pool(const LayerConfig& config, ModelLayer& layer) {
    BP_TRY(check_window(config, layer));
    layer.pool = {batch_,           shape_[1],
                  shape_[2],        shape_[3],
                  config.kernel,    config.kernel,
                  config.stride,    config.pad_before,
                  config.pad_after, config.kind == LayerKind::kMaxPool};
    shape_ = layer.pool.result_shape();
    return {};
  }

  std::uint32_t batch_;
  Shape shape_;
  std::map<LayerKind, int> numbers_;
  bool relu_makes_sense_ = false;
};

// relu(max(..)) = max(relu(..)): both are monotone, and so is truncation.
void take_maximum_first(std::vector<ModelLayer>& layers) {
  for (std::size_t i = 1; i < layers.size(); ++i) {
    if (layers[i].kind != LayerKind::kMaxPool) continue;
    for (std::size_t j = i; j > 0 && layers[j - 1].kind == LayerKind::kRelu; --j) {
      std::swap(layers[j - 1], layers[j]);
      layers[j].input = layers[j].output = layers[j - 1].output;
    }
  }
}

}  // namespace

Result<std::vector<ModelLayer>> model_layers(const ModelConfig& model, std::uint32_t batch) {
  if (batch == 0) return make_error(ErrorCode::kConfig, "the batch has no rows");
  std::vector<ModelLayer> layers;
  Walk walk(model, batch);
  for (const LayerConfig& config : model.layers) {
    BP_ASSIGN(ModelLayer layer, walk.next(config));
    layers.push_back(std::move(layer));
  }
  if (layers.empty() || layers.back().kind != LayerKind::kDense) {
    return make_error(ErrorCode::kConfig, "the last layer must be dense");
  }
  take_maximum_first(layers);
  return layers;
}

}  // namespace beaverpond
