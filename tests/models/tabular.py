"""Models of tables, made here: scikit-learn through skl2onnx, XGBoost through onnxmltools, alone and behind scalers,
imputers and one-hot encoded texts."""
import json
import warnings

import numpy as np
import xgboost
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as XgboostFloat
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost as xgboost_converter
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes, calculate_linear_regressor_output_shapes
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (GradientBoostingClassifier, GradientBoostingRegressor, HistGradientBoostingClassifier,
                              HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

warnings.filterwarnings("ignore")
NUMBERS, TEXTS = ["age", "income", "score"], ["colour", "town"]
ROWS, TEST = 600, 200

update_registered_converter(xgboost.XGBClassifier, "XGBoostXGBClassifier", calculate_linear_classifier_output_shapes,
                            xgboost_converter, options={"nocl": [True, False], "zipmap": [True, False, "columns"]})
update_registered_converter(xgboost.XGBRegressor, "XGBoostXGBRegressor", calculate_linear_regressor_output_shapes, xgboost_converter)


class Case:
    """columns, rows (values and the label last) as `kedge` reads them; feeds as ONNX Runtime does; task: "binary", "three" or
    "value". trained: the model has weights that kedge trains. wanted: probabilities or values of the library itself."""

    def __init__(self, name, model, columns, rows, feeds, task, trained, wanted=None):
        self.name, self.model, self.columns, self.rows, self.feeds = name, model, columns, rows, feeds
        self.task, self.trained, self.wanted = task, trained, wanted


def make_table(task, seed=1):
    """numbers [n, 3] with NaN in one column in seven, texts [n, 2], target."""
    random = np.random.RandomState(seed)
    numbers = (random.randn(ROWS, 3) * [10, 2000, 1] + [40, 30000, 0]).astype(np.float32)
    texts = np.column_stack([random.choice(["red", "green", "blue"], ROWS), random.choice(["Aa", "Bee", "Cé"], ROWS)]).astype(object)
    z = (numbers - [40, 30000, 0]) / [10, 2000, 1]
    value = z[:, 0] + np.sin(2 * z[:, 1]) * z[:, 2] + (texts[:, 0] == "red") - (texts[:, 1] == "Bee")
    numbers[::7, 2] = np.nan
    if task == "value":
        return numbers, texts, (50 + 10 * value).astype(np.float32)
    return numbers, texts, np.digitize(value, [0.3] if task == "binary" else [-0.5, 0.8])


# --- behind a ColumnTransformer ------------------------------------------------------------------------------------------


ESTIMATORS = [  # name, classifier, regressor, trained by kedge
    ("linear model", lambda: LogisticRegression(C=0.1, max_iter=3), lambda: Ridge(3000), True),
    ("fitted linear model", lambda: LogisticRegression(C=0.02), lambda: Ridge(300), True),
    ("MLP", lambda: MLPClassifier((12,), max_iter=4, random_state=0), lambda: MLPRegressor(hidden_layer_sizes=(12,), max_iter=4, random_state=0), True),
    ("gradient boosting", lambda: GradientBoostingClassifier(n_estimators=30, random_state=0),
     lambda: GradientBoostingRegressor(n_estimators=30, random_state=0), False),
    ("histogram gradient boosting", lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0),
     lambda: HistGradientBoostingRegressor(max_iter=30, random_state=0), False),
    ("random forest", lambda: RandomForestClassifier(30, random_state=0), lambda: RandomForestRegressor(30, random_state=0), False),
    ("XGBoost", lambda: xgboost.XGBClassifier(n_estimators=30, max_depth=4), lambda: xgboost.XGBRegressor(n_estimators=30, max_depth=4),
     False),
]


def pipeline_case(name, estimator, task, trained, zipmap=False):
    numbers, texts, y = make_table(task)
    table = np.hstack([numbers.astype(object), texts])
    encode = ColumnTransformer([("n", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 2]),
                                ("t", OneHotEncoder(handle_unknown="ignore"), [3, 4])], sparse_threshold=0)
    pipeline = make_pipeline(encode, estimator).fit(table[:-TEST], y[:-TEST])
    types = [(c, FloatTensorType([None, 1])) for c in NUMBERS] + [(c, StringTensorType([None, 1])) for c in TEXTS]
    options = {id(pipeline): {"zipmap": zipmap}} if task != "value" else None
    model = to_onnx(pipeline, initial_types=types, options=options, target_opset={"": 17, "ai.onnx.ml": 3})
    texts[-1, 0] = "violet"  # unseen
    feeds = {c: numbers[-TEST:, i:i + 1] for i, c in enumerate(NUMBERS)} | {c: texts[-TEST:, i:i + 1] for i, c in enumerate(TEXTS)}
    rows = [[*map(float, a), *b, y_.item()] for a, b, y_ in zip(numbers, texts, y)]
    return Case(f"{name} behind columns, {task}{', ZipMap' if zipmap else ''}", model.SerializeToString(), NUMBERS + TEXTS + ["y"], rows,
                feeds, task, trained)


def pipeline_cases():
    for name, classifier, regressor, trained in ESTIMATORS:
        for task in ("binary", "three", "value"):
            yield pipeline_case(name, regressor() if task == "value" else classifier(), task, trained)
        yield pipeline_case(name, classifier(), "three", trained, zipmap=True)


# --- trees alone: NaN, values equal to thresholds, many trees ------------------------------------------------------------


def on_thresholds(numbers, thresholds):
    """Rows whose values are thresholds of the model (float32, both neighbours too), and NaN in every column."""
    random, rows = np.random.RandomState(9), numbers[-TEST:].copy()
    for column, found in enumerate(thresholds):
        if len(found) > 0:
            values = random.choice(np.asarray(found, np.float32), TEST)
            shift = random.randint(-1, 2, TEST)
            rows[:, column] = np.where(shift < 0, np.nextafter(values, np.float32(-np.inf)),
                                       np.where(shift > 0, np.nextafter(values, np.float32(np.inf)), values))
    rows[random.rand(*rows.shape) < 0.1] = np.nan
    return rows.astype(np.float32)


def xgboost_thresholds(booster):
    found = [[], [], []]

    def walk(node):
        if "split" in node:
            found[int(node["split"][1:])].append(node["split_condition"])
        for child in node.get("children", []):
            walk(child)

    for tree in booster.get_dump(dump_format="json"):
        walk(json.loads(tree))
    return found


def xgboost_case(task, trees, objective=None, **more):
    numbers, _, y = make_table(task, seed=2)
    options = dict(n_estimators=trees, max_depth=4, random_state=0, **({"objective": objective} if objective else {}), **more)
    model = (xgboost.XGBRegressor if task == "value" else xgboost.XGBClassifier)(**options).fit(numbers[:-TEST], y[:-TEST])
    onnx_model = convert_xgboost(model, initial_types=[("x", XgboostFloat([None, 3]))], target_opset=15)
    x = on_thresholds(numbers, xgboost_thresholds(model.get_booster()))
    wanted = model.predict(x).reshape(-1, 1) if task == "value" else model.predict_proba(x)
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(np.vstack([numbers[:-TEST], x]), y)]
    return Case(f"XGBoost alone, {task}, {trees} trees", onnx_model.SerializeToString(), NUMBERS + ["y"], rows, {"x": x}, task, False, wanted)


def unsplit_case():
    """All weights 0: ONNX Runtime, and the exporter with it, takes the base value for a probability."""
    case = xgboost_case("binary", 10, min_child_weight=1000)
    case.name = "XGBoost alone, binary, no split at all"
    return case


def histogram_case(task):
    numbers, _, y = make_table(task, seed=3)
    kind = HistGradientBoostingRegressor if task == "value" else HistGradientBoostingClassifier
    model = kind(max_iter=40, random_state=0).fit(numbers[:-TEST], y[:-TEST])
    onnx_model = to_onnx(model, numbers[:1], options={id(model): {"zipmap": False}} if task != "value" else None,
                         target_opset={"": 17, "ai.onnx.ml": 3})
    nodes = np.concatenate([tree.nodes for trees in model._predictors for tree in trees])
    inner = nodes[nodes["is_leaf"] == 0]
    x = on_thresholds(numbers, [inner["num_threshold"][inner["feature_idx"] == i] for i in range(3)])
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(np.vstack([numbers[:-TEST], x]), y)]
    return Case(f"histogram gradient boosting alone, {task}", onnx_model.SerializeToString(), NUMBERS + ["y"], rows, {"X": x}, task, False)


def forest_case(task):
    numbers, _, y = make_table(task, seed=4)
    numbers = np.nan_to_num(numbers)
    kind = RandomForestRegressor if task == "value" else RandomForestClassifier
    model = kind(60, random_state=0).fit(numbers[:-TEST], y[:-TEST])
    onnx_model = to_onnx(model, numbers[:1], options={id(model): {"zipmap": False}} if task != "value" else None,
                         target_opset={"": 17, "ai.onnx.ml": 3})
    trees = [t.tree_ for t in model.estimators_]
    x = np.nan_to_num(on_thresholds(numbers, [np.concatenate([t.threshold[t.feature == i] for t in trees]) for i in range(3)]))
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(np.vstack([numbers[:-TEST], x]), y)]
    return Case(f"random forest alone, {task}", onnx_model.SerializeToString(), NUMBERS + ["y"], rows, {"X": x}, task, False)


def tree_cases():
    for task in ("binary", "three", "value"):
        yield xgboost_case(task, 20)
        yield histogram_case(task)
        yield forest_case(task)
    yield unsplit_case()
    yield xgboost_case("binary", 500)
    yield xgboost_case("three", 170)
    yield xgboost_case("value", 500)


# --- models of doubles: thresholds and leaves as tensors -------------------------------------------------------------------


def double_case(name, model, task):
    """scikit-learn's own arrays are float64, and a model converted from one keeps its thresholds as doubles."""
    numbers, _, y = make_table(task, seed=6)
    numbers = np.nan_to_num(numbers).astype(np.float64)
    model.fit(numbers[:-TEST], y[:-TEST])
    onnx_model = to_onnx(model, numbers[:1], options={id(model): {"zipmap": False}} if task != "value" else None,
                         target_opset={"": 17, "ai.onnx.ml": 3})
    rows = [[*a, y_.item()] for a, y_ in zip(numbers, y)]
    return Case(f"{name} of doubles, {task}", onnx_model.SerializeToString(), NUMBERS + ["y"], rows, {"X": numbers[-TEST:]}, task, False)


def double_cases():
    """Only what ONNX Runtime takes: elsewhere it refuses the double outputs that the converter declares."""
    for task in ("binary", "three"):
        yield double_case("random forest", RandomForestClassifier(10, random_state=0), task)


# --- products in front of the layers ---------------------------------------------------------------------------------------


def union_case(name, estimator, task, zipmap=None):
    """Principal components beside scaled columns: the product of PCA is preprocessing and no layer."""
    numbers, _, y = make_table(task, seed=8)
    numbers = np.nan_to_num(numbers)
    model = make_pipeline(make_union(StandardScaler(), make_pipeline(MinMaxScaler(), PCA(2, whiten=True))), estimator)
    model.fit(numbers[:-TEST], y[:-TEST])
    onnx_model = to_onnx(model, numbers[:1], options={id(model): {"zipmap": zipmap}} if task != "value" else None,
                         target_opset={"": 17, "ai.onnx.ml": 3})
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(numbers, y)]
    return Case(f"{name} behind principal components, {task}", onnx_model.SerializeToString(), NUMBERS + ["y"], rows,
                {"X": numbers[-TEST:]}, task, True)


def union_cases():
    yield union_case("linear model", LogisticRegression(C=0.01, max_iter=3), "three", False)
    yield union_case("MLP", MLPClassifier((8,), max_iter=3, random_state=0), "binary", True)
    yield union_case("MLP", MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0), "value")


# --- support vectors -------------------------------------------------------------------------------------------------------


def support_vector_case(kernel, task):
    numbers, _, y = make_table(task, seed=7)
    numbers = np.nan_to_num(numbers)
    machine = SVR(kernel=kernel) if task == "value" else SVC(kernel=kernel, probability=True, random_state=0)
    model = make_pipeline(StandardScaler(), machine).fit(numbers[:-TEST], y[:-TEST])
    onnx_model = to_onnx(model, numbers[:1], options={id(model): {"zipmap": False}} if task != "value" else None,
                         target_opset={"": 17, "ai.onnx.ml": 3})
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(numbers, y)]
    return Case(f"support vectors, {kernel}, {task}", onnx_model.SerializeToString(), NUMBERS + ["y"], rows, {"X": numbers[-TEST:]}, task,
                False)


def support_vector_cases():
    for kernel in ("linear", "poly", "rbf", "sigmoid"):
        for task in ("binary", "three", "value"):
            yield support_vector_case(kernel, task)


# --- operator sets --------------------------------------------------------------------------------------------------------


def opset_cases():
    numbers, _, y = make_table("three")
    numbers = np.nan_to_num(numbers)
    network = make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=4, random_state=0)).fit(numbers[:-TEST], y[:-TEST])
    rows = [[*map(float, a), y_.item()] for a, y_ in zip(numbers, y)]
    for opset in range(9, 23):
        model = to_onnx(network, numbers[:1], options={id(network): {"zipmap": False}}, target_opset={"": opset, "ai.onnx.ml": 1})
        model.ir_version = 10
        yield Case(f"MLP, opset {opset}, IR 10", model.SerializeToString(), NUMBERS + ["y"], rows, {"X": numbers[-TEST:]}, "three", True)


def all_cases():
    for cases in (pipeline_cases, tree_cases, double_cases, union_cases, support_vector_cases, opset_cases):
        yield from cases()
