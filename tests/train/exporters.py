"""Fine-tunes models that scikit-learn (exported here) and PyTorch (fixtures) wrote, trains our own, and runs every result
in ONNX Runtime: it must agree with `kedge predict` within 1e-5, and fine-tuning must help on rows that it did not see.

usage: exporters.py KEDGE
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
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")
KEDGE = sys.argv[1]
FIXTURES = os.path.join(os.path.dirname(__file__), "..", "fixtures", "onnx")
failures = []
passed = 0


def check(good, name, what):
    global passed
    passed += bool(good)
    print(("ok    " if good else "FAILED"), name, what)
    if not good:
        failures.append(name)


def kedge(*arguments):
    result = subprocess.run([KEDGE, *arguments, "--json"], capture_output=True, text=True)
    report = json.loads(result.stdout or "{}")
    if result.returncode != 0:
        raise RuntimeError(report.get("error", result.stderr))
    return report


def write_csv(path, columns, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def run_onnx(path, columns, rows, texts):
    """The last output of a classifier (probabilities, as kedge sees them), the only one of a regression."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    features = [[value for value in row[:-1]] for row in rows]
    if len(inputs) == 1:
        feeds = {inputs[0].name: np.array(features, np.float32)}
    else:
        feeds = {}
        for i, column in enumerate(columns[:-1]):
            values = [[row[i]] for row in features]
            feeds[column] = np.array(values, object if column in texts else np.float32)
    output = session.run(None, feeds)[-1]
    if isinstance(output, list):
        output = np.array([[row[key] for key in sorted(row)] for row in output])
    return np.asarray(output, float).reshape(len(rows), -1)


def read_predictions(path):
    with open(path) as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("probability_")] or ["prediction"]
    return np.array([[float(row[name]) for name in names] for row in rows])


def compare(name, model, folder, columns, rows, texts, data):
    out = os.path.join(folder, "predictions.csv")
    kedge("predict", model, data, "--label", columns[-1], "-o", out)
    ours, theirs = read_predictions(out), run_onnx(model, columns, rows, texts)
    if theirs.shape[1] == 1 and ours.shape[1] == 2:
        theirs = np.hstack([1 - theirs, theirs])
    if theirs.min() < 0 and ours.shape[1] > 1:  # a model that ends in logits
        theirs = np.exp(theirs) / np.exp(theirs).sum(1, keepdims=True)
    difference = np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)))
    check(difference < 1e-5, name, f"differs from ONNX Runtime by {difference:.1e}")


def quality(model, data, label):
    report = kedge("evaluate", model, "--data", data, "--label", label)
    return report["accuracy"] if report["accuracy"] is not None else -report["rmse"]


def fine_tune(name, start, folder, columns, train, test, texts=()):
    data, fresh = os.path.join(folder, "train.csv"), os.path.join(folder, "test.csv")
    write_csv(data, columns, train)
    write_csv(fresh, columns, test)
    compare(name + " as exported", start, folder, columns, test, texts, fresh)
    tuned = os.path.join(folder, name + "_tuned.onnx")
    before = quality(start, fresh, columns[-1])
    kedge("train", "--from", start, "--data", data, "--label", columns[-1], "-o", tuned)
    after = quality(tuned, fresh, columns[-1])
    check(after > before, name, f"fine-tuned: {before:.4f} -> {after:.4f}")
    onnx.checker.check_model(onnx.load(tuned))
    compare(name + " fine-tuned", tuned, folder, columns, test, texts, fresh)


def from_scratch(name, folder, columns, train, test, texts=(), least=0.0):
    data, fresh = os.path.join(folder, "train.csv"), os.path.join(folder, "test.csv")
    write_csv(data, columns, train)
    write_csv(fresh, columns, test)
    model = os.path.join(folder, name + ".onnx")
    kedge("train", "--data", data, "--label", columns[-1], "-o", model)
    onnx.checker.check_model(onnx.load(model))
    reached = quality(model, fresh, columns[-1])
    check(reached >= least, name, f"trained from scratch: {reached:.4f}")
    compare(name, model, folder, columns, test, texts, fresh)


def numbers(n, seed, label):
    """Rows of four numbers and a label computed from them."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=(n, 4)) * [1, 10, 0.1, 1] + [0, 100, 0, -3], 4)
    z = (x - [0, 100, 0, -3]) / [1, 10, 0.1, 1]
    return x, label(z)


def binary(z):
    return (np.sin(2 * z[:, 0]) + z[:, 1] > 0).astype(int)


def three(z):
    return np.array(["left", "middle", "right"])[np.digitize(z[:, 0] + z[:, 1] * z[:, 2], [-0.5, 0.5])]


def value(z):
    return 50 + 10 * (z[:, 0] + np.sin(z[:, 1]))


def rows_of(x, y):
    return [list(map(float, row)) + [label.item() if hasattr(label, "item") else label] for row, label in zip(x, y)]


def sklearn_models(folder):
    columns = ["a", "b", "c", "d", "y"]
    for name, label, network in [
        ("sklearn_relu", binary, MLPClassifier((16, 8), max_iter=3, random_state=0)),
        ("sklearn_tanh", binary, MLPClassifier((16,), activation="tanh", max_iter=3, random_state=0)),
        ("sklearn_logistic", three, MLPClassifier((16,), activation="logistic", max_iter=3, random_state=0)),
        ("sklearn_identity", binary, MLPClassifier((), activation="identity", max_iter=3, random_state=0)),
        ("sklearn_regressor", value, MLPRegressor(hidden_layer_sizes=(16,), max_iter=3, random_state=0)),
    ]:
        x, y = numbers(2000, 1, label)
        fresh, fresh_y = numbers(1000, 2, label)
        model = make_pipeline(StandardScaler(), network).fit(x, y)
        options = {"zipmap": False} if label is not value and name != "sklearn_tanh" else None
        path = os.path.join(folder, name + ".onnx")
        with open(path, "wb") as file:
            file.write(to_onnx(model, x[:1].astype(np.float32), options=options).SerializeToString())
        fine_tune(name, path, folder, columns, rows_of(x, y), rows_of(fresh, fresh_y))


def mixed_rows(n, seed):
    random = np.random.default_rng(seed)
    x, colours = random.normal(size=n), random.choice(["red", "green", "blue"], size=n)
    y = (x + (colours == "red") - (colours == "blue") > 0.2).astype(int)
    return [[round(float(a), 4), str(c), int(label)] for a, c, label in zip(x, colours, y)]


def sklearn_columns(folder):
    columns, train, test = ["x", "colour", "y"], mixed_rows(2000, 3), mixed_rows(1000, 4)
    table = np.array([row[:-1] for row in train], object)
    encode = ColumnTransformer([("n", StandardScaler(), [0]), ("c", OneHotEncoder(handle_unknown="ignore"), [1])])
    model = make_pipeline(encode, MLPClassifier((16,), max_iter=1, random_state=0)).fit(table, [row[-1] for row in train])
    path = os.path.join(folder, "sklearn_columns.onnx")
    types = [("x", FloatTensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    with open(path, "wb") as file:
        file.write(to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString())
    fine_tune("sklearn_columns", path, folder, columns, train, test, texts=["colour"])
    from_scratch("own_columns", folder, columns, train, test, texts=["colour"], least=0.95)


def own_models(folder):
    columns = ["a", "b", "c", "d", "y"]
    for name, label, least in [("own_binary", binary, 0.94), ("own_three", three, 0.9), ("own_value", value, -2)]:
        from_scratch(name, folder, columns, rows_of(*numbers(2000, 5, label)), rows_of(*numbers(1000, 6, label)), least=least)


# Gelu written out in five nodes (opset below 20), with BatchNormalization and Dropout in training mode.
REFUSED = {"torch_rich_training": "Mul node"}


def refuse(name, start, data, label):
    try:
        kedge("train", "--from", start, "--data", data, "--label", label, "-o", os.devnull)
        check(False, name, "was not refused")
    except RuntimeError as error:
        check(REFUSED[name] in str(error), name, f"refused: {error}")


def torch_models(folder):
    names = sorted(name[:-5] for name in os.listdir(FIXTURES) if name.startswith("torch_") and name.endswith(".onnx"))
    check(len(names) > 0, "torch", f"{len(names)} fixtures")
    for name in names:
        with open(os.path.join(FIXTURES, name + ".json")) as file:
            schema = json.load(file)["schema"]
        random, n = np.random.default_rng(7), len(schema["features"])
        classes = schema["classes"]

        def rows(count):
            x = np.round(random.normal(size=(count, n)), 4)
            score = x[:, 0] - x[:, 1]
            y = score if not classes else np.array(classes)[np.digitize(score, np.linspace(-1, 1, len(classes) + 1)[1:-1])]
            return rows_of(x, y)

        columns = [feature for feature, _ in schema["features"]] + [schema["label"]]
        if name in REFUSED:
            write_csv(os.path.join(folder, "train.csv"), columns, rows(200))
            refuse(name, os.path.join(FIXTURES, name + ".onnx"), os.path.join(folder, "train.csv"), schema["label"])
            continue
        fine_tune(name, os.path.join(FIXTURES, name + ".onnx"), folder, columns, rows(2000), rows(1000))


with tempfile.TemporaryDirectory() as temporary:
    for part in (sklearn_models, sklearn_columns, own_models, torch_models):
        try:
            part(temporary)
        except Exception as error:  # one exporter's failure must not hide the others'
            check(False, part.__name__, repr(error))
print(f"{passed} passed, {len(failures)} failed")
sys.exit(1 if failures else 0)
