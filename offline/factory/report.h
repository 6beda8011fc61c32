// What the factory prints: a line per event, for people or as JSON.
#pragma once

#include <string>

#include "offline/factory/factory.h"
#include "offline/factory/pull.h"
#include "offline/factory/status.h"

namespace beaverpond {

/// One line without its end. As JSON (README.md lists the keys) or as plain text.
std::string event_line(const FactoryEvent& event, bool json);
std::string pull_line(const PullEvent& event, bool json);
std::string totals_line(const FactoryTotals& totals, bool json);

/// The document that /status.json serves and `triple-factory status --json` prints.
std::string status_json(const FactoryStatus& status);
/// The same for a terminal, from such a document. Errors: kConfig, where it is none.
Result<std::string> status_text(const std::string& document);

}  // namespace beaverpond
