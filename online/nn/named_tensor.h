// A tensor of numbers with a name, as files of other programs hold them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace beaverpond {

struct NamedTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<double> values;  ///< row-major; as many as the shape says
};

}  // namespace beaverpond
