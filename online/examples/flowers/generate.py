#!/usr/bin/env python3
"""Writes train_a.csv, train_b.csv and test.csv beside itself: flowers of three species.

Four measures in cm, each drawn from the normal distribution with the mean and standard deviation
that Fisher (1936) found for its species of iris; the four are drawn independently of each other.
Owner a holds setosa and versicolor, owner b versicolor and virginica: neither knows all three.
"""

import random
from pathlib import Path

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = {
    "setosa": [(5.006, 0.352), (3.428, 0.379), (1.462, 0.174), (0.246, 0.105)],
    "versicolor": [(5.936, 0.516), (2.770, 0.314), (4.260, 0.470), (1.326, 0.198)],
    "virginica": [(6.588, 0.636), (2.974, 0.322), (5.552, 0.552), (2.026, 0.275)],
}
FILES = {
    "train_a.csv": {"setosa": 100, "versicolor": 50, "virginica": 0},
    "train_b.csv": {"setosa": 0, "versicolor": 50, "virginica": 100},
    "test.csv": {"setosa": 50, "versicolor": 50, "virginica": 50},
}


def main():
    draws = random.Random(1936)
    for name, counts in FILES.items():
        rows = [(species, [max(0.1, draws.gauss(mean, sd)) for mean, sd in SPECIES[species]])
                for species, count in counts.items() for _ in range(count)]
        draws.shuffle(rows)
        lines = [",".join(COLUMNS + ["species"])]
        lines += [",".join([f"{x:.1f}" for x in measures] + [species])
                  for species, measures in rows]
        (Path(__file__).parent / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
