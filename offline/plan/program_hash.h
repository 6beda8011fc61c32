// A name for a Program: what a plan leaves out (local operations, public words, who gives and who
// learns) is in it too, so that players who compare it run the same computation.
#pragma once

#include "beaverpond/program.h"
#include "offline/plan/hash.h"

namespace beaverpond {

/// SHA-256 over every field but the layers' names.
Hash256 program_hash(const Program& program);

}  // namespace beaverpond
