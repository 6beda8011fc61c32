#!/usr/bin/env python3
"""Runs the README's blocks marked `ci`, as printed and in one shell.

Usage: readme_test.py REPOSITORY BUILD_FOLDER. The commands see a folder in which `build/release`
is the build folder and everything else is the repository.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def main(repository, build):
    repository, build = Path(repository), Path(build)
    text = (repository / "README.md").read_text()
    blocks = re.findall(r"^```sh ci\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2, "the README has lost its blocks marked ci"
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        for entry in repository.iterdir():
            if entry.name not in ("build", ".git"):
                (here / entry.name).symlink_to(entry)
        (here / "build").mkdir()
        (here / "build" / "release").symlink_to(build)
        script = "set -euo pipefail\n" + "\n".join(blocks)
        done = subprocess.run(["bash", "-c", script], cwd=here, timeout=240,
                              env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 0:
            return done.returncode
        predictions = (here / "build/run/predictions.txt").read_text().split()
        assert len(predictions) == 200, f"{len(predictions)} predictions, not 200"
    return 0


sys.exit(main(sys.argv[1], sys.argv[2]))
