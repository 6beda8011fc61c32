#include <algorithm>

#include "online/nn/config_section.h"
#include "online/nn/job_sections.h"

namespace beaverpond {
namespace {

constexpr std::uint32_t kMaxSize = 65536;  // units, channels, pixels of a side

class ModelReader {
 public:
  ModelReader(ConfigContext& context, ConfigSection& top, Job& job)
      : context_(context), top_(top), job_(job) {}

  void read() {
    ConfigSection s = required_section(context_, top_, "model", {"input", "loss"});
    ModelConfig& model = job_.model;
    const std::vector<std::uint64_t> input = s.integers("input", 1, kMaxSize);
    if (input.size() == 3) {
      model.height = u32(input[0]);
      model.width = u32(input[1]);
      model.channels = u32(input[2]);
    } else if (input.size() == 1) {  // plain features are the channels of one pixel
      model.height = model.width = 1;
      model.channels = u32(input[0]);
    } else {
      s.fail("input", "expected three sizes, or one",
             "write [height, width, channels] of images, or [features] of tables");
    }
    const std::string loss = s.text("loss", "squared_error");
    if (loss == "softmax_cross_entropy") {
      model.loss = Loss::kSoftmax;
    } else if (loss == "normalised_relu") {
      model.loss = Loss::kNormalisedRelu;
    } else if (loss != "squared_error") {
      s.fail("loss",
             "unknown loss '" + loss + "'" +
                 did_you_mean(loss, {"squared_error", "softmax_cross_entropy", "normalised_relu"}),
             "use \"squared_error\", \"softmax_cross_entropy\" or \"normalised_relu\"");
    }
    const std::vector<ConfigNode>& layers = top_.tables("layer");
    for (std::size_t i = 0; i < layers.size(); ++i) read_layer(layers[i], i);
    if (layers.empty()) {
      top_.fail("layer", "the model has no layers", "add [[layer]] tables, the last one dense");
    } else if (model.layers.back().kind != LayerKind::kDense) {
      context_.fail(layers.back().line, indexed("layer", layers.size() - 1),
                    "the last layer must be dense", "its units are the classes");
    }
  }

 private:
  void read_layer(const ConfigNode& node, std::size_t index) {
    const std::string path = indexed("layer", index);
    const auto kind = node.table.find("kind");
    const std::string name = kind == node.table.end() ? "" : kind->second.text;
    LayerConfig layer;
    if (name == "dense") {
      ConfigSection s(context_, &node, path, {"kind", "units"});
      layer.kind = LayerKind::kDense;
      layer.units = u32(s.integer("units", 1, kMaxSize));
    } else if (name == "conv2d") {
      ConfigSection s(context_, &node, path, {"kind", "channels", "kernel", "stride", "padding"});
      layer.kind = LayerKind::kConv2d;
      layer.channels = u32(s.integer("channels", 1, kMaxSize));
      layer.kernel = u32(s.integer("kernel", 1, 255));
      layer.stride = u32(s.integer("stride", 1, 255, 1));
      read_padding(s, layer);
    } else if (name == "relu") {
      ConfigSection s(context_, &node, path, {"kind"});
      layer.kind = LayerKind::kRelu;
      const std::vector<LayerConfig>& before = job_.model.layers;
      if (before.empty() || before.back().kind == LayerKind::kRelu) {
        context_.fail(node.line, path, "a relu must follow a conv2d or dense layer", "remove it");
      }
    } else if (name == "maxpool" || name == "avgpool") {
      ConfigSection s(context_, &node, path, {"kind", "kernel", "stride", "padding"});
      layer.kind = name == "maxpool" ? LayerKind::kMaxPool : LayerKind::kAvgPool;
      layer.kernel = u32(s.integer("kernel", 1, 255));
      layer.stride = u32(s.integer("stride", 1, 255, layer.kernel));
      read_padding(s, layer);
    } else {
      ConfigSection s(context_, &node, path,
                      {"kind", "units", "channels", "kernel", "stride", "padding"});
      s.text("kind");
      s.fail("kind",
             "unknown layer '" + name + "'" +
                 did_you_mean(name, {"conv2d", "dense", "relu", "maxpool", "avgpool"}),
             "use \"conv2d\", \"dense\", \"relu\", \"maxpool\" or \"avgpool\"");
    }
    job_.model.layers.push_back(layer);
  }

  // One number for all sides, or [above and left, below and right].
  static void read_padding(ConfigSection& s, LayerConfig& layer) {
    const ConfigNode* node = s.find("padding");
    if (node != nullptr && node->kind == ConfigNode::Kind::kArray) {
      const std::vector<std::uint64_t> sides = s.integers("padding", 0, 254);
      if (sides.size() != 2) {
        s.fail("padding", "expected two sizes", "write one number or [before, after]");
        return;
      }
      layer.pad_before = u32(sides[0]);
      layer.pad_after = u32(sides[1]);
    } else {
      layer.pad_before = layer.pad_after = u32(s.integer("padding", 0, 254, 0));
    }
    if (layer.pad_before >= layer.kernel || layer.pad_after >= layer.kernel) {
      s.fail("padding", "not smaller than the kernel",
             "use at most " + std::to_string(layer.kernel - 1));
    }
  }

  ConfigContext& context_;
  ConfigSection& top_;
  Job& job_;
};

}  // namespace

void read_model(ConfigContext& context, ConfigSection& top, Job& job) {
  ModelReader(context, top, job).read();
}

}  // namespace beaverpond
