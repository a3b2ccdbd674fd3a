#!/usr/bin/env python3
"""Rows of more than two dimensions (images N×C×H×W, sequences N×T×F) attacked, hardened and smoothed by the commands, as .npz
arrays and as columns of a CSV: PyTorch's fixtures of both exporters, trained here. Every point is judged by ONNX Runtime:
within the radius, and wrong where it is said to be.

usage: images_test.py KEDGE FIXTURES OUT_FOLDER
"""
import csv
import os
import sys

import numpy
import onnxruntime

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kedge import Kedge

kedge, fixtures = Kedge(sys.argv[1], sys.argv[3]), os.path.abspath(sys.argv[2])
ROWS, EPSILON = 60, 0.2
SHAPES = {"lenet": (1, 28, 28), "lstm": (7, 5), "transformer": (7, 5)}
CASES = ["lenet_torchscript", "lenet_dynamo", "lstm_torchscript", "transformer_dynamo"]


def make(shape):
    """Ten (three) classes of noisy prototypes."""
    random, classes = numpy.random.default_rng(5), 10 if len(shape) == 3 else 3
    y = random.integers(0, classes, 300)
    x = random.normal(0, 1, (classes, *shape))[y] + random.normal(0, 0.5 if len(shape) == 3 else 1.2, (300, *shape))
    return x.astype(numpy.float32), y


def write_csv(path, x, y):
    flat = x.reshape(len(x), -1)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"p{i}" for i in range(flat.shape[1])] + ["y"])
        writer.writerows([*(repr(float(v)) for v in row), label] for row, label in zip(flat, y))


def decide(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x.astype(numpy.float32)})
    return outputs[0].reshape(len(x), -1).argmax(axis=1)


for case in CASES:
    shape = SHAPES[case.split("_")[0]]
    x, y = make(shape)
    numpy.savez(os.path.join(kedge.out, "rows.npz"), x=x, y=y)
    write_csv(os.path.join(kedge.out, "rows.csv"), x, y)
    kedge.run("train", "--from", os.path.join(fixtures, case + ".onnx"), "--data", "rows.npz", "--label", "y", "--optimiser", "adamw",
              "--epochs", 12, "--learning-rate", 0.005, "--batch-size", 16, "-o", case + ".onnx")
    trained = os.path.join(kedge.out, case + ".onnx")
    sd = x[:ROWS].reshape(ROWS, -1).astype(float).std(axis=0)
    for attack, epsilon in (("fgsm", EPSILON), ("pgd", EPSILON), ("square", 2.5 * EPSILON)):
        report, _ = kedge.run("attack", case + ".onnx", "--data", "rows.npz", "--label", "y", "--attack", attack, "--eps", epsilon,
                              "--rows", ROWS, "--queries", 100, "--steps", 5, "--range", "none", "-o", "points.npz")
        points = numpy.load(os.path.join(kedge.out, "points.npz"))
        moved, fooled = points["x"], points["fooled"].astype(bool)
        far = (numpy.abs(moved.astype(float) - x[:ROWS].reshape(ROWS, -1)) > epsilon * sd * (1 + 1e-9)).sum()
        wrong = decide(trained, moved.reshape(ROWS, *shape)) != y[:ROWS]
        right_before = decide(trained, x[:ROWS]) == y[:ROWS]
        kedge.check(far == 0 and (wrong == (fooled | ~right_before)).all(),
                    f"{case}, {attack}: {fooled.sum()} of {right_before.sum()} rows are fooled within the radius, ONNX Runtime agrees")
        kedge.check(fooled.sum() > 0, f"{case}, {attack}: it finds some")
    written, _ = kedge.run("attack", case + ".onnx", "--data", "rows.npz", "--label", "y", "--eps", EPSILON, "--rows", ROWS)
    # A CSV has other names of columns than the model knows: a model of its own, trained on it.
    kedge.run("train", "--from", os.path.join(fixtures, case + ".onnx"), "--data", "rows.csv", "--label", "y", "--optimiser", "adamw",
              "--epochs", 12, "--learning-rate", 0.005, "--batch-size", 16, "-o", "columns.onnx")
    columns, _ = kedge.run("attack", "columns.onnx", "--data", "rows.csv", "--label", "y", "--eps", EPSILON, "--rows", ROWS)
    kedge.check(columns["attacks"][0]["rows_fooled"] == written["attacks"][0]["rows_fooled"],
                f"{case}: columns of a CSV are attacked like an array ({written['attacks'][0]['rows_fooled']} rows fooled)")
    both = [(case + ".onnx", "rows.npz"), ("columns.onnx", "rows.csv")]
    for model, data in both if case == CASES[0] else both[:1]:
        hard, _ = kedge.run("harden", model, "--data", data, "--label", "y", "--eps", EPSILON, "--steps", 3, "--epochs", 8,
                            "--learning-rate", 0.002, "--batch-size", 16, "-o", "hard.onnx")
        after, _ = kedge.run("attack", "hard.onnx", "--data", data, "--label", "y", "--eps", EPSILON, "--rows", ROWS)
        kedge.check(after["attacks"][0]["rows_robust"] > written["attacks"][0]["rows_robust"],
                    f"{case}, {data}: {after['attacks'][0]['rows_robust']} rows stay right when hardened, "
                    f"{written['attacks'][0]['rows_robust']} before")
        smooth, _ = kedge.run("smooth", model, "--data", data, "--label", "y", "--sigma", 0.3, "--rows", 4, "--samples", 100)
        kedge.check(smooth["rows"] == 4, f"{case}, {data}: smoothed")
kedge.end()
