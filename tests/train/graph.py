"""Models of PyTorch (fixtures) and scikit-learn (exported here) are fine-tuned on their graphs for one epoch: the loss on
rows that only measure falls, the exported file passes ONNX's full check, and ONNX Runtime's outputs give the same loss.

usage: graph.py KEDGE
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")
KEDGE = sys.argv[1]
FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures", "onnx")
TEST = 0.25
passed = failed = 0


def check(good, name, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok    " if good else "FAILED", name, what, flush=True)


def train(start, data, output, *options):
    done = subprocess.run([KEDGE, "train", "--from", start, "--data", data, "--label", "y", "--test", str(TEST), "--validation", "0",
                           "--epochs", "1", "--json", "-o", output, *options], capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if done.returncode != 0:
        raise RuntimeError(report.get("error", done.stderr))
    return report


def run_onnx(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x.astype(np.float32)})
    return np.asarray([o for o in outputs if np.asarray(o).dtype == np.float32][-1], float)


def loss_of(outputs, y, classes):
    """Cross-entropy of logits, log-probabilities or probabilities, binary of one column, squared error in standard deviations."""
    if not classes:
        return np.mean((outputs.reshape(-1) - y) ** 2)
    if outputs.shape[1] == 1:
        p = outputs[:, 0]
        p = p if p.min() >= 0 and p.max() <= 1 else 1 / (1 + np.exp(-p))
        return -np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))
    if outputs.min() < 0:
        outputs = np.exp(outputs - outputs.max(1, keepdims=True))
        outputs /= outputs.sum(1, keepdims=True)
    return -np.mean(np.log(outputs[np.arange(len(y)), y.astype(int)]))


def fine_tune(name, start, folder, x, y, classes, *options):
    data, still, tuned = (os.path.join(folder, name + end) for end in (".npz", "_still.onnx", "_tuned.onnx"))
    np.savez(data, x=x.astype(np.float32), y=y)
    try:
        before = train(start, data, still, "--learning-rate", "1e-30", *options)
        after = train(start, data, tuned, *options)
    except RuntimeError as error:
        check(False, name, str(error))
        return
    check(after["test_loss"] < before["test_loss"], name, f"test loss {before['test_loss']:.4f} -> {after['test_loss']:.4f}")
    model = onnx.load(tuned)
    onnx.checker.check_model(model, full_check=True)
    n = round(len(y) * TEST)
    scale = 1 if classes else np.std(y[:-n]) ** 2
    theirs = loss_of(run_onnx(tuned, x[-n:]), y[-n:], classes) / scale
    difference = abs(theirs - after["test_loss"]) / max(1, abs(theirs))
    check(difference < 1e-5, name, f"ONNX Runtime's loss differs by {difference:.1e}")


def torch_fixtures(folder):
    random = np.random.default_rng(3)
    for path in sorted(glob.glob(os.path.join(FIXTURES, "torch_*.onnx")) + glob.glob(os.path.join(FIXTURES, "image_*.onnx"))):
        name = os.path.splitext(os.path.basename(path))[0]
        model = onnx.load(path)
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
        n = 1000 if len(dims) == 1 else 400
        x = 0.4 * random.normal(size=(n, *dims))  # no output so sure that float32 probabilities have no logarithm
        output = run_onnx(path, x[:2])
        regression, width = "regression" in name, output.reshape(2, -1).shape[1]
        if len(dims) == 1:
            score = x[:, 0] + x[:, 1]
            y = score if regression else np.digitize(score, np.quantile(score, np.arange(1, max(width, 2)) / max(width, 2)))
        else:  # a bright stripe, whose place is the class
            y = random.integers(0, width, n)
            for image, label in zip(x, y):
                image[:, label * dims[1] // width:(label * dims[1] // width) + 2, :] += 1
        fine_tune(name, path, folder, x, y, not regression, "--batch-size", "16")


def sklearn_models(folder):
    random = np.random.default_rng(4)
    x = random.normal(size=(2000, 4)) * [1, 10, 0.1, 1] + [0, 100, 0, -3]
    z = (x - [0, 100, 0, -3]) / [1, 10, 0.1, 1]
    for name, y, network in [("sklearn_classifier", (np.sin(2 * z[:, 0]) + z[:, 1] > 0).astype(int), MLPClassifier((16, 8), max_iter=3, random_state=0)),
                             ("sklearn_three", np.digitize(z[:, 0] + z[:, 1] * z[:, 2], [-0.5, 0.5]), MLPClassifier((16,), max_iter=3, random_state=0)),
                             ("sklearn_regressor", 5 + z[:, 0] + np.sin(z[:, 1]), MLPRegressor(hidden_layer_sizes=(16,), max_iter=3, random_state=0))]:
        model = make_pipeline(StandardScaler(), network).fit(x[:1500], y[:1500])
        path = os.path.join(folder, name + ".onnx")
        with open(path, "wb") as file:
            file.write(to_onnx(model, x[:1].astype(np.float32), options={"zipmap": False} if "regressor" not in name else None).SerializeToString())
        fine_tune(name, path, folder, x, y, "regressor" not in name)


with tempfile.TemporaryDirectory() as folder:
    torch_fixtures(folder)
    sklearn_models(folder)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
