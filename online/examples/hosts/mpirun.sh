#!/usr/bin/env bash
# mpirun.sh JOB HOMES [flags of train]: all players of a job under Open MPI. HOMES (keygen --all, or
# one home a node) has player0, player1 ..; every node sees its own. On several nodes set
# MPIRUN="mpirun --host a,b,c"; the roster then names their addresses.
# Openings travel by MPI where the roster says trusted_fabric = true, else over TLS.
set -euo pipefail
job=$1 homes=$2
shift 2
roster=$(ls "$homes"/player*/roster.toml | head -n 1)
players=$(grep -c '^\[\[player\]\]' "$roster")
transport=tls
if grep -q '^trusted_fabric = true' "$roster"; then transport=mpi; fi
# Recovery: a player that dies is named by the others, which then end by themselves. mpirun's own
# exit code says nothing then; the last lines of the players do.
exec ${MPIRUN:-mpirun} --enable-recovery -n "$players" \
  beaverpond train "$job" --homes "$homes" --transport "$transport" --json "$@"
