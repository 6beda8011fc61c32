#!/usr/bin/env python3
"""Prints what each kernel uses, as ptxas reported it; fails if one spills or has a stack.

Usage: cuda_spills.py REPORT...   (written by kernels/cuda/keep_ptxas.py)
"""

import re
import subprocess
import sys

ENTRY = re.compile(r"ptxas info\s+: Compiling entry function '(\S+)' for '(\S+)'")
STACK = re.compile(r"\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"ptxas info\s+: Used (\d+) registers(?:.*?(\d+) bytes smem)?")


def read(text):
    """Rows of (kernel, sm, registers, stack, spill stores, spill loads, static shared)."""
    rows, kernel, stack = [], None, None
    for line in text.splitlines():
        if found := ENTRY.match(line):
            kernel, stack = found.groups(), None
        elif found := STACK.match(line):
            stack = tuple(map(int, found.groups()))
        elif found := USED.match(line):
            if kernel is None or stack is None:
                raise ValueError(f"unexpected line: {line}")
            rows.append((*kernel, int(found[1]), *stack, int(found[2] or 0)))
            kernel = None
    return rows


def readable(names):
    done = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True,
                          text=True, check=True)
    return [name.replace("beaverpond::cuda::", "") for name in done.stdout.splitlines()]


def check_reader():
    """A reader that overlooks spills would pass everything."""
    rows = read("ptxas info    : Compiling entry function '_Z1kv' for 'sm_80'\n"
                "ptxas info    : Function properties for _Z1kv\n"
                "    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n"
                "ptxas info    : Used 255 registers, used 1 barriers, 32 bytes smem\n")
    assert rows == [("_Z1kv", "sm_80", 255, 16, 8, 4, 32)], rows


def main():
    check_reader()
    rows = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as report:
            rows += read(report.read())
    if not rows:
        print("no kernels in the reports")
        return 1
    names = readable([row[0] for row in rows])
    bad = 0
    print("     sm registers stack stores  loads shared  kernel")
    for name, (_, sm, registers, stack, stores, loads, shared) in sorted(zip(names, rows)):
        wrong = stack or stores or loads
        bad += bool(wrong)
        print(f"{sm:>7} {registers:>9} {stack:>5} {stores:>6} {loads:>6} {shared:>6}  {name}"
              f"{'   <-- spills or has a stack' if wrong else ''}")
    print(f"{len(rows)} kernels, {bad} with spills or a stack")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
