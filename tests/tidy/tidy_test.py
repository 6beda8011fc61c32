#!/usr/bin/env python3
"""Checks what a compiler does not: layers, lengths, banned calls, stray paths.

Usage: tidy_test.py SOURCE_FOLDER CXX_COMPILER
"""

import hashlib
import os
import re
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
COMPILER = sys.argv[2] if len(sys.argv) > 2 else "c++"

CODE = {".h", ".cpp", ".cuh", ".cu"}
PRODUCT = ("include", "kernels", "offline", "online")
MAX_FILE_LINES = 500
MAX_COLUMNS = 100

# Folder or file (without extension): what it may use besides itself and the public contract. What
# those may use is allowed too. The longest entry that fits a path decides.
LAYERS = {
    "include/beaverpond": [],
    "kernels/math": [],
    "kernels/features": [],
    "kernels/gemm": ["kernels/features", "kernels/math"],
    "kernels/for_each": [],
    "kernels/backend": [],
    "kernels/compare_sizes": ["kernels/backend"],
    "kernels/cpu": ["kernels/backend", "kernels/compare_sizes", "kernels/for_each",
                    "kernels/gemm", "kernels/pinning", "kernels/securenn_backend"],
    "kernels/cuda": ["kernels/backend", "kernels/compare_sizes", "kernels/device_module",
                     "kernels/for_each", "kernels/gemm", "kernels/securenn_backend"],
    "kernels/cuda/synthetic": ["kernels/cuda", "kernels/synthetic/request"],
    # The module's entry puts the module together, as a program would.
    "kernels/cuda/module": ["kernels/cuda", "kernels/cuda/synthetic", "online/transport/nccl"],
    "kernels/device_module": ["kernels/backend", "kernels/module_file", "kernels/product_rates"],
    "kernels/device_name": [],
    "kernels": ["kernels/gemm"],
    "kernels/make_backend": ["kernels/device_module", "kernels/device_name", "kernels/pinning"],
    "kernels/module_file": [],
    "kernels/pinning": ["kernels/backend"],
    "kernels/product_method": [],
    "kernels/product_rates": ["kernels/product_method"],
    "kernels/synthetic": ["kernels/device_module", "kernels/device_name",
                          "kernels/synthetic/request"],
    "kernels/synthetic/request": [],
    "kernels/securenn": ["kernels/cpu", "kernels/features", "kernels/securenn_backend"],
    "kernels/securenn_backend": ["kernels/backend", "kernels/math"],
    "offline/plan": [],
    "offline/dealer": ["kernels/backend", "kernels/securenn_backend", "offline/plan"],
    "offline/pool": ["offline/plan"],
    "offline/factory": ["offline/dealer", "offline/pool", "kernels/make_backend"],
    "online/transport": ["kernels/module_file"],  # how MPI's module is found
    "online/transport/mpi": ["online/transport"],
    "online/transport/nccl": ["kernels/cuda", "online/transport"],
    "online/session": ["online/transport", "offline/pool"],
    "online/protocol": ["kernels/backend", "online/session"],
    "online/securenn": ["kernels/cpu", "kernels/securenn_backend", "online/protocol"],
    "online/nn": ["online/nn/twin", "online/protocol", "online/securenn"],
    "online/nn/twin": ["online/nn/twin_ops"],  # nothing else: it judges the rest
    "online/nn/twin_ops": [],
    "online/player": ["kernels/make_backend", "online/session"],
    "online/cli": ["online/nn", "online/player"],
    "online/cli/main": ["online/cli", "kernels/synthetic"],
    "online/cli/made_up_data": ["kernels/synthetic"],
    "online/cli/synthesize": ["online/cli", "online/cli/made_up_data"],
    "online/api": ["online/nn", "online/player"],
    "online/examples": [],  # public headers only, as a user's program
}

# (file, what it includes): why the table does not hold there.
LAYER_EXCEPTIONS = {
    ("kernels/cuda/device.h", "simt/device.h"): "what stands for a GPU where there is no nvcc",
}

# Headers that cost seconds: only these files may name them.
HEAVY = {
    "nlohmann/": {
        "online/cli/json_line.cpp": "all JSON of the program",
        "offline/factory/report.cpp": "all JSON of triple-factory; offline cannot use online's",
        "online/nn/safetensors.cpp": "the header of .safetensors files",
    },
    "CLI/": {
        "online/cli/main.cpp": "flags of beaverpond",
        "offline/factory/main.cpp": "flags of triple-factory",
    },
    "boost/": {
        "online/transport/tls_mesh.cpp": "the only user of sockets",
        "online/transport/tls_connection.h": "a part of tls_mesh.cpp, see PRIVATE_HEADERS",
        "online/transport/tls_doors.h": "as above",
        "online/transport/tls_mesh_class.h": "as above",
    },
    "toml++/": {
        "offline/plan/roster.cpp": "offline cannot use online's reader; compiled, not header-only",
        "offline/factory/config.cpp": "the factory's configuration",
        "online/nn/config_tree.cpp": "all TOML of jobs",
    },
    "zip.h": {"online/nn/zip_file.cpp": "all zip archives"},
    "spdlog/": {},
    "httplib": {
        "offline/factory/status_server.cpp": "health, metrics, status and page",
        "offline/factory/delivery_server.cpp": "HTTPS, the factory's side",
        "offline/factory/pull.cpp": "HTTPS, a player's side",
    },
    "prometheus/": {"offline/factory/metrics.cpp": "the text format of the metrics"},
}

# Headers with heavy includes: the one file that may include them.
PRIVATE_HEADERS = {
    "online/transport/tls_connection.h": "online/transport/tls_doors.h",
    "online/transport/tls_doors.h": "online/transport/tls_mesh_class.h",
    "online/transport/tls_mesh_class.h": "online/transport/tls_mesh.cpp",
}

SLEEPS = {
    "kernels/cuda/pauses.h": "a device does not say when it has got on",
    "offline/factory/pull.cpp": "asks again at its poll_interval, in pieces as above",
    "offline/factory/service.cpp": "waits for demand in 10 ms pieces, so that a stop is heard",
    "online/transport/mpi/mpi.cpp": "MPI gets on only while it is asked",
    "online/transport/nccl/lane.cpp": "NCCL does not say when it has got on",
    "online/session/lease.cpp": "players poll a dry pool together, at their poll_interval",
    "online/session/rejoin.cpp": "a lost player comes back in its own time; pauses grow",
}

BANNED = [
    # Pattern, why, folders that may, files that may.
    (r"\b(?:s?rand|random|srandom|drand48)\s*\(", "not fit for secrets", ("tests", "bench"), ()),
    (r"\bmt19937", "not fit for secrets", ("tests", "bench"), ()),
    (r"(?<![.>\w])(?:std::)?(?:exit|abort|quick_exit|terminate)\s*\(",
     "a library returns errors", ("tests", "bench"), ("include/beaverpond/check.h",)),
    (r"(?:printf|puts|cout|cerr|clog)\b.*\b\w*[sS]eed\w*_?\b(?!s? per)", "seeds are secret",
     ("tests", "bench"), ()),
    (r"\b(?:sleep_for|sleep_until|usleep|nanosleep|::sleep)\s*\(", "wait for what is awaited",
     ("tests", "bench"), tuple(SLEEPS)),
    (r"\busing namespace std\b", "says nothing about where names come from", (), ()),
]

# cuRAND and what repeats its words are fit for made-up data alone. Nobody else names them, so that
# no share, mask, seed or weight can come from there; randomness_test.py looks at what was linked.
SYNTHETIC = re.compile(r"curand|philox|synthetic", re.IGNORECASE)
SYNTHETIC_FILES = {
    "kernels/device_module.h": "the module's table has the entry",
    "kernels/cuda/module.cpp": "fills the table",
    "kernels/cuda/curand_api.h": "the library's functions",
    "kernels/cuda/curand_load.cpp": "finds the library",
    "kernels/cuda/synthetic.cpp": "calls it",
    "kernels/cuda/synthetic.h": "calls it",
    "kernels/synthetic/philox.h": "the same words on the CPU",
    "kernels/synthetic/request.h": "the entry's argument",
    "kernels/synthetic/source.cpp": "the only caller of the entry",
    "kernels/synthetic/source.h": "the only caller of the entry",
    "online/cli/commands.h": "a comment on the command",
    "online/cli/made_up_data.cpp": "makes the data sets",
    "online/cli/made_up_data.h": "makes the data sets",
    "online/cli/main.cpp": "flags of the command",
    "online/cli/synthesize.cpp": "the command",
}

# Sources whose tests live elsewhere.
MIRRORED_BY = {
    "kernels": "tests/kernels",
    "kernels/math": "tests/kernels",
    "kernels/gemm": "tests/kernels",
    "kernels/cpu": "tests/kernels",
}


def project_files():
    """Tracked files and those that would be; without git, all but build folders."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT,
                         capture_output=True, text=True)
    if git.returncode == 0 and git.stdout:
        names = git.stdout.splitlines()
    else:
        names = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, _, files in os.walk(ROOT) for name in files]
        names = [n for n in names if not re.match(r"(build|\.git)\b|.*__pycache__", n)]
    return sorted(n for n in names if (ROOT / n).is_file())


FILES = project_files()
TEXT = {}
for name in FILES:
    try:
        TEXT[name] = (ROOT / name).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        pass
SOURCES = [n for n in TEXT if Path(n).suffix in CODE]
PRODUCT_SOURCES = [n for n in SOURCES if n.split("/")[0] in PRODUCT]


def without_comment(line):
    return re.sub(r"^\s*///?.*|\s//.*", "", line)


def includes(name):
    for number, line in enumerate(TEXT[name], 1):
        match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def layer_of(path):
    stem = str(Path(path).with_suffix(""))
    fits = [l for l in LAYERS if stem == l or stem.startswith(l + "/")]
    return max(fits, key=len) if fits else None


def usable_from(layer):
    seen, todo = set(), [layer]
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            todo += LAYERS[one]
    return seen


class Tidy(unittest.TestCase):
    maxDiff = None

    def expect_none(self, problems):
        self.assertFalse(problems, "\n" + "\n".join(problems))

    def test_there_is_something_to_check(self):
        self.assertGreater(len(PRODUCT_SOURCES), 50)

    def test_layers(self):
        problems, used = [], set()
        for name in PRODUCT_SOURCES:
            layer = layer_of(name)
            if layer is None:
                problems.append(f"{name}: is in no layer; add its folder to the table")
                continue
            for number, quoted, included in includes(name):
                if not quoted or included.startswith("beaverpond/"):
                    continue
                if layer_of(included) in usable_from(layer):
                    continue
                if (name, included) in LAYER_EXCEPTIONS:
                    used.add((name, included))
                    continue
                problems.append(f"{name}:{number}: {layer} may not use {included}")
        problems += [f"{a}: the exception for {b} is not needed" for a, b in
                     set(LAYER_EXCEPTIONS) - used]
        self.expect_none(problems)

    def test_synthetic_words_stay_apart(self):
        named = {n for n in PRODUCT_SOURCES if SYNTHETIC.search("\n".join(TEXT[n]))}
        self.expect_none([f"{n}: names what is fit for made-up data alone"
                          for n in sorted(named - set(SYNTHETIC_FILES))])
        self.expect_none([f"{n}: has a place that it does not need"
                          for n in sorted(set(SYNTHETIC_FILES) - named)])
        # The header that everybody who loads a module sees: the entry, and nothing to call it with.
        table = "\n".join(TEXT["kernels/device_module.h"])
        self.assertIn("struct SyntheticRequest;", table)
        self.assertNotIn("kernels/synthetic/request.h\"", table)

    def test_the_product_does_not_include_tests(self):
        self.expect_none([f"{n}:{i}: {h}" for n in PRODUCT_SOURCES for i, _, h in includes(n)
                          if h.startswith(("tests/", "bench/"))])

    def test_heavy_headers(self):
        problems = []
        for name in PRODUCT_SOURCES:
            for number, quoted, included in includes(name):
                for prefix, allowed in HEAVY.items():
                    if not quoted and included.startswith(prefix) and name not in allowed:
                        problems.append(f"{name}:{number}: <{included}> belongs in one of "
                                        f"{sorted(allowed)}")
                owner = PRIVATE_HEADERS.get(included)
                if owner is not None and name != owner:
                    problems.append(f"{name}:{number}: {included} is a part of {owner}")
        self.expect_none(problems)

    def test_public_headers_need_nothing(self):
        self.expect_none([f"{n}:{i}: {h}" for n in PRODUCT_SOURCES if n.startswith("include/")
                          for i, quoted, h in includes(n)
                          if (quoted and not h.startswith("beaverpond/")) or
                          (not quoted and re.search(r"[./]", h))])

    def test_lengths(self):
        problems = [f"{n}: {len(TEXT[n]) - 1} lines" for n in SOURCES
                    if len(TEXT[n]) - 1 > MAX_FILE_LINES]
        wide = [n for n in TEXT if Path(n).suffix in CODE | {".py", ".toml", ".cmake"} or
                Path(n).name in ("CMakeLists.txt", "Makefile") or
                TEXT[n][0].startswith("#!")]
        problems += [f"{n}:{i}: {len(line)} columns" for n in wide
                     for i, line in enumerate(TEXT[n], 1) if len(line) > MAX_COLUMNS]
        self.expect_none(problems)

    def test_banned_calls(self):
        problems = []
        for name in SOURCES:
            for number, line in enumerate(TEXT[name], 1):
                code = without_comment(line)
                for pattern, why, folders, files in BANNED:
                    if (re.search(pattern, code) and name.split("/")[0] not in folders and
                            name not in files):
                        problems.append(f"{name}:{number}: {line.strip()}: {why}")
        self.expect_none(problems)

    def test_every_exception_is_in_use(self):
        self.expect_none([f"{n}: has an exception that it does not need" for n in SLEEPS
                          if n not in TEXT or "sleep_" not in "\n".join(TEXT[n])])

    def test_every_source_has_a_mirrored_test_folder(self):
        problems = []
        for folder in sorted({str(Path(n).parent) for n in PRODUCT_SOURCES}):
            mirror = MIRRORED_BY.get(folder, f"tests/{folder}")
            if folder.startswith("include/"):
                mirror = "tests/include"
            if not any(n.startswith(mirror + "/") and n.endswith("_test.cpp") for n in SOURCES):
                problems.append(f"{folder}: no test in {mirror}")
        self.expect_none(problems)

    def test_no_stray_words_and_paths(self):
        shared = "../" + "shared"
        later = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b")
        # Absolute paths of one machine; places every Debian has, as /usr and /dev, are none.
        machine = re.compile(r"(?<![\w.$})\]*])/(?:work|root|tmp|home/\w+)\b(?=[/\"'\s:]|$)")
        problems = []
        for name, lines in TEXT.items():
            for number, line in enumerate(lines, 1):
                if shared in line or later.search(line) or machine.search(line):
                    problems.append(f"{name}:{number}: {line.strip()}")
        self.expect_none(problems)

    def test_public_headers_compile_alone(self):
        headers = [n for n in PRODUCT_SOURCES if n.startswith("include/")]

        def compile_alone(name):
            source = f'#include "{name[len("include/"):]}"\n'
            done = subprocess.run(
                [COMPILER, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                 str(ROOT / "include"), "-x", "c++", "-"],
                input=source, capture_output=True, text=True)
            return [] if done.returncode == 0 else [f"{name}: {done.stderr}"]

        with ThreadPoolExecutor(max_workers=2) as pool:
            self.expect_none([p for found in pool.map(compile_alone, headers) for p in found])

    def test_module_version(self):
        """A CUDA module of other headers must not be called: its version is their digest."""
        headers = sorted(p for folder in ('include/beaverpond', 'kernels', 'online/transport')
                         for p in (ROOT / folder).glob('*.h'))
        headers.append(ROOT / 'kernels/synthetic/request.h')
        pattern = r'kDeviceModuleVersion = 0x[0-9a-f]+;'
        digest = hashlib.sha256()
        for header in headers:
            digest.update(re.sub(pattern, '', header.read_text()).encode())
        wanted = 'kDeviceModuleVersion = 0x' + digest.hexdigest()[:7] + ';'
        text = (ROOT / 'kernels/device_module.h').read_text()
        self.assertIn(wanted, text, 'kernels/device_module.h: write ' + wanted)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=1)
