#include "kernels/device_name.h"

namespace beaverpond {

std::optional<int> gpu_of(const std::string& device) {
  if (device == "cuda") return 0;
  if (!device.starts_with("cuda:")) return std::nullopt;
  const std::string digits = device.substr(5);
  const bool number = !digits.empty() && digits.size() <= 3 &&
                      digits.find_first_not_of("0123456789") == std::string::npos;
  if (!number) return std::nullopt;
  return std::stoi(digits);
}

Result<void> check_device(const std::string& device) {
  if (device == "auto" || device == "cpu" || gpu_of(device).has_value()) return {};
  return make_error(ErrorCode::kConfig, "'" + device +
                                            "' is not a device; write auto, cpu, cuda or, for "
                                            "the GPU with number 1, cuda:1");
}

}  // namespace beaverpond
