#include "offline/factory/status.h"

#include <utility>

namespace beaverpond {

void StatusBoard::post(FactoryStatus status) {
  const std::lock_guard lock(mutex_);
  status_ = std::move(status);
  beat_ = std::chrono::steady_clock::now();
}

void StatusBoard::beat() {
  const std::lock_guard lock(mutex_);
  beat_ = std::chrono::steady_clock::now();
}

FactoryStatus StatusBoard::read() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

double StatusBoard::seconds_since_beat() const {
  const std::lock_guard lock(mutex_);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - beat_).count();
}

std::string why_not_ready(const FactoryStatus& status) {
  if (status.state == "paused") return "paused: " + status.reason;
  if (status.state != "serving") return status.state;
  for (const ClassStatus& of_class : status.classes) {
    if (of_class.level_bundles == 0) return "class " + of_class.name + " has no bundle left";
  }
  return "";
}

}  // namespace beaverpond
