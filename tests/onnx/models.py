"""The models that compare.py runs: scikit-learn's through skl2onnx, hand-made ones, the fixtures from PyTorch."""
import os
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")


class Case:
    """rows: values in schema order; feeds: the same for ONNX Runtime; expected(case): probabilities or values [n, c]."""

    def __init__(self, name, model, schema, rows, feeds, expected, decisions=None):
        self.name, self.model, self.schema, self.rows, self.feeds = name, model, schema, rows, feeds
        self.expected, self.decisions = expected, decisions


def run_session(model, feeds):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def same_output(a, b):
    if isinstance(a, list):
        return all(x.keys() == y.keys() and np.allclose(list(x.values()), list(y.values()), atol=1e-6) for x, y in zip(a, b))
    if a.dtype == object or a.dtype.kind in "US":
        return bool(np.all(a == b))
    return np.allclose(a, b, atol=1e-6, equal_nan=True)


def probabilities(case):
    """The probabilities of ONNX Runtime, columns in the order of the schema's classes."""
    found = run_session(case.model, case.feeds)[-1]
    if isinstance(found, list):
        return np.array([[row[key] for key in sorted(row)] for row in found])
    return found


def values(case):
    return np.asarray(run_session(case.model, case.feeds)[0]).reshape(len(case.rows), -1)


def schema_of(task, features, classes=(), positive=1):
    return {"task": task, "label": "y", "classes": [str(c) for c in classes], "positive": positive, "features": features}


def numeric_features(n):
    return [[f"x{i}", "numeric"] for i in range(n)]


def make_data(n, width, n_classes, seed):
    random = np.random.RandomState(seed)
    x = random.randn(n, width).astype(np.float32) * 2 + 1
    score = x @ random.randn(width, n_classes) + np.sin(3 * x[:, :1])
    return x, np.argmax(score, axis=1)


# --- scikit-learn ------------------------------------------------------------------------------------------------------


def sklearn_numeric(name, estimator, n_classes, zipmap, names=None, seed=0, opset=17):
    x, y = make_data(300, 6, n_classes, seed)
    y = np.array(names)[y] if names else y
    estimator.fit(x, y)
    options = {id(estimator): {"zipmap": zipmap}}
    model = to_onnx(estimator, x[:1], options=options, target_opset={"": opset, "ai.onnx.ml": 3}).SerializeToString()
    schema = schema_of("binary" if n_classes == 2 else "multiclass", numeric_features(6), estimator.classes_)
    rows = x[:100].astype(float).tolist()
    decisions = np.argmax(estimator.predict_proba(x[:100]), axis=1)
    label = f"{name}, {n_classes} classes, zipmap={zipmap}, opset {opset}"
    return Case(label, model, schema, rows, {"X": x[:100]}, probabilities, decisions)




def sklearn_regressor(name, estimator):
    x, _ = make_data(300, 5, 2, 3)
    y = (x[:, 0] * 2 - x[:, 1] + np.cos(x[:, 2])).astype(np.float32)
    estimator.fit(x, y)
    model = to_onnx(estimator, x[:1], target_opset={"": 17, "ai.onnx.ml": 3}).SerializeToString()
    return Case(name, model, schema_of("regression", numeric_features(5)), x[:60].astype(float).tolist(), {"X": x[:60]},
                values)


def mixed_case(zipmap, n_classes, missing):
    """One tensor per column: two numbers (scaled, imputed when `missing`), a text (one-hot), a whole number as text."""
    random = np.random.RandomState(5)
    n = 300
    age, income = random.randn(n, 1).astype(np.float32), (random.rand(n, 1) * 100).astype(np.float32)
    colour = random.choice(["red", "green", "blue"], (n, 1)).astype(object)
    if missing:
        age[::7] = np.nan
    table = np.hstack([age.astype(object), income.astype(object), colour])
    target = (np.nan_to_num(age[:, 0]) * 2 + (colour[:, 0] == "red") * 1.5 + income[:, 0] / 50)
    y = np.digitize(target, np.quantile(target, np.linspace(0, 1, n_classes + 1)[1:-1]))
    numbers = make_pipeline(SimpleImputer(), StandardScaler()) if missing else StandardScaler()
    columns = ColumnTransformer([("n", numbers, [0, 1]), ("t", OneHotEncoder(handle_unknown="ignore"), [2])])
    pipeline = make_pipeline(columns, MLPClassifier((16, 8), max_iter=120, random_state=0))
    pipeline.fit(table, y)
    types = [("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1])),
             ("eye_colour", StringTensorType([None, 1]))]
    model = to_onnx(pipeline, initial_types=types, options={id(pipeline): {"zipmap": zipmap}},
                    target_opset={"": 15, "ai.onnx.ml": 3}).SerializeToString()
    # another order and spelling than the model's inputs; an unseen category in row 3
    features = [["eye colour", "categorical"], ["age", "numeric"], ["income", "numeric"]]
    colour[3, 0] = "violet"
    rows = [[c, float(a), float(i)] for c, a, i in zip(colour[:80, 0], age[:80, 0], income[:80, 0])]
    feeds = {"age": age[:80], "income": income[:80], "eye_colour": colour[:80]}
    schema = schema_of("binary" if n_classes == 2 else "multiclass", features, range(n_classes))
    return Case(f"ColumnTransformer + MLP, {n_classes} classes, zipmap={zipmap}, missing={missing}", model, schema, rows,
                feeds, probabilities)


def sklearn_cases():
    mlp = lambda: make_pipeline(StandardScaler(), MLPClassifier((32, 16), max_iter=150, random_state=1))
    for n_classes in (2, 4):
        for zipmap in (True, False):
            yield sklearn_numeric("MLPClassifier", mlp(), n_classes, zipmap)
            yield sklearn_numeric("LogisticRegression", LogisticRegression(), n_classes, zipmap)
            yield mixed_case(zipmap, n_classes, False)
            yield mixed_case(zipmap, n_classes, True)
    for activation in ("tanh", "logistic", "identity"):
        net = MLPClassifier((8,), activation=activation, max_iter=100, random_state=1)
        yield sklearn_numeric("MLPClassifier " + activation, net, 3, False, ["low", "mid", "high"])
    for opset in (9, 11, 13, 18, 21):
        yield sklearn_numeric("MLPClassifier", mlp(), 3, False, ["no", "perhaps", "yes"], opset=opset)
    yield sklearn_numeric("OneVsRest", OneVsRestClassifier(LogisticRegression()), 3, False)
    yield sklearn_numeric("MinMaxScaler, Normalizer", make_pipeline(MinMaxScaler(), Normalizer(), LogisticRegression()), 3,
                          False)
    yield sklearn_numeric("RandomForest", RandomForestClassifier(12, max_depth=6, random_state=0), 3, False)
    yield sklearn_numeric("RandomForest", RandomForestClassifier(12, max_depth=6, random_state=0), 2, True)
    yield sklearn_numeric("GradientBoosting", GradientBoostingClassifier(n_estimators=20, random_state=0), 2, False)
    yield sklearn_numeric("GradientBoosting", GradientBoostingClassifier(n_estimators=20, random_state=0), 3, False)
    yield sklearn_regressor("MLPRegressor", make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=200, random_state=0)))
    yield sklearn_regressor("LinearRegression", LinearRegression())
    yield sklearn_regressor("RandomForestRegressor", RandomForestRegressor(8, max_depth=6, random_state=0))


# --- hand-made -------------------------------------------------------------------------------------------------------------


def graph_model(nodes, inputs, outputs, initialisers=(), opset=17, ml=3, ir=8):
    graph = helper.make_graph(nodes, "test", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in initialisers])
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid("ai.onnx.ml", ml)] if ml else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir).SerializeToString()


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def logits_case(name, last, output, n_columns, expected):
    random = np.random.RandomState(2)
    x = random.randn(20, 3).astype(np.float32)
    weights = random.randn(3, n_columns).astype(np.float32)
    bias = random.randn(n_columns).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["product"])] + last
    model = graph_model(nodes, [floats("x", ["N", 3])], [floats(output, ["N", n_columns])],
                        [("w", weights), ("b", bias)])
    logits = (x @ weights + bias).astype(float)
    task = schema_of("binary" if n_columns == 1 else "multiclass", numeric_features(3), range(max(n_columns, 2)))
    return Case(name, model, task, x.astype(float).tolist(), {"x": x}, lambda case: expected(logits))


def softmax(z):
    power = np.exp(z - z.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


def sigmoid_columns(z):
    p = 1 / (1 + np.exp(-z))
    return np.hstack([1 - p, p])


def linear_classifier_case(post_transform):
    """One score for two labels."""
    x = np.linspace(-2, 2, 24).reshape(12, 2).astype(np.float32)
    node = helper.make_node("LinearClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml",
                            coefficients=[0.7, -0.2], intercepts=[0.1], classlabels_ints=[0, 1], multi_class=0,
                            post_transform=post_transform)
    model = graph_model([node], [floats("x", ["N", 2])],
                        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]), floats("probabilities", ["N", 2])])
    # ONNX Runtime 1.22 leaves LOGISTIC out for a single score; ONNX says it is applied
    scores = (x @ np.array([[0.7], [-0.2]]) + 0.1).astype(float)
    return Case("LinearClassifier, one score, " + post_transform, model, schema_of("binary", numeric_features(2), [0, 1]),
                x.astype(float).tolist(), {"x": x}, lambda case: sigmoid_columns(scores))


def hand_cases():
    add = lambda out: [helper.make_node("Add", ["product", "b"], [out])]
    yield logits_case("logits from a last Add", add("scores"), "scores", 4, softmax)
    yield logits_case("one logit from a last Add", add("scores"), "scores", 1, sigmoid_columns)
    yield logits_case("an output named logits", add("sum") + [helper.make_node("Clip", ["sum"], ["my_Logits"])], "my_Logits",
                      4, softmax)
    yield logits_case("LogSoftmax", add("sum") + [helper.make_node("LogSoftmax", ["sum"], ["out"], axis=1)], "out", 4,
                      softmax)
    yield logits_case("one Sigmoid", add("sum") + [helper.make_node("Sigmoid", ["sum"], ["out"])], "out", 1, sigmoid_columns)
    yield linear_classifier_case("LOGISTIC")
    # Columns in another order than the schema's classes.
    x = np.array([[0.0], [1.0], [-3.0]], dtype=np.float32)
    node = helper.make_node("LinearClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml",
                            coefficients=[1.0, -1.0, 0.5], intercepts=[0.0, 0.1, 0.0],
                            classlabels_strings=["c", "a", "b"], post_transform="SOFTMAX")
    model = graph_model([node], [floats("x", ["N", 1])],
                        [helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]), floats("probabilities", ["N", 3])])
    yield Case("labels in another order", model, schema_of("multiclass", numeric_features(1), ["a", "b", "c"]),
               x.astype(float).tolist(), {"x": x}, lambda case: probabilities(case)[:, [1, 2, 0]])
    # One row built into the graph.
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["row"]), helper.make_node("MatMul", ["row", "w"], ["z"]),
             helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    weights = np.arange(6, dtype=np.float32).reshape(3, 2) / 4
    model = graph_model(nodes, [floats("x", ["N", 3])], [floats("p", ["N", 2])],
                        [("shape", np.array([1, 3], dtype=np.int64)), ("w", weights)])
    x = np.random.RandomState(0).randn(5, 3).astype(np.float32)
    case = Case("one row built in", model, schema_of("binary", numeric_features(3), [0, 1]), x.astype(float).tolist(),
                {"x": x[:1]}, lambda case: softmax((x @ weights).astype(float)))
    yield case


def fixture_cases(folder):
    """DIR/NAME.onnx with NAME.json: {"schema": …, "rows": …, "expected": …, "input": name}."""
    import json

    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".onnx"):
            continue
        if not os.path.exists(os.path.join(folder, name[:-5] + ".json")):
            continue  # images: no rows of a table
        about = json.load(open(os.path.join(folder, name[:-5] + ".json")))
        rows = np.array(about["rows"], dtype=np.float32)
        model = open(os.path.join(folder, name), "rb").read()
        yield Case("fixture " + name, model, about["schema"], about["rows"], {about["input"]: rows},
                   lambda case, expected=about["expected"]: expected)


def all_cases(fixtures):
    yield from sklearn_cases()
    yield from hand_cases()
    yield from fixture_cases(fixtures)


# --- refusals ----------------------------------------------------------------------------------------------------------------


def refusals():
    """(name, model, schema, texts that the message must hold)"""
    x, y = floats("x", ["N", 2]), floats("y", ["N", 2])
    schema = schema_of("binary", numeric_features(2), [0, 1])
    nodes = [helper.make_node("SequenceInsert", ["x", "x"], ["a"]), helper.make_node("RandomNormalLike", ["a"], ["b"]),
             helper.make_node("FFT", ["b"], ["y"], domain="com.example")]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), ir_version=8, opset_imports=[
        helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]).SerializeToString()
    yield "all unknown operators at once", model, schema, ["SequenceInsert", "RandomNormalLike", "com.example.FFT"]
    yield "a cycle", graph_model([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
                                  helper.make_node("Relu", ["b"], ["y"])], [x], [y]), schema, ["Add", "'b'", "cycle"]
    yield "an unknown input", graph_model([helper.make_node("Add", ["x", "q"], ["y"])], [x], [y]), schema, ["Add", "'q'"]
    yield "a duplicate name", graph_model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])],
                                          [x], [y]), schema, ["'y'", "taken"]
    yield "opset 5", graph_model([helper.make_node("Relu", ["x"], ["y"])], [x], [y], opset=5), schema, ["operator set 5"]
    yield "opset 99", graph_model([helper.make_node("Relu", ["x"], ["y"])], [x], [y], opset=99), schema, ["operator set 99"]
    yield "IR 99", graph_model([helper.make_node("Relu", ["x"], ["y"])], [x], [y], ir=99), schema, ["IR version 99"]
    yield "arity", graph_model([helper.make_node("Relu", ["x", "x"], ["y"])], [x], [y]), schema, ["Relu", "inputs"]
    yield "shapes", graph_model([helper.make_node("MatMul", ["x", "w"], ["y"])], [x], [y],
                                [("w", np.ones((3, 2), np.float32))]), schema, ["MatMul", "[3,2]"]
    external = numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    external.ClearField("raw_data")
    external.data_location = TensorProto.EXTERNAL
    entry = external.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [external])
    yield "external data", helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17)]).SerializeToString(), schema, ["'w'", "another file"]
    softmax_node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    yield "rows that influence each other", graph_model([softmax_node], [x], [y]), schema, ["influence"]
    relu = helper.make_node("Relu", ["x"], ["y"])
    yield "no probabilities", graph_model([helper.make_node("Mul", ["x", "w"], ["y"])], [x], [y],
                                          [("w", np.full(2, 1e3, np.float32)),]), schema_of(
        "multiclass", numeric_features(2), [0, 1, 2]), ["float output [N, 3]", "'y'"]
    yield "too many columns", graph_model([relu], [floats("x", ["N", 3])], [y]), schema, ["'x'", "3 columns"]
    yield "too few columns", graph_model([relu], [floats("x", ["N", 1])], [y]), schema, ["x1"]
    zip_node = helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"])
    nodes = [helper.make_node("Softmax", ["x"], ["p"], axis=1), zip_node]
    maps = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    yield "other classes", graph_model(nodes, [x], [maps]), schema, ["cat, dog"]
