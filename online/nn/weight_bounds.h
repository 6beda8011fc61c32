// Whether weights are sure to stay inside the fixed-point domain. A private inference cannot see
// that a value left it, and answers with garbage; who owns the weights can tell beforehand.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "beaverpond/result.h"
#include "online/nn/job.h"
#include "online/nn/weight_file.h"

namespace beaverpond {

/// Nothing if no image with features in [-1, 1] can take a value of the model out of its domain;
/// else a line that names the first layer where one might, and what to do. The bound is the worst
/// case of all signs, so a model that it warns of may still do well on real images. `weights` are
/// master weights that fit the model. Errors: kConfig.
Result<std::optional<std::string>> overflow_note(const Job& job,
                                                 const std::vector<WeightTensor>& weights);

}  // namespace beaverpond
