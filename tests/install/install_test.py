#!/usr/bin/env python3
"""Installs, then configures, builds and runs a program that knows the installed files only.

Usage: install_test.py SOURCE_FOLDER BUILD_FOLDER CXX_COMPILER
"""

import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE, BUILD, COMPILER = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def main():
    with tempfile.TemporaryDirectory(dir=BUILD) as folder:
        prefix, build = Path(folder) / "prefix", Path(folder) / "consumer"
        # What a host of players gets, and an image (online/examples/hosts/Containerfile).
        alone = Path(folder) / "alone"
        run("cmake", "--install", BUILD, "--prefix", alone, "--component", "programs")
        assert "Usage" in run(alone / "bin/beaverpond", "--help")
        assert {p.name for p in alone.iterdir()} <= {"bin", "lib", "share"}, list(alone.iterdir())
        assert not [*alone.rglob("*.a"), *alone.rglob("*.h"), *alone.rglob("*.cmake")]
        run("cmake", "--install", BUILD, "--prefix", prefix)
        for program in ("beaverpond", "triple-factory"):
            assert "Usage" in run(prefix / "bin" / program, "--help")
        # Nothing of the source tree may be needed, or named by what is installed.
        for text in [*prefix.rglob("*.cmake"), *prefix.rglob("*.h")]:
            assert str(SOURCE) not in text.read_text(), text
        run("cmake", "-S", SOURCE / "tests/install/consumer", "-B", build, "-G", "Ninja",
            f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={COMPILER}",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        run("cmake", "--build", build)
        plan = Path(folder) / "product.plan"
        printed = run(build / "consumer", plan)
        assert printed == "42, io\n", printed
        assert plan.read_bytes().startswith(b"BPPLAN")


main()
