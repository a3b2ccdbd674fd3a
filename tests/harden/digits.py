"""scikit-learn's digits as CSV files, the MLP inside a model of kedge as NumPy arrays, and PGD written a second time."""
import csv

import numpy
import onnx
from onnx import numpy_helper
from sklearn.datasets import load_digits

EPSILON = 0.1


def split(seed, test=540):
    """Pixels in [0, 1]: training rows, test rows, by a random split."""
    x, y = load_digits(return_X_y=True)
    order = numpy.random.RandomState(seed).permutation(len(x))
    x, y = (x[order] / 16).astype(numpy.float32), y[order]
    return (x[:-test], y[:-test]), (x[-test:], y[-test:])


def write(path, rows):
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow([f"p{i}" for i in range(rows[0].shape[1])] + ["digit"])
        for x, label in zip(*rows):
            out.writerow([repr(float(v)) for v in x] + [int(label)])


def read_points(path, width=64):
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    return numpy.array([[float(v) for v in row[:width]] for row in rows[1:]]), rows[0], rows[1:]


class Network:
    """The chain Sub, Mul, (Gemm, Relu)*, Gemm of a model that `kedge train --arch mlp:…` makes on the graph."""

    def __init__(self, path):
        graph = onnx.load(path).graph
        value = {t.name: numpy_helper.to_array(t).astype(numpy.float64) for t in graph.initializer}
        self.mean, self.factor = value["kedge.mean"], value["kedge.factor"]
        numbers = sorted(int(name.split(".")[0][6:]) for name in value if name.startswith("layer_") and name.endswith(".weight"))
        self.layers = [(value[f"layer_{i}.weight"], value[f"layer_{i}.bias"]) for i in numbers]

    def logits(self, x):
        hidden = [(x - self.mean) * self.factor]
        for w, b in self.layers[:-1]:
            hidden.append(numpy.maximum(hidden[-1] @ w.T + b, 0))
        w, b = self.layers[-1]
        return hidden[-1] @ w.T + b, hidden

    def gradient(self, x, labels):
        """Of the cross-entropy by the input."""
        z, hidden = self.logits(x)
        p = numpy.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[numpy.arange(len(x)), labels] -= 1
        for i in range(len(self.layers) - 1, -1, -1):
            p = p @ self.layers[i][0]
            if i > 0:
                p = p * (hidden[i] > 0)
        return p * self.factor


def pgd(network, x, labels, epsilon, steps, seed=1, low=0.0, high=1.0):
    """Rows that stay right at every step of one start, as Madry et al. 2018; the row itself counts."""
    random, x = numpy.random.RandomState(seed), x.astype(numpy.float64)
    right = network.logits(x)[0].argmax(1) == labels
    point = numpy.clip(x + random.uniform(-epsilon, epsilon, x.shape), low, high)
    for step in range(steps + 1):
        right &= network.logits(point)[0].argmax(1) == labels
        moved = point + 2.5 * epsilon / steps * numpy.sign(network.gradient(point, labels))
        point = numpy.clip(numpy.clip(moved, x - epsilon, x + epsilon), low, high)
    return right.mean()
