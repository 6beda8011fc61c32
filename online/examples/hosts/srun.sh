#!/usr/bin/env bash
#SBATCH --job-name=beaverpond
#SBATCH --ntasks-per-node=1
# sbatch --nodes=3 srun.sh JOB HOMES [flags of train]: one player a node under Slurm, its rank from
# SLURM_PROCID. HOMES has player0, player1 .., and each node reads its own; the roster names the
# nodes, in the order of the list that Slurm gives them. On one node, with a roster of `keygen
# --all`: --nodes=1 --ntasks-per-node=3.
# --kill-on-bad-exit=0: the others name a player that died, and end by themselves.
set -euo pipefail
job=$1 homes=$2
shift 2
transport=tls mpi=none
if grep -qs '^trusted_fabric = true' "$homes"/player*/roster.toml; then transport=mpi mpi=pmix; fi
exec srun --mpi="$mpi" --kill-on-bad-exit=0 --wait=0 \
  beaverpond train "$job" --homes "$homes" --transport "$transport" --json "$@"
