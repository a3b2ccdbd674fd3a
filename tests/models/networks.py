"""PyTorch's models, committed in fixtures/ and in tests/fixtures/onnx: every fixture with the data that it learns from."""
import glob
import os

import numpy as np
import onnx

from support import check, compare_with_runtime, predicting, read_bytes, run_runtime

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDERS = [os.path.join(HERE, "fixtures"), os.path.join(HERE, "..", "fixtures", "onnx")]
TEST = 0.25


class Case:
    """x, y: rows and classes or values, the last quarter to test; training: exported in training mode."""

    def __init__(self, path):
        self.path, self.name = path, os.path.splitext(os.path.basename(path))[0]
        model = onnx.load(path)
        self.training = any(n.op_type == "Dropout" or any(a.name == "training_mode" and a.i for a in n.attribute)
                            for n in model.graph.node)
        self.input = model.graph.input[0].name
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
        random = np.random.default_rng(3)
        n = 480
        x = 0.4 * random.normal(size=(n, *dims))
        width = run_runtime(self.runtime_model(), {self.input: x[:2].astype(np.float32)}).popitem()[1].reshape(2, -1).shape[1]
        self.classes = 0 if "regression" in self.name else max(width, 2)
        if len(dims) == 3:  # a bright stripe, whose place is the class
            y = random.integers(0, width, n)
            for image, label in zip(x, y):
                image[:, label * dims[1] // width:(label * dims[1] // width) + 2, :] += 1
        else:
            x = x if len(dims) == 1 else 3 * x
            score = x[:, 0] + x[:, 1] if len(dims) == 1 else x[:, -1, 0]
            y = np.digitize(score, np.quantile(score, np.arange(1, self.classes) / self.classes)) if self.classes else score
        self.options = ["--learning-rate", "0.01"] if len(dims) == 2 else []  # few steps, slow gates
        self.x, self.y = x.astype(np.float32), y

    def runtime_model(self):
        """What ONNX Runtime is given: it would train with what was exported in training mode."""
        return predicting(read_bytes(self.path)) if self.training else self.path

    def feeds(self, rows):
        return {self.input: self.x[rows]}


def all_cases():
    for folder in FOLDERS:
        for path in sorted(glob.glob(os.path.join(folder, "*.onnx"))):
            yield Case(path)


def train(programs, case, output, *options):
    data = programs.path("train.npz")
    np.savez(data, x=case.x, y=case.y)
    return programs.run_kedge("train", "--from", case.path, "--data", data, "--label", "y", "--test", str(TEST), "--validation", "0",
                              "--epochs", "1", "--batch-size", "16", "-o", output, *options)


def check_network(programs, case):
    rows = slice(-60, None)
    compare_with_runtime(programs, case.name, case.path, case.feeds(rows), theirs_of=case.runtime_model())
    still, tuned = programs.path("still.onnx"), programs.path("tuned.onnx")
    before, error = train(programs, case, still, "--learning-rate", "1e-30")
    after, error = (None, error) if error else train(programs, case, tuned, *case.options)
    if error:
        check(False, case.name, "kedge train: " + error)
        return
    check(after["test_loss"] < before["test_loss"], case.name, f"trained: test loss {before['test_loss']:.4f} -> {after['test_loss']:.4f}")
    onnx.checker.check_model(onnx.load(tuned), full_check=True)
    compare_with_runtime(programs, case.name + ", trained", tuned, case.feeds(rows))
