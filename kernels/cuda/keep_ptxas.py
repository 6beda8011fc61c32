#!/usr/bin/env python3
"""Runs a compiler and keeps what ptxas reports of its kernels in OBJECT.ptxas, out of the log.

Usage: keep_ptxas.py COMPILER ARGUMENT...
"""

import re
import subprocess
import sys

REPORT = re.compile(r"ptxas info\s|\s+\d+ bytes stack frame,|\s+\d+ bytes gmem|\s*$")


def main():
    command = sys.argv[1:]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    lines = done.stderr.splitlines(keepends=True)
    report = [line for line in lines if REPORT.match(line)]
    sys.stderr.writelines(line for line in lines if not REPORT.match(line))
    if done.returncode == 0 and "-c" in command and "-o" in command:
        with open(command[command.index("-o") + 1] + ".ptxas", "w", encoding="utf-8") as kept:
            kept.writelines(report)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
