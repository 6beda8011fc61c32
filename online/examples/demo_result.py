#!/usr/bin/env python3
"""Puts the demo's reports together, checks them, and prints one JSON line."""

import json
import sys
from pathlib import Path


def last(path):
    return json.loads(Path(path).read_text().splitlines()[-1])


def main(out):
    out = Path(out)
    train = last(out / "train.json")
    factory = last(out / "factory.log")
    fixed = last(out / "fixed.json")
    identical = (out / "private.weights").read_bytes() == (out / "emulate.weights").read_bytes()
    accuracy = last(out / "evaluate.json")["accuracy"]
    float_accuracy = last(out / "float.json")["accuracy"]
    problems = []
    if not identical:
        problems.append("private.weights and emulate.weights differ")
    if accuracy < 0.82:
        problems.append(f"accuracy {accuracy} is below 0.82")
    if abs(accuracy - float_accuracy) > 0.01:
        problems.append("fixed and floating point are more than a point apart")
    print(json.dumps(separators=(",", ":"), obj={
        "demo": "failed" if problems else "ok",
        "players": train["players"],
        "model": "chameleon: conv 5x5/2 to 5 channels, dense 100, dense 10, softmax",
        "steps": train["steps"],
        "batch": 128,
        "train_seconds": round(train["train_seconds"], 2),
        "offline_seconds": factory["cpu_seconds"],
        "bytes_sent": train["bytes_sent"],
        "rounds": train["rounds"],
        "accuracy": accuracy,
        "plaintext_fixed_accuracy": fixed["accuracy"],
        "float_accuracy": float_accuracy,
        "alone_accuracy": [last(out / f"alone{i}.json")["accuracy"] for i in range(3)],
        "weights_sha256": train["weights_sha256"],
        "emulate_sha256": fixed["weights_sha256"],
        "weights_bit_identical": identical,
    }))
    for problem in problems:
        print(f"demo: {problem}", file=sys.stderr)
    return 1 if problems else 0


sys.exit(main(sys.argv[1]))
