#!/usr/bin/env bash
#SBATCH --job-name=beaverpond
#SBATCH --ntasks-per-node=1
#SBATCH --no-kill
# sbatch --nodes=3 srun.sh JOB HOMES [flags of train]: one player a node under Slurm, its rank from
# SLURM_PROCID. HOMES has player0, player1 .., and each node reads its own, from a disk of its own.
# A roster of `keygen --all` names no addresses: the players are then on the nodes that Slurm lists,
# in that order. One that names addresses has to name the nodes in Slurm's order. On one node:
# --nodes=1 --ntasks-per-node=3.
# --no-kill, --kill-on-bad-exit=0: the others name a player that died, or whose node did, and end by
# themselves. --wait: a task whose node is gone does not keep the job for ever.
set -euo pipefail
job=$1 homes=$2
shift 2
transport=tls mpi=none
if grep -qs '^trusted_fabric = true' "$homes"/player*/roster.toml; then transport=mpi mpi=pmix; fi
exec srun --mpi="$mpi" --no-kill --kill-on-bad-exit=0 --wait=60 \
  beaverpond train "$job" --homes "$homes" --transport "$transport" --json "$@"
