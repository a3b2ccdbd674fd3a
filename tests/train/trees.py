"""Boosted trees beside XGBoost's own Python package (1.7.4, every parameter set equal) and ONNX Runtime.

Real data, in time order, the first 70 % train: the AUC on the last 30 % is XGBoost's within half a point. Made-up data: the
same probabilities (1e-6) of two classes, of several, and values (5e-5 standard deviations); then, in every one of 500 trees, the same leaf for every row,
with missing numbers and numbers that are equal to a threshold, in kedge, ONNX Runtime and XGBoost.

usage: trees.py KEDGE DATA_FOLDER
"""
import csv
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import xgboost

KEDGE, DATA = sys.argv[1:3]
ROUNDS, DEPTH, ETA, SEED = 300, 6, 0.1, 1
LEAF_BASE = 128  # more than the leaves of a tree of depth 6
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok    " if good else "FAILED", what, flush=True)


def run(*words):
    done = subprocess.run([KEDGE, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def train(data, label, output, rounds=ROUNDS, depth=DEPTH, *options):
    return json.loads(run("train", "--data", data, "--label", label, "--arch", f"trees:rounds={rounds},depth={depth},eta={ETA}",
                          "--validation", "0", "--seed", str(SEED), "--json", "-o", output, *options))


def boost(x, y, objective, rounds=ROUNDS, depth=DEPTH, **more):
    """XGBoost with every parameter that kedge has, named."""
    base = 0.0 if objective == "multi:softprob" else float(np.float32(np.mean(y)))
    parameters = {"objective": objective, "base_score": base, "booster": "gbtree", "tree_method": "hist", "max_depth": depth,
                  "eta": ETA, "subsample": 1, "colsample_bytree": 1, "lambda": 1, "alpha": 0, "gamma": 0, "min_child_weight": 1,
                  "max_bin": 256, "seed": SEED, "seed_per_iteration": True, "nthread": 1, "verbosity": 0, **more}
    return xgboost.train(parameters, xgboost.DMatrix(x, label=y), rounds)


def write_csv(path, names, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def write_numbers(path, x, y):
    names = [f"x{i}" for i in range(x.shape[1])] + ["y"]
    write_csv(path, names, ([("" if np.isnan(v) else repr(float(v))) for v in row] + [label] for row, label in zip(x, y)))


def auc(score, y):
    """Ties count one half."""
    values, inverse = np.unique(score, return_inverse=True)
    positive = np.bincount(inverse, weights=y, minlength=len(values))
    negative = np.bincount(inverse, weights=1 - y, minlength=len(values))
    below = np.concatenate([[0], np.cumsum(negative)[:-1]])
    return float(np.sum(positive * (below + negative / 2)) / (positive.sum() * negative.sum()))


# --- real data ---------------------------------------------------------------------------------------------------------


def as_number(text):
    return float(text) if text != "" else np.nan


def is_number(column):
    try:
        return all(text == "" or np.isfinite(float(text)) for text in column)
    except ValueError:
        return False


def matrix(names, rows, label, categories):
    """Numbers, then one-hot texts, in the order in which kedge's graph has them."""
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names) if name != label}
    parts = [[as_number(t) for t in column] for name, column in columns.items() if name not in categories]
    for name, column in columns.items():
        for category in categories.get(name, []):
            parts.append([1.0 if text == category else 0.0 for text in column])
    return np.array(parts, dtype=np.float32).T, np.array([float(row[names.index(label)]) for row in rows])


def real(folder, name, label):
    with open(os.path.join(DATA, name + ".csv"), newline="") as file:
        names, *rows = list(csv.reader(file))
    cut = len(rows) * 7 // 10
    first, last, model = (os.path.join(folder, name + end) for end in ("_first.csv", "_last.csv", ".onnx"))
    write_csv(first, names, rows[:cut])
    write_csv(last, names, rows[cut:])
    report = train(first, label, model)
    categories = {n: sorted({row[i] for row in rows[:cut]}) for i, n in enumerate(names)
                  if n != label and not is_number([row[i] for row in rows])}
    x, y = matrix(names, rows, label, categories)
    booster = boost(x[:cut], y[:cut], "binary:logistic")
    theirs = booster.predict(xgboost.DMatrix(x[cut:]))
    ours = json.loads(run("evaluate", model, "--data", last, "--label", label, "--json"))["auc"]
    reference = auc(theirs, y[cut:])
    check(abs(ours - reference) < 0.005,
          f"{name}: AUC on the last {len(rows) - cut} rows {ours:.6f}, XGBoost {reference:.6f} (difference {abs(ours - reference):.1e})")
    predicted = os.path.join(folder, name + "_predicted.csv")
    run("predict", model, last, "-o", predicted)
    with open(predicted, newline="") as file:
        p = np.array([float(row["probability_1"]) for row in csv.DictReader(file)])
    check(np.abs(p - theirs).max() < 1e-6, f"{name}: probabilities differ by {np.abs(p - theirs).max():.1e}")
    gains = booster.get_score(importance_type="gain")
    best = report["importance"][0]
    check(abs(best["gain"] - max(gains.values())) < 1e-4 * best["gain"], f"{name}: the largest gain, of {best['column']}, is XGBoost's")


# --- made-up data ------------------------------------------------------------------------------------------------------


def make(n, seed):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 8)).astype(np.float32)
    score = x[:, 0] + np.sin(2 * x[:, 1]) * x[:, 2] + 0.3 * random.normal(size=n)
    x[random.random(x.shape) < 0.1] = np.nan
    return x, score


def run_onnx(path, x):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x})
    return outputs if len(outputs) > 1 else outputs[0]


def made_up(folder):
    x, score = make(3000, 1)
    cases = [("two classes", (score > 0).astype(int), "binary:logistic", {}),
             ("four classes", np.digitize(score, [-1, 0, 1]), "multi:softprob", {"num_class": 4}),
             ("values", 50 + 10 * score, "reg:squarederror", {})]
    for name, y, objective, more in cases:
        data, model = os.path.join(folder, "m.csv"), os.path.join(folder, "m.onnx")
        y = y.astype(np.float32)
        write_numbers(data, x, y if objective == "reg:squarederror" else y.astype(int))
        train(data, "y", model)
        theirs = boost(x, y, objective, **more).predict(xgboost.DMatrix(x))
        outputs, bound = run_onnx(model, x), 1e-6
        if objective == "reg:squarederror":
            worst, bound = np.abs(outputs.reshape(-1) - theirs).max() / np.std(y), 5e-5  # 300 sums in single precision, around 50
        else:
            labels, p = outputs
            worst = np.abs((p[:, 1] if objective == "binary:logistic" else p) - theirs).max()
            check((labels == p.argmax(1)).all(), f"{name}: ONNX Runtime's label is the most probable class")
        check(worst < bound, f"{name}: ONNX Runtime's outputs are XGBoost's within {worst:.1e}")


def one_sided(folder):
    """No leaf below 0: ONNX Runtime takes such sums for probabilities, so a model must not be written that way."""
    random = np.random.default_rng(5)
    x = random.normal(size=(2000, 3)).astype(np.float32)
    few, more = (random.random(2000) < 0.93).astype(int), (random.random(2000) < np.where(x[:, 0] > 0, 0.97, 0.85)).astype(int)
    data, model, tuned = (os.path.join(folder, f) for f in ("one.csv", "one.onnx", "one_more.onnx"))
    for name, y, arch in [("no split at all", few, "trees:min_child_weight=100000,rounds=3"),
                          ("leaves above 0 only", more, "trees:scale_pos_weight=40,depth=1,rounds=2,patience=0")]:
        write_numbers(data, x, y)
        run("train", "--arch", arch, "--data", data, "--label", "y", "-o", model)
        _, p = run_onnx(model, x)
        ours = os.path.join(folder, "one.predictions.csv")
        run("predict", model, data, "--label", "y", "-o", ours)
        told = np.loadtxt(ours, delimiter=",", skiprows=1)[:, 1:]
        check(p.min() > 0 and p.max() < 1 and abs(p - told).max() < 1e-5, f"{name}: ONNX Runtime says {p[0, 1]:.4f}, kedge {told[0, 1]:.4f}")
        run("train", "--from", model, "--data", data, "--label", "y", "--epochs", "2", "-o", tuned)
        _, p = run_onnx(tuned, x)
        check(p.min() > 0 and p.max() < 1, f"{name}: boosting goes on from there")


def preorder(tree):
    """Numbers of XGBoost's nodes in the order in which kedge writes them."""
    todo, order = [0], []
    while todo:
        node = todo.pop()
        order.append(node)
        if tree["left_children"][node] != -1:
            todo += [tree["right_children"][node], tree["left_children"][node]]
    return order


def set_attribute(node, name, values):
    for i, attribute in enumerate(node.attribute):
        if attribute.name == name:
            del node.attribute[i]
            break
    node.attribute.append(onnx.helper.make_attribute(name, values))


def leaves(folder):
    """Weights are replaced by the leaf's number, three trees in one sum, which single precision holds exactly."""
    x, score = make(3000, 2)
    data, model, probe = (os.path.join(folder, name) for name in ("l.csv", "l.onnx", "probe.onnx"))
    y = (50 + 10 * score).astype(np.float32)
    write_numbers(data, x, y)
    train(data, "y", model, 500)
    booster = boost(x, y, "reg:squarederror", 500)
    trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    random = np.random.default_rng(3)
    rows = x[:600].copy()
    for tree in trees:  # numbers that are equal to a threshold, in every second row
        for column, threshold, left in zip(tree["split_indices"], tree["split_conditions"], tree["left_children"]):
            if left != -1:
                rows[2 * random.integers(len(rows) // 2), column] = threshold
    orders = [preorder(tree) for tree in trees]
    theirs = np.array([[order.index(leaf) for order, leaf in zip(orders, row)]
                       for row in booster.predict(xgboost.DMatrix(rows), pred_leaf=True).astype(int)])
    graph = onnx.load(model)
    node = next(n for n in graph.graph.node if n.op_type == "TreeEnsembleRegressor")
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    ids, numbers = np.array(given["target_treeids"]), np.array(given["target_nodeids"])
    set_attribute(node, "base_values", [0.0])
    data = os.path.join(folder, "rows.csv")
    write_numbers(data, rows, np.zeros(len(rows)))
    wrong_ours = wrong_theirs = 0
    for first in range(0, 500, 3):
        place = ids - first
        weights = np.where((place >= 0) & (place < 3), numbers * float(LEAF_BASE) ** np.clip(place, 0, 2), 0.0)
        set_attribute(node, "target_weights", [float(w) for w in weights])
        onnx.save(graph, probe)
        expected = sum(theirs[:, first + k].astype(np.int64) * LEAF_BASE ** k for k in range(min(3, 500 - first)))
        runtime = run_onnx(probe, rows).reshape(-1).astype(np.int64)
        run("predict", probe, data, "-o", os.path.join(folder, "out.csv"))
        with open(os.path.join(folder, "out.csv"), newline="") as file:
            ours = np.array([float(row["prediction"]) for row in csv.DictReader(file)]).astype(np.int64)
        wrong_ours += int((ours != expected).sum())
        wrong_theirs += int((runtime != expected).sum())
    missing = int(np.isnan(rows).sum())
    check(theirs.max() < LEAF_BASE and len(trees) == 500, "500 trees")
    check(wrong_ours == 0, f"kedge reaches XGBoost's leaf in 500 trees for {len(rows)} rows ({missing} numbers missing)")
    check(wrong_theirs == 0, f"ONNX Runtime reaches XGBoost's leaf in 500 trees for {len(rows)} rows")


with tempfile.TemporaryDirectory() as folder:
    made_up(folder)
    one_sided(folder)
    leaves(folder)
    for name, label in (("elec", "class"), ("compas", "two_year_recid")):
        if os.path.exists(os.path.join(DATA, name + ".csv")):
            real(folder, name, label)
        else:
            print(f"SKIP: {os.path.join(DATA, name + '.csv')} is not there")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
