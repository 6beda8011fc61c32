#!/usr/bin/env python3
"""Compares the stand-in's numbers with those of CUDA's own headers, where these are installed.

Usage: values_test.py STAND_IN_INCLUDE_FOLDER CUDA_INCLUDE_FOLDER CXX_COMPILER
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FAKE, REAL, COMPILER = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
HEADERS = {"cuda_runtime_api.h": r"\b(cuda[A-Z]\w+)\s*=\s*\d+[,;} ]"}


def values(folder, header, names):
    """The numbers a compiler sees."""
    lines = "".join(f'  std::printf("{n} %lld\\n", static_cast<long long>({n}));\n' for n in names)
    text = f"#include <cstdio>\n#include <{header}>\nint main() {{\n{lines}}}\n"
    with tempfile.TemporaryDirectory() as build:
        source, program = Path(build) / "values.cpp", Path(build) / "values"
        source.write_text(text)
        subprocess.run([COMPILER, "-std=c++20", f"-I{folder}", str(source), "-o", str(program)],
                       check=True, timeout=120)
        done = subprocess.run([program], check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())


def main():
    wrong = 0
    for header, pattern in HEADERS.items():
        names = sorted(set(re.findall(pattern, (FAKE / header).read_text())))
        assert len(names) > 10, names
        fake, real = values(FAKE, header, names), values(REAL, header, names)
        for name in names:
            if fake[name] != real[name]:
                print(f"{name}: {fake[name]} here, {real[name]} in {REAL / header}")
                wrong += 1
        print(f"{header}: {len(names)} values compared")
    return 1 if wrong else 0


sys.exit(main())
