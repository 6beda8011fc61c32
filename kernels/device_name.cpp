#include "kernels/device_name.h"

#include <algorithm>
#include <set>

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

Result<std::vector<std::string>> split_devices(const std::string& devices) {
  std::vector<std::string> names;
  if (devices == "cuda:all") return std::vector<std::string>{devices};
  for (std::size_t begin = 0; begin <= devices.size();) {
    const std::size_t end = std::min(devices.find(',', begin), devices.size());
    names.push_back(devices.substr(begin, end - begin));
    BP_TRY(check_device(names.back()));
    begin = end + 1;
  }
  std::set<int> gpus;
  for (const std::string& name : names) {
    const std::optional<int> gpu = gpu_of(name);
    if (names.size() > 1 && !gpu) {
      return make_error(ErrorCode::kConfig,
                        "'" + devices + "': only GPUs share the work; '" + name + "' stands alone");
    }
    if (gpu && !gpus.insert(*gpu).second) {
      return make_error(ErrorCode::kConfig, "'" + devices + "' names a GPU twice");
    }
  }
  return names;
}

}  // namespace beaverpond
