#!/usr/bin/env python3
"""Adversarial training on scikit-learn's digits: an MLP 64-128-64-10 by each method, attacked by kedge's PGD-40 and by a
second PGD-40 in NumPy on the weights of the ONNX file.

usage: digits_learn.py KEDGE OUT_FOLDER SEEDS
"""
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import digits
from kedge import Kedge

kedge, seeds = Kedge(sys.argv[1], sys.argv[2]), int(sys.argv[3])
METHODS = {"none": ["--epochs", 40], "pgd": ["--epochs", 40], "fast": ["--epochs", 28, "--learning-rate", 0.005],
           "free": ["--epochs", 11, "--replays", 4], "trades": ["--epochs", 40]}
BALL = ["--unit", "absolute", "--range", "0,1"]
clean, robust, peer, cost = ({m: [] for m in METHODS} for _ in range(4))
for seed in range(1, seeds + 1):
    train, test = digits.split(seed)
    digits.write(os.path.join(kedge.out, "train.csv"), train)
    digits.write(os.path.join(kedge.out, "test.csv"), test)
    for method, options in METHODS.items():
        model = f"digits_{method}_{seed}.onnx"
        hard = [] if method == "none" else ["--adversarial", method, "--adversarial-epsilon", digits.EPSILON,
                                            "--adversarial-unit", "absolute", "--adversarial-range", "0,1"]
        _, seconds = kedge.run("train", "--data", "train.csv", "--label", "digit", "--arch", "mlp:128,64", "--optimiser", "adamw",
                               "--dropout", 0, "--validation", 0.1, "--seed", seed, *options, *hard, "-o", model)
        report, _ = kedge.run("attack", model, "--data", "test.csv", "--label", "digit", "--eps", digits.EPSILON, *BALL)
        clean[method].append(report["accuracy"])
        robust[method].append(report["attacks"][0]["robust_accuracy"])
        peer[method].append(digits.pgd(digits.Network(os.path.join(kedge.out, model)), *test, digits.EPSILON, 40))
        cost[method].append(seconds)
print(f"mean of {seeds} seeds, {len(test[1])} test rows, PGD-40, epsilon {digits.EPSILON} of [0, 1]")
for method in METHODS:
    print(f"{method:7} clean {statistics.mean(clean[method]):.4f}  robust {statistics.mean(robust[method]):.4f}  "
          f"NumPy's PGD-40 {statistics.mean(peer[method]):.4f}  CPU {statistics.mean(cost[method]):.2f} s "
          f"({statistics.mean(cost[method]) / statistics.mean(cost['pgd']):.2f} of pgd)")
mean = {m: statistics.mean(robust[m]) for m in METHODS}
kedge.check(mean["pgd"] >= 0.80, f"pgd: robust accuracy {mean['pgd']:.4f} is at least .80")
kedge.check(statistics.mean(clean["pgd"]) >= 0.96, f"pgd: clean accuracy {statistics.mean(clean['pgd']):.4f} is at least .96")
for method in ("fast", "free"):
    points = 3 if seeds >= 3 else 6  # the standard error of one seed is 1.6 points
    kedge.check(mean[method] >= mean["pgd"] - points / 100, f"{method}: robust accuracy {mean[method]:.4f} within {points} points of pgd")
    share = statistics.mean(cost[method]) / statistics.mean(cost["pgd"])
    if seeds >= 3:  # of a single run, on a busy machine, it says little
        kedge.check(share <= 0.4, f"{method}: {share:.2f} of pgd's CPU time, at most .4")
for method in METHODS:
    kedge.check(mean[method] <= statistics.mean(peer[method]) + 0.005,
                f"{method}: kedge's PGD-40 leaves {mean[method]:.4f}, NumPy's {statistics.mean(peer[method]):.4f}")
kedge.end()
