#!/usr/bin/env python3
"""What online/examples/hosts and the deploy folders name exists: packages, paths, targets, flags.

Usage: deployment_files_test.py SOURCE_FOLDER BEAVERPOND TRIPLE_FACTORY. Without dpkg or systemd
the checks that ask them are left out, which is printed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT, PROGRAMS = Path(sys.argv[1]), sys.argv[2:4]
HOSTS = ROOT / "online/examples/hosts"
UNITS = [*ROOT.glob("online/cli/deploy/*.service"), *ROOT.glob("offline/factory/deploy/*.service")]
CONTAINERFILE = HOSTS / "Containerfile"
# Of every Debian system, however small.
OF_THE_BASE = {"libc6", "libgcc-s1"}


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def instructions():
    """Those of the Containerfile, one a line, without comments."""
    lines = [l for l in CONTAINERFILE.read_text().splitlines() if not l.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def runtime_packages():
    installed = next(i for i in instructions() if "apt-get install" in i)
    words = re.search(r"apt-get install(.*?)&&", installed).group(1).split()
    return {w for w in words if w[0] not in "-$"}


def flags_of(program, command):
    return set(re.findall(r"--[a-z][a-z-]*", output(program, command, "--help")))


class Deploy(unittest.TestCase):
    def test_the_image_has_the_libraries_of_the_programs_and_no_others(self):
        if not shutil.which("dpkg-query"):
            self.skipTest("no dpkg")
        needed = set()
        for file in PROGRAMS:
            for line in output("ldd", file).splitlines():
                found = re.search(r"=> (/\S+)", line)
                if found:
                    needed.add(found.group(1))
        direct = set()
        for file in PROGRAMS:
            direct |= set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", file)))
        packages = set()
        for path in needed:
            if Path(path).name not in direct:
                continue
            # Debian 12 has /lib in /usr/lib, and its packages do not all know.
            names = [str(Path(path).resolve()), str(Path(path).resolve()).replace("/usr", "", 1)]
            done = subprocess.run(["dpkg-query", "-S", *names], capture_output=True, text=True)
            packages.add(done.stdout.split(":")[0])
        packages.discard("")
        listed = runtime_packages()
        self.assertEqual(sorted(packages - OF_THE_BASE), sorted(listed - {"libipsec-mb1"}))
        # It is loaded by name, where it is there (online/transport/aead.h).
        self.assertIn("libipsec-mb1", listed)
        self.assertIn('"libIPSec_MB.so.1"', (ROOT / "online/transport/aead.cpp").read_text())
        wanted = (ROOT / ".ci/packages").read_text().split()
        self.assertIn("libipsec-mb-dev", wanted)

    def test_the_image_is_built_of_what_is_there(self):
        for instruction in instructions():
            words = instruction.split()
            if words[:1] == ["COPY"] and not words[1].startswith("--from"):
                for path in words[1:-1]:
                    self.assertTrue((ROOT / path).exists(), path)
        text = "\n".join(instructions())
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
        for preset in re.findall(r"--preset (\S+)", text):
            self.assertIn(preset, [p["name"] for p in presets])
        cmake = (ROOT / "CMakeLists.txt").read_text()
        for target in re.findall(r"--target (\S+)", text):
            self.assertIn(f"add_custom_target({target} ", cmake)
        for option in re.findall(r"-D(BEAVERPOND_\w+)=", text):
            self.assertIn(f"option({option} ", cmake)
        for component in re.findall(r"--component (\S+)", text):
            self.assertIn(f"COMPONENT {component})", (ROOT / "cmake/install.cmake").read_text())
        self.assertIn("build\n", (ROOT / ".dockerignore").read_text())

    def test_no_secret_and_no_superuser_in_the_image(self):
        last = instructions()[max(i for i, l in enumerate(instructions()) if l.startswith("FROM")):]
        self.assertTrue(any(l.startswith("USER ") and "root" not in l for l in last))
        self.assertTrue(any(l.startswith("VOLUME ") for l in last))

    def test_flags_exist(self):
        texts = {p: p.read_text() for p in [*HOSTS.iterdir(), *UNITS]}
        hosts = re.findall(r"^```sh hosts\n(.*?)^```$", (ROOT / "README.md").read_text(),
                           re.MULTILINE | re.DOTALL)
        self.assertEqual(len(hosts), 1)
        texts["README.md"] = hosts[0]
        seen = 0
        for place, text in texts.items():
            # A comment that goes on in the next line goes on.
            text = re.sub(r"\\\n#?\s*", " ", text)
            for name, program in zip(("beaverpond", "triple-factory"), PROGRAMS):
                for command, rest in re.findall(
                        rf"{name} (train|infer|doctor|keygen|plan|serve|pull|status)\b([^\n;&>']*)",
                        text):
                    known = flags_of(program, command)
                    for flag in re.findall(r"--[a-z][a-z-]*", rest):
                        self.assertIn(flag, known, f"{place}: {name} {command}")
                        seen += 1
        self.assertGreater(seen, 20)

    def test_scripts_are_shell(self):
        for script in HOSTS.glob("*.sh"):
            output("bash", "-n", str(script))

    def test_units_are_units(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            for unit in UNITS:
                # The programs are not installed here; any that is stands for them.
                text = re.sub(r"/usr/bin/(beaverpond|triple-factory)", "/bin/true",
                              unit.read_text())
                copy = Path(folder) / unit.name.replace("@", "@x")
                copy.write_text(text.replace("User=beaverpond", "User=root"))
                done = subprocess.run(["systemd-analyze", "verify", str(copy)], timeout=60,
                                      capture_output=True, text=True)
                told = [l for l in (done.stdout + done.stderr).splitlines() if copy.name in l]
                self.assertEqual(told, [], unit)


unittest.main(argv=sys.argv[:1])
