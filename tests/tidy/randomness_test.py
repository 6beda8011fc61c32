#!/usr/bin/env python3
"""Looks at what was built: nothing that makes shares, masks, seeds or weights contains cuRAND, its
name, or the code that repeats its words.

Usage: randomness_test.py NM AR with=FILE.. without=FILE.. module=FILE
with: archives that contain it, so that this test sees what it looks for. without: archives and
programs that must not. module: the archive of the CUDA module's own sources.
"""

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

NM, AR = sys.argv[1], sys.argv[2]
FILES = {kind: [Path(f) for a in sys.argv[3:] if a.startswith(kind + "=")
                for f in a[len(kind) + 1:].split(";")] for kind in ("with", "without", "module")}

SYMBOL = re.compile(r"curand|philox|synthetic", re.IGNORECASE)
# A library may be opened by its name.
NAME = re.compile(rb"curand", re.IGNORECASE)
# The module's sources that may: what calls cuRAND, and the table of the module's functions.
MODULE_MEMBERS = {"synthetic.cpp.o", "module.cpp.o"}


def symbols(file):
    """Defined and undefined symbols, demangled."""
    done = subprocess.run([NM, "-C", str(file)], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if SYMBOL.search(line)]


class Randomness(unittest.TestCase):
    def test_the_scan_finds_what_is_there(self):
        self.assertTrue(FILES["with"])
        for file in FILES["with"]:
            self.assertTrue(symbols(file), file)

    def test_nothing_else_has_it(self):
        self.assertGreater(len(FILES["without"]), 10)
        for file in FILES["without"]:
            self.assertEqual(symbols(file), [], file)
            self.assertIsNone(NAME.search(file.read_bytes()), file)

    def test_the_modules_backend_and_transport_do_not_have_it(self):
        (archive,) = FILES["module"]
        found = set()
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([AR, "x", str(archive)], cwd=folder, check=True)
            members = sorted(Path(folder).iterdir())
            self.assertGreater(len(members), 10)
            for member in members:
                if symbols(member) or NAME.search(member.read_bytes()):
                    found.add(member.name)
        self.assertEqual(found, MODULE_MEMBERS)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=1)
