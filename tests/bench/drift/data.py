"""data.py FOLDER [SCALE]: the data of the speed comparison, raw doubles, the same on every machine. SCALE divides the rows
(1: 100,000 rows a side of 20 columns)."""

import array
import os
import random
import sys

COLUMNS = 20


def write(folder, name, values):
    path = os.path.join(folder, name + ".f64")
    with open(path + ".new", "wb") as out:
        array.array("d", values).tofile(out)
    os.rename(path + ".new", path)


def sides(folder, rows):
    generator = random.Random(1)
    for side, name in enumerate(("reference", "current")):
        shifts = (0.02 * side * (column % 3) for column in range(COLUMNS))
        write(folder, name, (generator.gauss(shift, 1) for shift in shifts for _ in range(rows)))


def series(folder, rows):
    generator = random.Random(2)
    write(folder, "errors", (float(generator.random() < 0.2) for _ in range(rows)))
    write(folder, "normals", (generator.gauss(0, 1) for _ in range(rows)))


def classifier(folder, rows):
    """Scores that are too sure of themselves, so that calibration has something to do."""
    generator = random.Random(3)
    scores = [generator.random() for _ in range(rows)]
    write(folder, "cbpe_reference", scores)
    write(folder, "cbpe_truth", (float(generator.random() < p * p) for p in scores))
    write(folder, "cbpe_analysis", (generator.random() for _ in range(rows)))


def people(folder, rows):
    generator = random.Random(4)
    groups = [float(int(5 * generator.random() ** 2)) for _ in range(rows)]
    labels = [float(generator.random() < 0.3 + 0.05 * g) for g in groups]
    predictions = [y if generator.random() < 0.8 else 1 - y for y in labels]
    write(folder, "fair", groups + labels + predictions)


def vectors(folder, rows):
    generator = random.Random(5)
    write(folder, "mmd_reference", (generator.gauss(0, 1) for _ in range(rows * COLUMNS)))
    write(folder, "mmd_current", (generator.gauss(0.1, 1) for _ in range(rows * COLUMNS)))


def main():
    folder, scale = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    os.makedirs(folder, exist_ok=True)
    sides(folder, 100000 // scale)
    series(folder, 200000 // scale)
    classifier(folder, 50000 // min(scale, 4))
    people(folder, 100000 // scale)
    vectors(folder, 1000 // min(scale, 4))


main()
