#!/usr/bin/env python3
"""Adversarial training of a small network for images: MNIST's test set, the first 8,000 images to train on, PGD-40 of
epsilon .1 of [0, 1] on the first of the last 2,000.

usage: mnist_learn.py KEDGE MNIST_FOLDER OUT_FOLDER METHOD EPOCHS ROWS LEAST_CLEAN LEAST_ROBUST
"""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "..", "train")]
import mnist
from kedge import Kedge

kedge, folder, method, epochs, rows = Kedge(sys.argv[1], sys.argv[3]), sys.argv[2], sys.argv[4], sys.argv[5], int(sys.argv[6])
least_clean, least_robust = float(sys.argv[7]), float(sys.argv[8])
_, pixels = mnist.read_idx(os.path.join(folder, "t10k-images-idx3-ubyte.gz"))
_, labels = mnist.read_idx(os.path.join(folder, "t10k-labels-idx1-ubyte.gz"))
for name, start, end in (("train", 0, 8000), ("test", 8000, 10000)):
    mnist.write_npz(os.path.join(kedge.out, f"{name}.npz"),
                    {"x": mnist.npy((end - start, 28, 28), pixels[784 * start:784 * end]), "y": mnist.npy((end - start,), labels[start:end])})
epsilon, ball = 25.5, ["--unit", "absolute", "--range", "0,255"]
trained, seconds = kedge.run("train", "--data", "train.npz", "--label", "y", "--arch", "cnn:8,16", "--dropout", 0, "--validation", 0.05,
                             "--epochs", epochs, "--adversarial", method, "--adversarial-epsilon", epsilon, "--adversarial-unit", "absolute",
                             "--adversarial-range", "0,255", "--learning-rate", 0.004, "-o", "mnist.onnx")
report, attacked = kedge.run("attack", "mnist.onnx", "--data", "test.npz", "--label", "y", "--rows", rows, "--eps", epsilon, *ball)
one = report["attacks"][0]
print(f"{method}, {epochs} epochs: {seconds:.0f} s of CPU to train, {attacked:.0f} s to attack {one['rows_attacked']} rows")
kedge.check(report["accuracy"] >= least_clean, f"clean accuracy {report['accuracy']:.4f} of {report['rows']} rows, at least {least_clean}")
kedge.check(one["robust_accuracy"] >= least_robust, f"under PGD-40 {one['robust_accuracy']:.4f}, at least {least_robust}")
kedge.end()
