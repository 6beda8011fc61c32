// The status as Prometheus reads it.
#pragma once

#include <string>

#include "offline/factory/status.h"

namespace beaverpond {

/// Text exposition format 0.0.4; README.md lists the metrics.
std::string metrics_text(const FactoryStatus& status);

}  // namespace beaverpond
