"""Holds `kedge evaluate` to scikit-learn on random and degenerate rows, and calibrated models (scikit-learn's exported
ones and ours) to onnx.checker and ONNX Runtime.

usage: evaluate.py KEDGE
"""
import csv
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn import metrics
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from world import Checks  # noqa: E402

warnings.filterwarnings("ignore")
KEDGE = os.path.abspath(sys.argv[1])
check = Checks()


def kedge(*arguments):
    done = subprocess.run([KEDGE, *arguments, "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if done.returncode != 0:
        raise RuntimeError(report.get("error", done.stderr))
    return report


def write_csv(path, columns, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


# --- figures -----------------------------------------------------------------------------------------------------------
def echo_model(path, n, classes):
    """A model whose outputs are its inputs."""
    name = "probabilities" if classes else "value"
    graph = helper.make_graph([helper.make_node("Identity", ["x"], [name])], "echo",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", n])],
                              [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    schema = {"task": "regression" if not classes else "binary" if n == 2 else "multiclass", "label": "y", "classes": classes,
              "features": [{"name": f"p{i}", "kind": "numeric"} for i in range(n)]}
    helper.set_model_props(model, {"kedge.schema": json.dumps(schema)})
    onnx.save(model, path)


def ece(confidence, outcome, bins=15, mass=False):
    """By its definition, apart from kedge's own code."""
    order = np.argsort(confidence, kind="stable")
    c, o = confidence[order], outcome[order]
    bin_of = np.floor(np.arange(len(c)) * bins / len(c)) if mass else np.clip(np.ceil(c * bins) - 1, 0, bins - 1)
    for i in range(1, len(c)):
        if mass and c[i] == c[i - 1]:
            bin_of[i] = bin_of[i - 1]
    return sum(abs(o[bin_of == b].mean() - c[bin_of == b].mean()) * (bin_of == b).mean() for b in np.unique(bin_of))


def undefined(value):
    return value is None or np.isnan(value)


def same(name, got, expected):
    good = undefined(expected) if got is None else not undefined(expected) and abs(got - expected) <= 1e-6 * max(1, abs(expected))
    check(name, good, f": kedge {got}, scikit-learn {expected}")


def expected_classes(p, y):
    n = p.shape[1]
    decided = p.argmax(1)
    labels = range(n)
    result = {"accuracy": metrics.accuracy_score(y, decided), "balanced_accuracy": metrics.balanced_accuracy_score(y, decided),
              "log_loss": metrics.log_loss(y, np.clip(p, 1e-7, 1).astype(float), labels=labels) if (p.sum(1) == 1).all() else
              -np.log(np.clip(p[np.arange(len(y)), y].astype(float), 1e-7, 1)).mean(),
              "macro_f1": metrics.f1_score(y, decided, labels=labels, average="macro", zero_division=np.nan),
              "brier": ((p.astype(float) - np.eye(n)[y]) ** 2).sum(1).mean() / (2 if n == 2 else 1)}
    confidence, outcome = (p[:, 1], y == 1) if n == 2 else (p.max(1), decided == y)
    result["ece"] = ece(confidence.astype(float), outcome.astype(float))
    result["ece_equal_mass"] = ece(confidence.astype(float), outcome.astype(float), mass=True)
    if n == 2:
        both = len(set(y)) == 2
        result |= {"auc": metrics.roc_auc_score(y, p[:, 1]) if both else None,
                   "average_precision": metrics.average_precision_score(y, p[:, 1]) if (y == 1).any() else None,
                   "precision": metrics.precision_score(y, decided, zero_division=np.nan),
                   "recall": metrics.recall_score(y, decided, zero_division=np.nan),
                   "f1": metrics.f1_score(y, decided, zero_division=np.nan)}
        if both:
            same("Brier is scikit-learn's", result["brier"], metrics.brier_score_loss(y, p[:, 1]))
    return result


def compare_classes(name, folder, p, y, n):
    p = np.round(p, 6).astype(np.float32)
    model, data = os.path.join(folder, "echo.onnx"), os.path.join(folder, "echo.csv")
    echo_model(model, n, [f"c{k}" for k in range(n)])
    write_csv(data, [f"p{k}" for k in range(n)] + ["y"], [[*map(str, row), f"c{label}"] for row, label in zip(p, y)])
    report = kedge("evaluate", model, "--data", data, "--label", "y")
    for key, value in expected_classes(p, y).items():
        same(f"{name}: {key}", report[key], value)
    decided = p.argmax(1)
    check(f"{name}: confusion", report["confusion"] == metrics.confusion_matrix(y, decided, labels=range(n)).tolist())
    precision, recall, f1, support = metrics.precision_recall_fscore_support(y, decided, labels=range(n), zero_division=np.nan)
    for k, item in enumerate(report["classes"]):
        same(f"{name}: precision of class {k}", item["precision"], precision[k])
        same(f"{name}: recall of class {k}", item["recall"], recall[k])
        same(f"{name}: F1 of class {k}", item["f1"], f1[k])
        check(f"{name}: rows of class {k}", item["rows"] == support[k] and item["decided"] == (decided == k).sum())
        single = len(set(y == k)) == 1
        same(f"{name}: AUC of class {k}", item["auc"], None if single else metrics.roc_auc_score(y == k, p[:, k]))
    check(f"{name}: bins hold all rows", sum(b["rows"] for b in report["reliability"]) == len(y)
          and sum(b["rows"] for b in report["reliability_equal_mass"]) == len(y))


def classes(folder):
    random = np.random.default_rng(1)

    def pair(p):
        return np.stack([1 - p, p], 1)

    p = random.uniform(size=500)
    compare_classes("random", folder, pair(p), (random.uniform(size=500) < p).astype(int), 2)
    tied = random.integers(0, 5, 300) / 4
    compare_classes("ties", folder, pair(tied), (random.uniform(size=300) < tied).astype(int), 2)
    rare = random.uniform(size=1000) ** 4
    compare_classes("rare", folder, pair(rare), (random.uniform(size=1000) < .1 * rare).astype(int), 2)
    compare_classes("one class", folder, pair(random.uniform(size=40)), np.zeros(40, int), 2)
    compare_classes("only positives", folder, pair(random.uniform(size=40)), np.ones(40, int), 2)
    compare_classes("constant", folder, pair(np.full(50, .25)), np.array([0, 1] * 25), 2)
    compare_classes("one row", folder, pair(np.array([.9])), np.array([1]), 2)
    y = random.integers(0, 2, 60)
    compare_classes("perfect", folder, pair(y.astype(float)), y, 2)
    four = random.dirichlet(np.ones(4), 600)
    compare_classes("four classes", folder, four, np.array([random.choice(4, p=row) for row in four]), 4)
    compare_classes("a class without rows", folder, four[:100], random.integers(0, 3, 100), 4)


def compare_values(name, folder, predicted, y):
    predicted, y = predicted.astype(np.float32), y.astype(np.float32)
    model, data = os.path.join(folder, "echo.onnx"), os.path.join(folder, "echo.csv")
    echo_model(model, 1, [])
    write_csv(data, ["p0", "y"], [[str(a), str(b)] for a, b in zip(predicted, y)])
    report = kedge("evaluate", model, "--data", data, "--label", "y")
    a, b = predicted.astype(float), y.astype(float)
    varies = len(set(y)) > 1
    for key, value in {"mae": metrics.mean_absolute_error(b, a), "rmse": metrics.root_mean_squared_error(b, a),
                       "median_absolute_error": metrics.median_absolute_error(b, a),
                       "r2": metrics.r2_score(b, a) if varies else None,
                       "mape": None if (b == 0).any() else metrics.mean_absolute_percentage_error(b, a)}.items():
        same(f"{name}: {key}", report[key], value)


def values(folder):
    random = np.random.default_rng(2)
    y = random.normal(100, 20, 401)
    compare_values("values", folder, y + random.normal(size=401), y)
    compare_values("a constant label", folder, random.normal(size=50), np.full(50, .1))
    compare_values("labels of zero", folder, random.normal(size=50), np.arange(50.) - 10)
    compare_values("one value", folder, np.array([1.5]), np.array([2.5]))


# --- calibrated models -------------------------------------------------------------------------------------------------
def run_both(name, path, data, x, schema_classes):
    """onnx.checker, then kedge's labels and probabilities against ONNX Runtime's."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, {session.get_inputs()[0].name: x})))
    kedge("predict", path, data, "-o", path + ".csv", "--label", "y")
    with open(path + ".csv") as file:
        rows = list(csv.DictReader(file))
    labels = next(v for v in outputs.values() if v.ndim == 1)
    probabilities = next(v for v in outputs.values() if v.ndim == 2)
    got = np.array([[float(row[f"probability_{c}"]) for c in schema_classes] for row in rows])
    check(f"{name}: probabilities are ONNX Runtime's", abs(got - probabilities).max() < 1e-4, f": {abs(got - probabilities).max()}")
    unequal = sum(row["prediction"] != str(label) for row, label in zip(rows, labels))
    check(f"{name}: labels are ONNX Runtime's", unequal == 0, f": {unequal} differ")
    return outputs


def calibrated(folder):
    fits = {"naive Bayes": (GaussianNB(), 2, False), "forest, ZipMap": (RandomForestClassifier(20, random_state=1), 3, True),
            "logistic": (LogisticRegression(), 3, False), "MLP, texts": (MLPClassifier((8,), random_state=1, max_iter=60), 2, False)}
    for name, (model, n, zipmap) in fits.items():
        x, y = make_classification(3000, 8, n_informative=5, n_redundant=3, n_classes=n, random_state=3, flip_y=.2)
        x = np.round(x, 4).astype(np.float32)
        names = np.array([f"class {k}" for k in range(n)] if "texts" in name else range(n))
        model.fit(x[:1000], names[y[:1000]])
        options = {type(model): {"zipmap": zipmap}}
        path = os.path.join(folder, "model.onnx")
        onnx.save(to_onnx(model, initial_types=[("x", FloatTensorType([None, 8]))], options=options, target_opset=17), path)
        fit, rest = os.path.join(folder, "fit.csv"), os.path.join(folder, "rest.csv")
        columns = [f"x{i}" for i in range(8)] + ["y"]
        for file, part in ((fit, slice(1000, 2000)), (rest, slice(2000, None))):
            write_csv(file, columns, [[*map(str, row), label] for row, label in zip(x[part], names[y[part]])])
        before = kedge("evaluate", path, "--data", rest, "--label", "y")
        for method in ("temperature", "isotonic", *(["platt"] if n == 2 else [])):
            out = os.path.join(folder, "calibrated.onnx")
            rule = ["--threshold", "f2"] if n == 2 else []
            kedge("train", "--from", path, "--calibrate-only", "--calibrate", method, *rule, "--data", fit, "--label", "y", "-o", out)
            outputs = run_both(f"{name}, {method}", out, rest, x[2000:], names)
            original = [o.name for o in onnx.load(path).graph.output]
            check(f"{name}, {method}: outputs keep their names", list(outputs) == original, f": {list(outputs)}, {original}")
            after = kedge("evaluate", out, "--data", rest, "--label", "y")
            check(f"{name}, {method}: log-loss does not grow", after["log_loss"] < before["log_loss"] + .01,
                  f": {before['log_loss']}, {after['log_loss']}")
            if n == 2:
                check(f"{name}, {method}: the threshold finds more positives", after["recall"] > before["recall"] - .02)


with tempfile.TemporaryDirectory() as temporary:
    for part in (classes, values, calibrated):
        try:
            part(temporary)
        except Exception as error:  # one part's failure must not hide the others'
            check(f"{part.__name__}: {error!r}", False)
check.report()
