// The .safetensors format: a JSON header and the tensors' bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/named_tensor.h"

namespace beaverpond {

/// Tensors of F64 and F32, in the order of their bytes. `name` is the file's, for messages.
/// Errors: kConfig for a damaged file and for other types, naming the tensor.
Result<std::vector<NamedTensor>> decode_safetensors(std::string_view bytes,
                                                    const std::string& name);

/// All tensors as F64; equal tensors give equal bytes.
std::string encode_safetensors(const std::vector<NamedTensor>& tensors);

}  // namespace beaverpond
