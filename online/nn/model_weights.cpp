#include "online/nn/model_weights.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "offline/plan/file.h"
#include "online/nn/config_section.h"
#include "online/nn/fixed_word.h"
#include "online/nn/model.h"
#include "online/nn/named_tensor.h"
#include "online/nn/npy.h"
#include "online/nn/safetensors.h"
#include "online/nn/zip_file.h"

namespace beaverpond {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 33;
// The domain of the protocol; as in the twin, master words stay below it.
constexpr int kWordBits = 62;

std::string name_of(const ModelParameter& parameter) {
  return parameter.layer + (parameter.bias ? ".bias" : ".weight");
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ",";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::vector<std::uint64_t> dims_of(const Shape& shape) {
  return {shape.dims.begin(), shape.dims.begin() + shape.rank};
}

// "conv1.weight [5,5,1,20], .."
std::string listed(const std::vector<ModelParameter>& parameters) {
  std::string text;
  for (const ModelParameter& parameter : parameters) {
    if (text.size() > 400) return text + ", ..";
    if (!text.empty()) text += ", ";
    text += name_of(parameter) + " " + parameter.shape.str();
  }
  return text;
}

Result<std::vector<NamedTensor>> decode_npz(const std::string& archive, const std::string& path) {
  std::vector<NamedTensor> tensors;
  BP_ASSIGN(const std::vector<std::string> names, zip_names(archive, path));
  for (const std::string& member : names) {
    BP_ASSIGN(const std::string bytes, read_zip_member(archive, member, path));
    const std::string name =
        member.ends_with(".npy") ? member.substr(0, member.size() - 4) : member;
    BP_ASSIGN(const NpyArray array, parse_npy(bytes, path + ":" + name));
    if (array.kind != 'f') {
      return make_error(ErrorCode::kConfig, path + ": tensor '" + name + "' is an array " +
                                                array.str() + "; convert it to f4 or f8");
    }
    NamedTensor& tensor = tensors.emplace_back(NamedTensor{name, array.shape, {}});
    tensor.values.reserve(array.count());
    for (std::uint64_t i = 0; i < array.count(); ++i) tensor.values.push_back(array.real(i));
  }
  return tensors;
}

Result<WeightTensor> to_words(const NamedTensor& tensor, const ModelParameter& parameter,
                              const std::string& path, std::uint64_t& rounded) {
  const std::string what = path + ": tensor '" + tensor.name + "'";
  if (tensor.shape != dims_of(parameter.shape)) {
    return make_error(ErrorCode::kConfig, what + " has the shape " + shape_text(tensor.shape) +
                                              ", the model's is " + parameter.shape.str() +
                                              "; online/nn/README.md says how axes are ordered");
  }
  WeightTensor out{parameter.shape, parameter.scale_bits, {}};
  out.words.reserve(tensor.values.size());
  for (std::size_t i = 0; i < tensor.values.size(); ++i) {
    const double value = tensor.values[i];
    const auto word = fixed_word(value, parameter.scale_bits, kWordBits);
    if (!word.has_value()) {
      const std::string element = ", element " + std::to_string(i) + ": ";
      return make_error(ErrorCode::kConfig,
                        what + element +
                            (std::isfinite(value)
                                 ? number_text(value) + " is too large: weights are below 2^" +
                                       std::to_string(kWordBits - parameter.scale_bits) +
                                       " in size at scale " + std::to_string(parameter.scale_bits)
                                 : std::string("NaN or infinite; train it again")));
    }
    if (exact_real(*word, parameter.scale_bits) != value) ++rounded;
    out.words.push_back(*word);
  }
  return out;
}

Result<LoadedWeights> by_name(const std::vector<NamedTensor>& tensors,
                              const std::vector<ModelParameter>& parameters,
                              const std::string& path) {
  std::map<std::string, const NamedTensor*> found;
  std::set<std::string> known;
  for (const ModelParameter& parameter : parameters) known.insert(name_of(parameter));
  for (const NamedTensor& tensor : tensors) {
    const std::string what = path + ": tensor '" + tensor.name.substr(0, 100) + "' ";
    if (!known.contains(tensor.name)) {
      return make_error(ErrorCode::kConfig, what + "is none of the model's, which are " +
                                                listed(parameters) + "; rename or remove it");
    }
    if (!found.emplace(tensor.name, &tensor).second) {
      return make_error(ErrorCode::kConfig, what + "is there twice");
    }
  }
  LoadedWeights weights;
  std::uint64_t rounded = 0;
  for (const ModelParameter& parameter : parameters) {
    const auto at = found.find(name_of(parameter));
    if (at == found.end()) {
      return make_error(ErrorCode::kConfig, path + ": no tensor '" + name_of(parameter) +
                                                "' of shape " + parameter.shape.str() +
                                                "; the model's tensors are " + listed(parameters));
    }
    BP_ASSIGN(WeightTensor words, to_words(*at->second, parameter, path, rounded));
    weights.tensors.push_back(std::move(words));
  }
  if (rounded != 0) {
    weights.notes.push_back(path + ": " + std::to_string(rounded) +
                            " weights were rounded to multiples of 2^-" +
                            std::to_string(parameters[0].scale_bits));
  }
  return weights;
}

Result<void> check_fit(const std::vector<WeightTensor>& weights,
                       const std::vector<ModelParameter>& parameters, const std::string& path) {
  if (weights.size() != parameters.size()) {
    return make_error(ErrorCode::kConfig,
                      path + ": " + std::to_string(weights.size()) + " tensors, the model has " +
                          std::to_string(parameters.size()) + ": " + listed(parameters) +
                          "; use the job that trained them");
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i].shape == parameters[i].shape &&
        weights[i].scale_bits == parameters[i].scale_bits) {
      continue;
    }
    return make_error(ErrorCode::kConfig,
                      path + ": tensor " + std::to_string(i) + " is " + weights[i].shape.str() +
                          " at scale " + std::to_string(weights[i].scale_bits) + ", the model's " +
                          name_of(parameters[i]) + " is " + parameters[i].shape.str() +
                          " at scale " + std::to_string(parameters[i].scale_bits) +
                          "; use the job that trained them");
  }
  return {};
}

}  // namespace

Result<void> check_weights(const std::vector<WeightTensor>& weights, const Job& job,
                           const std::string& path) {
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  return check_fit(weights, parameters, path);
}

Result<void> check_weights_path(const std::string& path, const std::string& job_path) {
  for (const char* format : {".npy", ".idx", ".csv"}) {
    if (!path.ends_with(format)) continue;
    return make_error(ErrorCode::kConfig, path + ": weights are not written as " + format +
                                              "; name an .npz or .safetensors file, or any other "
                                              "ending for Beaverpond's own format");
  }
  std::error_code missing;
  if (!path.empty() && std::filesystem::equivalent(path, job_path, missing)) {
    return make_error(ErrorCode::kConfig,
                      path + ": the weights would replace the job file; name another file");
  }
  return {};
}

Result<LoadedWeights> load_weights(const std::string& path, const Job& job) {
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  const bool npz = path.ends_with(".npz");
  if (npz || path.ends_with(".safetensors")) {
    BP_ASSIGN(const std::string bytes, read_small_file(path, kMaxBytes));
    BP_ASSIGN(const std::vector<NamedTensor> tensors,
              npz ? decode_npz(bytes, path) : decode_safetensors(bytes, path));
    return by_name(tensors, parameters, path);
  }
  LoadedWeights weights;
  BP_ASSIGN(weights.tensors, read_weights(path));
  BP_TRY(check_fit(weights.tensors, parameters, path));
  return weights;
}

Result<void> save_weights(const std::vector<WeightTensor>& weights, const Job& job,
                          const std::string& path) {
  const bool npz = path.ends_with(".npz");
  if (!npz && !path.ends_with(".safetensors")) return write_weights(weights, path);
  BP_ASSIGN(const std::vector<ModelParameter> parameters,
            model_parameters(job.model, job.fixed_point));
  BP_TRY(check_fit(weights, parameters, path));
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const WeightTensor& tensor = weights[i];
    NamedTensor& named =
        tensors.emplace_back(NamedTensor{name_of(parameters[i]), dims_of(tensor.shape), {}});
    named.values.reserve(tensor.words.size());
    for (const std::uint64_t word : tensor.words) {
      const std::optional<double> value = exact_real(word, tensor.scale_bits);
      if (!value.has_value()) {
        const std::string exact = path + ".weights";
        BP_TRY(write_weights(weights, exact));
        return make_error(ErrorCode::kConfig,
                          path + ": not written: element " + std::to_string(named.values.size()) +
                              " of " + named.name +
                              " needs more than a double's 53 bits; the weights are in " + exact +
                              ". A smaller fixed_point.master_extra_bits leaves more room");
      }
      named.values.push_back(*value);
    }
  }
  // 0600: weights are the players' secret unless the job says otherwise.
  if (!npz) return replace_file(path, encode_safetensors(tensors), 0600);
  std::vector<ZipMember> members;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    members.push_back({tensors[i].name + ".npy", encode_npy(weights[i].shape, tensors[i].values)});
  }
  BP_ASSIGN(const std::string archive, encode_zip(members));
  return replace_file(path, archive, 0600);
}

}  // namespace beaverpond
