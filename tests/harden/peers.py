#!/usr/bin/env python3
"""kedge beside the Adversarial Robustness Toolbox (ART) and a loop written in PyTorch: strength of PGD-40, speed of PGD-10,
HopSkipJump on a forest. One thread, CPU seconds, interleaved.

usage: peers.py KEDGE OUT_FOLDER [ROUNDS]
"""
import os
import statistics
import sys
import time
import warnings

import numpy
import torch
from torch import nn

warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import digits
from kedge import Kedge
from art.attacks.evasion import HopSkipJump, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier, SklearnClassifier
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier

torch.set_num_threads(1)
kedge = Kedge(sys.argv[1], sys.argv[2])
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 7
BALL = ["--unit", "absolute", "--range", "0,1"]
train, test = digits.split(1)
digits.write(os.path.join(kedge.out, "train.csv"), train)
digits.write(os.path.join(kedge.out, "test.csv"), test)


class Scaled(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.mean, self.factor = (torch.tensor(a, dtype=torch.float32) for a in (network.mean, network.factor))
        layers = []
        for w, b in network.layers:
            linear = nn.Linear(w.shape[1], w.shape[0])
            linear.weight.data, linear.bias.data = torch.tensor(w, dtype=torch.float32), torch.tensor(b, dtype=torch.float32)
            layers += [linear, nn.ReLU()]
        self.chain = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.chain((x - self.mean) * self.factor)


def art_model(path):
    model = Scaled(digits.Network(path)).eval()
    return model, PyTorchClassifier(model, nn.CrossEntropyLoss(), (64,), 10, clip_values=(0, 1), device_type="cpu")


def art_pgd(classifier, x, y, steps, batch=256):
    attack = ProjectedGradientDescent(classifier, norm=numpy.inf, eps=digits.EPSILON, eps_step=2.5 * digits.EPSILON / steps,
                                      max_iter=steps, num_random_init=1, batch_size=batch, verbose=False)
    return attack.generate(x, y)


def torch_pgd(model, x, y, steps, batch=256):
    for at in range(0, len(x), batch):
        rows, labels = x[at:at + batch], y[at:at + batch]
        point = (rows + torch.empty_like(rows).uniform_(-digits.EPSILON, digits.EPSILON)).clamp_(0, 1)
        low, high = rows - digits.EPSILON, rows + digits.EPSILON
        for _ in range(steps):
            point.requires_grad_(True)
            gradient, = torch.autograd.grad(nn.functional.cross_entropy(model(point), labels), point)
            with torch.no_grad():
                point = torch.clamp(torch.minimum(torch.maximum(point + 2.5 * digits.EPSILON / steps * gradient.sign(), low), high), 0, 1)


# --- strength -----------------------------------------------------------------------------------------------------------
for method, options in {"none": [], "pgd": ["--adversarial", "pgd", "--adversarial-epsilon", digits.EPSILON, "--adversarial-unit",
                                            "absolute", "--adversarial-range", "0,1"]}.items():
    kedge.run("train", "--data", "train.csv", "--label", "digit", "--arch", "mlp:128,64", "--optimiser", "adamw", "--dropout", 0,
              "--epochs", 40, *options, "-o", f"{method}.onnx")
    for epsilon in (0.02, digits.EPSILON) if method == "none" else (digits.EPSILON,):
        kept, digits.EPSILON = digits.EPSILON, epsilon
        report, _ = kedge.run("attack", f"{method}.onnx", "--data", "test.csv", "--label", "digit", "--eps", epsilon, *BALL)
        ours = report["attacks"][0]["robust_accuracy"]
        _, classifier = art_model(os.path.join(kedge.out, f"{method}.onnx"))
        points = art_pgd(classifier, test[0], test[1], 40)
        right = (classifier.predict(points).argmax(1) == test[1]) & (classifier.predict(test[0]).argmax(1) == test[1])
        digits.EPSILON = kept
        kedge.check(ours <= right.mean() + 0.005, f"PGD-40 at {epsilon} on the model trained by {method}: kedge leaves {ours:.4f}, ART {right.mean():.4f}")

# --- speed --------------------------------------------------------------------------------------------------------------
many = tuple(numpy.concatenate([a] * 32) for a in test)  # a third of a second and more: shorter ones meet other users of the core
digits.write(os.path.join(kedge.out, "many.csv"), many)
model, classifier = art_model(os.path.join(kedge.out, "pgd.onnx"))
x, y = torch.tensor(many[0]), torch.tensor(many[1])
speed = {"kedge": [], "torch": [], "art": []}
for _ in range(rounds):
    report, _ = kedge.run("attack", "pgd.onnx", "--data", "many.csv", "--label", "digit", "--eps", digits.EPSILON, "--steps", 10, "--whole", *BALL)
    one = report["attacks"][0]
    speed["kedge"].append(one["rows_attacked"] / one["cpu_seconds"])
    start = time.process_time()
    torch_pgd(model, x, y, 10)
    speed["torch"].append(len(x) / (time.process_time() - start))
    start = time.process_time()
    art_pgd(classifier, *many, 10)
    speed["art"].append(len(x) / (time.process_time() - start))
median = {name: statistics.median(values) for name, values in speed.items()}
for name, value in median.items():
    print(f"PGD-10, batch 256, rows a CPU second, median of {rounds}: {name:6} {value:9.0f}  ({min(speed[name]):.0f} to {max(speed[name]):.0f})")
for name, least in (("art", 5), ("torch", 1.5)):
    ratio = median["kedge"] / median[name]
    kedge.check(ratio >= least, f"kedge is {ratio:.1f} times as fast as {name}, at least {least}")

# --- a forest -----------------------------------------------------------------------------------------------------------
forest = RandomForestClassifier(50, max_depth=10, random_state=1).fit(*train)
with open(os.path.join(kedge.out, "forest.onnx"), "wb") as file:
    file.write(to_onnx(forest, train[0][:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString())
few = test[0][:40], test[1][:40]
digits.write(os.path.join(kedge.out, "few.csv"), few)
report, _ = kedge.run("attack", "forest.onnx", "--data", "few.csv", "--label", "digit", "--eps", digits.EPSILON, "--attack",
                      "hopskipjump,square", "--queries", 2000, *BALL)
classifier = SklearnClassifier(forest, clip_values=(0, 1))
attack = HopSkipJump(classifier, norm=numpy.inf, max_iter=8, max_eval=1000, init_eval=100, verbose=False)
asked = 0
predict = classifier.predict


def counted(rows, *rest, **named):
    global asked
    asked += len(rows)
    return predict(rows, *rest, **named)


classifier.predict = counted
points = attack.generate(few[0])
near = numpy.abs(points - few[0]).max(1) <= digits.EPSILON + 1e-6
right = forest.predict(few[0]) == few[1]
fooled = (forest.predict(points) != few[1]) & near & right
theirs, ours = fooled.sum() / right.sum(), {a["attack"]: a for a in report["attacks"]}
for name, one in ours.items():
    print(f"forest of 50 trees, epsilon {digits.EPSILON}: {name} fools {one['rows_fooled']} of {one['rows_attacked']} rows with "
          f"{one['queries_per_row']:.0f} queries a row")
print(f"ART's HopSkipJump fools {fooled.sum()} of {right.sum()} with {asked / len(few[0]):.0f} queries a row")
best = ours["hopskipjump"]["rows_fooled"] / ours["hopskipjump"]["rows_attacked"]
kedge.check(best >= theirs - 0.1, f"HopSkipJump on a forest: success {best:.2f}, ART's {theirs:.2f}")
kedge.end()
