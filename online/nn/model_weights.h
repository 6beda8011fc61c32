// Trained weights in files of three formats, told apart by the end of the name: .npz,
// .safetensors, and Beaverpond's own (weight_file.h) under any other name.
#pragma once

#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "online/nn/weight_file.h"

namespace beaverpond {

struct LoadedWeights {
  std::vector<WeightTensor> tensors;  ///< by state slot, at scale 2f+K
  std::vector<std::string> notes;     ///< what was rounded, for the user to read
};

/// Reads the weights of the job's model. Numbers of .npz (f4, f8) and .safetensors (F32, F64) are
/// rounded to nearest at scale 2f+K; those that save_weights wrote come back bit for bit. Tensors
/// are named "<layer>.weight" and "<layer>.bias", in any order. Errors: kIo; kConfig for a tensor
/// that is missing, unknown, misshapen, NaN or too large, naming it.
Result<LoadedWeights> load_weights(const std::string& path, const Job& job);

/// Weights or shares of them belong to the job's model; `path` is for messages. Errors: kConfig.
Result<void> check_weights(const std::vector<WeightTensor>& weights, const Job& job,
                           const std::string& path);

/// What a path for weights gets before work begins: no format that holds no weights, and not the
/// job file. An empty path passes. Errors: kConfig.
Result<void> check_weights_path(const std::string& path, const std::string& job_path);

/// `weights` are those of the job's model. Where a word does not fit a double exactly, the weights
/// are written to `path`.weights in Beaverpond's format instead, and the error says so.
/// Errors: kIo, kNoSpace, kConfig.
Result<void> save_weights(const std::vector<WeightTensor>& weights, const Job& job,
                          const std::string& path);

}  // namespace beaverpond
