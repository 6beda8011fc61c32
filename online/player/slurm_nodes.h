// Which host each task of a Slurm step runs on, from the words that Slurm gives them.
#pragma once

#include <string>
#include <vector>

#include "beaverpond/result.h"

namespace beaverpond {

/// The hosts of a list as SLURM_NODELIST has it: "node[1-3,7]" is node1, node2, node3, node7, in
/// this order; leading zeros stay ("n[08-10]" is n08, n09, n10), a name may have several brackets
/// ("rack[1-2]n[1-2]": the last runs fastest) and names are separated by commas. At most 4096
/// hosts. Errors: kConfig.
Result<std::vector<std::string>> expand_node_list(const std::string& list);

/// The host of each task, by rank: `tasks_per_node` is as SLURM_TASKS_PER_NODE has it ("2(x3),1":
/// two on each of the first three nodes, one on the fourth), with ranks in the order of the nodes,
/// which is Slurm's `block`. Errors: kConfig, for words that are wrong, other numbers of nodes in
/// the two, or more than 4096 tasks.
Result<std::vector<std::string>> hosts_of_tasks(const std::string& node_list,
                                                const std::string& tasks_per_node);

}  // namespace beaverpond
