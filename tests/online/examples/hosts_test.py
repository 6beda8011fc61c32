#!/usr/bin/env python3
"""Follows the README's lines for players on hosts of their own, in network namespaces; before
that, the scripts for launchers and the unit for players.

Usage: hosts_test.py REPOSITORY PROGRAMS.. : the folders of beaverpond and triple-factory. A bridge
joins four namespaces, the hosts 10.0.0.1 to 10.0.0.4; ssh and scp are stand-ins that run a command
in the namespace and the folder of a host. Exit code 77: the kernel does not allow it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
SSH = """#!/bin/bash
host=$1; shift
cd "$BP_HOSTS/$host" && exec ip netns exec "$BP_PREFIX-$host" bash -c "$*" < /dev/null
"""
SCP = """#!/bin/bash
for last; do :; done
host=${last%%:*} target=${last#*:}
exec cp "${@:1:$#-1}" "$BP_HOSTS/$host/$target"
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """Hosts that reach each other over one bridge, in a namespace of its own too."""

    def __init__(self, hosts):
        self.prefix = f"bp{os.getpid()}"
        self.hosts = hosts
        self.made = []

    def __enter__(self):
        try:
            middle = self.add("middle")
            ip("-n", middle, "link", "add", "bridge", "type", "bridge")
            ip("-n", middle, "link", "set", "bridge", "up")
            for number, host in enumerate(self.hosts):
                name = self.add(host)
                ip("-n", middle, "link", "add", f"port{number}", "type", "veth", "peer", "name",
                   "eth0", "netns", name)
                ip("-n", middle, "link", "set", f"port{number}", "master", "bridge", "up")
                ip("-n", name, "address", "add", f"{host}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            print(f"skipped: no network namespaces here: {getattr(error, 'stderr', error)}")
            sys.exit(SKIPPED)
        return self

    def add(self, host):
        name = f"{self.prefix}-{host}"
        ip("netns", "add", name)
        self.made.append(name)
        return name

    def __exit__(self, *_):
        for name in self.made:
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
            for pid in found.stdout.split():
                subprocess.run(["kill", "-KILL", pid], check=False)
            subprocess.run(["ip", "netns", "delete", name], check=False)


def follow(repository, programs, lines, root):
    hosts = re.search(r'hosts="([^"]+)" factory=(\S+)', lines)
    assert hosts, "the first line names the hosts"
    players, factory = hosts.group(1).split(), hosts.group(2)
    with Network([*players, factory]) as network:
        for host in [*players, factory]:
            (root / "hosts" / host).mkdir(parents=True)
        (root / "bin").mkdir()
        for name, text in (("ssh", SSH), ("scp", SCP)):
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)
        (root / "online").symlink_to(repository / "online")
        environment = {**os.environ, "BP_HOSTS": str(root / "hosts"), "BP_PREFIX": network.prefix,
                       "LC_ALL": "C",
                       "PATH": ":".join([str(root / "bin"), *programs, os.environ["PATH"]])}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], cwd=root, timeout=240,
                              env=environment, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        assert done.returncode == 0, f"the lines end with {done.returncode}"
        assert "FAIL" not in done.stdout, "the doctor found something"
        assert done.stdout.count("is connected over TLS 1.3") == 6, "not every pair"
        # Nobody's secret is where another could read it.
        for secret in ("key.pem", "pool.key"):
            kept = {path.read_bytes() for path in (root / "hosts").rglob(secret)}
            assert len(kept) == len(list((root / "hosts").rglob(secret))), f"{secret} was copied"
        subprocess.run(["beaverpond", "emulate", "online/examples/tiny.toml", "--weights-out",
                        "twin"], cwd=root, env=environment, check=True, capture_output=True)
        weights = (root / "hosts" / players[0] / "weights").read_bytes()
        assert weights == (root / "twin").read_bytes(), "other weights than the twin's"


SRUN = """#!/bin/bash
# Stands in for Slurm on one node: what follows the options, once for each player.
while [[ $1 == --* ]]; do shift; done
for rank in 0 1 2; do SLURM_PROCID=$rank SLURM_NTASKS=3 "$@" & pids+=($!); done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit $code
"""


def run_scripts(repository, programs, root):
    """The scripts for launchers start all players of one host, who train as the twin does."""
    (root / "bin").mkdir()
    (root / "bin" / "srun").write_text(SRUN)
    (root / "bin" / "srun").chmod(0o755)
    (root / "online").symlink_to(repository / "online")
    environment = {**os.environ, "PATH": ":".join([str(root / "bin"), *programs,
                                                   os.environ["PATH"]]),
                   "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "ASAN_OPTIONS": "detect_leaks=0", "MASTER_ADDR": "127.0.0.1",
                   "MPIRUN": "mpirun --oversubscribe --mca btl self,vader --mca "
                             f"btl_vader_backing_directory {root}"}

    def run(*command):
        done = subprocess.run(command, cwd=root, env=environment, timeout=120,
                              capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    job = "online/examples/tiny.toml"
    pools = [f"--pool=homes/player{i}/pool" for i in range(3)]
    run("beaverpond", "keygen", "--all", "3", "--base", "homes")
    run("beaverpond", "plan", job, "-o", "plan")
    run("triple-factory", "make", "--plan", "plan", "--roster", "homes/player0/roster.toml",
        *pools, "--bundles", "64")
    run("beaverpond", "emulate", job, "--weights-out", "twin")
    for number, script in enumerate(["srun.sh", "mpirun.sh"]):
        if script == "mpirun.sh":
            module = Path(programs[0]) / "libbeaverpond_mpi.so"
            if not (shutil.which("mpirun") and module.exists()):
                continue
            for path in root.glob("homes/*/roster.toml"):
                path.write_text(path.read_text().replace("trusted_fabric = false",
                                                         "trusted_fabric = true"))
        # Ports that nobody is given by chance.
        environment["MASTER_PORT"] = str(20000 + 6 * (os.getpid() % 1500) + 3 * number)
        said = run(str(repository / "online/examples/hosts" / script), job, "homes",
                   "--weights-out", script)
        assert (root / script).read_bytes() == (root / "twin").read_bytes(), script
        source = "SLURM_PROCID" if script == "srun.sh" else "OMPI_COMM_WORLD_RANK"
        assert said.count(f"by {source} and") == 3, said


def check_unit(repository, programs, root):
    """The unit for players passes systemd's checks and shuts off all that the factory's does."""
    name = "beaverpond-player@.service"
    text = (repository / "online/cli/deploy" / name).read_text()
    factory = (repository / "offline/factory/deploy/triple-factory.service").read_text()
    own = {"Nice=10", "TimeoutStopSec=300", "RestartSec=5", "RestartPreventExitStatus=2 7"}
    for line in factory.split("[Service]")[1].split("[Install]")[0].splitlines():
        if re.match(r"\w+=", line) and not line.startswith("Exec") and line not in own:
            assert line in text.splitlines(), f"the unit lacks {line}"
    program = next(Path(p) / "beaverpond" for p in programs if (Path(p) / "beaverpond").exists())
    command = re.search(r"^ExecStart=/usr/bin/beaverpond (\w+) (.*)$", text, re.MULTILINE)
    known = subprocess.run([program, command.group(1), "--help"], capture_output=True, text=True)
    for flag in re.findall(r"--\w+", command.group(2)):
        assert flag in known.stdout, f"no flag {flag}"
    if shutil.which("systemd-analyze"):
        (root / name).write_text(text.replace("/usr/bin/beaverpond", str(program)))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(root / name)],
                              capture_output=True, text=True)
        assert done.returncode == 0 and name not in done.stderr, done.stderr


def main(repository, *programs):
    repository = Path(repository).resolve()
    with tempfile.TemporaryDirectory() as folder:
        check_unit(repository, programs, Path(folder))
        run_scripts(repository, programs, Path(folder))
    text = (repository / "README.md").read_text()
    blocks = re.findall(r"^```sh hosts\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "the README has lost its lines for hosts"
    assert len(blocks[0].splitlines()) <= 10, "more than ten lines"
    with tempfile.TemporaryDirectory() as folder:
        follow(repository, programs, blocks[0], Path(folder))


main(*sys.argv[1:])
