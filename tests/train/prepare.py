#!/usr/bin/env python3
"""kedge prepare's graphs in ONNX Runtime: for every transformation, what the arrays hold is what another runtime computes
from the raw rows, with missing, infinite, unseen and missing texts; parameters against NumPy and scikit-learn.

usage: prepare.py KEDGE OUT_FOLDER
"""
import datetime
import json
import math
import os
import random
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from sklearn.preprocessing import PowerTransformer, RobustScaler, StandardScaler, TargetEncoder

kedge, out = os.path.abspath(sys.argv[1]), sys.argv[2]
os.makedirs(out, exist_ok=True)
passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print(f"FAILED {name} {detail}", flush=True)


def run(*words, status=0):
    done = subprocess.run([kedge, *words], capture_output=True, text=True, cwd=out)
    check(f"kedge {' '.join(words)}: status {status}", done.returncode == status, done.stdout[-300:] + done.stderr[-300:])
    return done.stdout, done.stderr


# 1,200 rows; the last 300 are tested: there some texts are unseen and some numbers infinite
ROWS, TRAIN = 1200, 900
dice = random.Random(5)
rows = []
for i in range(ROWS):
    late = i >= TRAIN
    x = "" if i % 7 == 2 else "inf" if late and i % 9 == 0 else "-inf" if late and i % 9 == 1 else repr(round(dice.lognormvariate(0, 1.5), 4))
    z = "" if i % 11 == 4 else repr(round(dice.gauss(-3, 2), 5))
    t = "" if i % 13 == 1 else str(dice.randrange(-10**9, 2 * 10**9))
    c = "" if i % 17 == 3 else "São Paulo" if late and i % 5 == 0 else dice.choice(["oslo", "rome", "bonn, Rhein", "once" if i == 50 else "oslo"])
    d = dice.choice("SML")
    y = "yes" if dice.random() < {"oslo": .2, "rome": .7}.get(c, .5) else "no"
    rows.append((x, z, t, c, d, y))
columns = ["x", "z", "t", "c", "d"]
with open(f"{out}/d.csv", "w") as f:
    f.write(",".join(columns) + ",y\n" + "".join(",".join(f'"{v}"' if "," in v else v for v in r) + "\n" for r in rows))


def number(text):
    return float(text) if text else math.nan


def feed(session):
    """The raw rows as the graph's inputs."""
    inputs = {}
    for value in session.get_inputs():
        if value.name == "features":
            inputs[value.name] = np.array([[number(r[0]), number(r[1]), number(r[2])] for r in rows], np.float32)
            continue
        at = columns.index(value.name)
        if value.type == "tensor(string)":
            inputs[value.name] = np.array([[r[at]] for r in rows], object)
        else:
            seconds = value.type == "tensor(int64)"  # of which the least is missing
            cells = [[int(r[at] or -2**63)] if seconds else [number(r[at])] for r in rows]
            inputs[value.name] = np.array(cells, np.int64 if seconds else np.float32)
    return inputs


DROP = {name: f"{name}=drop" for name in columns}


def prepare(name, plan, exclude=""):
    """Arrays, report, and what ONNX Runtime makes of the rows."""
    used = {part.split("=")[0] for part in plan.split(",")}
    whole = ",".join([plan] + [DROP[c] for c in columns if c not in used and c not in exclude.split(",")])
    words = ["prepare", "--data", "d.csv", "--label", "y", "--validation", "0", "--test", "0.25", "--transform", whole, "--json",
             "-o", f"{name}.npz", "--model", f"{name}.onnx"] + (["--exclude", exclude] if exclude else [])
    report = json.loads(run(*words)[0])
    arrays = np.load(f"{out}/{name}.npz")
    onnx.checker.check_model(f"{out}/{name}.onnx", full_check=True)
    session = onnxruntime.InferenceSession(f"{out}/{name}.onnx", providers=["CPUExecutionProvider"])
    return arrays, report, session.run(None, feed(session))[0]


# name, plan, whether training rows have values of their own
CASES = [
    ("keep", "z=keep,t=keep"), ("mean", "z=mean"), ("median", "z=median"), ("constant", "z=constant:-1.5"), ("missing", "x=missing,z=missing"),
    ("winsorise", "x=winsorise:0.05,z=winsorise"), ("standard", "z=standard"), ("robust", "z=robust"),
    ("log", "x=winsorise:0+log,z=log"), ("yeo-johnson", "x=yeo-johnson,z=yeo-johnson+standard"),
    ("quantile", "x=quantile,z=quantile:5"), ("bins", "x=bins:6,z=bins"), ("calendar", "t=calendar,t=standard"),
    ("unseen", "c=unseen:30+one-hot"), ("one-hot", "c=one-hot,d=one-hot"), ("frequency", "c=frequency+standard"),
    ("target", "c=target:5,d=target"), ("product", "z*t=winsorise+standard"), ("cross", "c*d=one-hot,c*d=unseen:20+target"),
]
known = {}
for name, plan in CASES:
    arrays, report, theirs = known[name] = prepare(name, plan)
    ours = np.concatenate([arrays["X_train"], arrays["X_test"]])
    row = np.concatenate([arrays["row_train"], arrays["row_test"]])
    check(f"{name}: all rows, in order", len(row) == ROWS and (row == np.arange(ROWS)).all())
    own = "target" in plan
    compared = slice(TRAIN, None) if own else slice(None)
    missing = np.isnan(theirs[compared])
    worst = np.nanmax(np.abs(ours[compared] - theirs[compared]) / np.maximum(1, np.abs(theirs[compared])))
    check(f"{name}: ONNX Runtime agrees", (np.isfinite(theirs[compared]) | missing).all() and worst < 1e-5, f"{worst}")
    check(f"{name}: missing is missing", (missing == np.isnan(ours[compared])).all() and missing.any() == (name == "keep"))
    if own:
        check(f"{name}: training rows have out-of-fold values", (np.abs(ours[:TRAIN] - theirs[:TRAIN]) > 1e-7).any())
        check(f"{name}: near the map", np.abs(ours[:TRAIN] - theirs[:TRAIN]).max() < .2)
    check(f"{name}: names of columns", len(arrays["columns"]) == ours.shape[1] == report["output_columns"])
missing_cases = {name for name, _ in CASES}
rows_of_table = {line.split('"')[1] for line in open(os.path.join(os.path.dirname(__file__), "../../pipeline/transform_table.c"))
                 if line.startswith('  {"')}
check("every row of the table has a case", rows_of_table == missing_cases, f"{rows_of_table ^ missing_cases}")

# a matrix input where every column is a number
arrays, report, theirs = prepare("matrix", "z=standard", exclude="c,d")
check("numbers alone come as one matrix", np.abs(np.concatenate([arrays["X_train"], arrays["X_test"]]) - theirs).max() < 1e-6)


# parameters against other libraries
def steps(name, chain=0):
    return {s["name"]: s["parameters"] for s in known[name][1]["columns"][chain]["steps"]}


z = np.array([number(r[1]) for r in rows[:TRAIN]])
x = np.array([number(r[0]) for r in rows[:TRAIN]])
filled = np.where(np.isnan(z), np.nanmean(z), z).reshape(-1, 1)
check("mean", abs(steps("mean")["mean"]["value"] - np.nanmean(z)) < 1e-6)
check("median", abs(steps("median")["median"]["value"] - np.nanmedian(z)) < 1e-6)
scaler = StandardScaler().fit(filled)
check("standard", abs(steps("standard")["standard"]["scale"] - scaler.scale_[0]) < 1e-5)
scaler = RobustScaler().fit(filled)
check("robust", abs(steps("robust")["robust"]["scale"] - scaler.scale_[0]) < 1e-5)
for at, values in ((0, x), (1, z)):
    values = np.where(np.isnan(values), np.nanmean(values), values).reshape(-1, 1)
    power = PowerTransformer(standardize=False).fit(values)
    lam = steps("yeo-johnson", at)["yeo-johnson"]["lambda"]
    check("yeo-johnson: lambda as scikit-learn's", abs(lam - power.lambdas_[0]) < 1e-3, f"{lam} {power.lambdas_[0]}")
encoder = TargetEncoder(smooth=5.0).fit(np.array([[r[3]] for r in rows[:TRAIN]]), np.array([r[5] == "yes" for r in rows[:TRAIN]]))
mapped = known["target"][1]["columns"][0]["steps"][0]["map"]
check("target: as scikit-learn's", all(abs(mapped[c][0] - v) < 1e-6 for c, v in zip(encoder.categories_[0], encoder.encodings_[0])))

# what cannot be trained on is refused with row and column
_, problem = run("prepare", "--data", "d.csv", "--label", "y", "--transform", "t=drop,x=standard", "--test", "0.25", "-o", "no.npz", status=1)
check("an infinite number that nothing bounds is refused", "row 900" in problem and "infinite" in problem and "x.standard" in problem, problem)

# models with transformations
plan = "x=yeo-johnson+standard,c=target,t=calendar,c*d=target:5+standard,z=bins"
run("train", "--data", "d.csv", "--label", "y", "--split", "time", "--test", "0.25", "--transform", plan, "--epochs", "3", "-o", "m.onnx")
onnx.checker.check_model(f"{out}/m.onnx", full_check=True)
session = onnxruntime.InferenceSession(f"{out}/m.onnx", providers=["CPUExecutionProvider"])
label, probabilities = session.run(["label", "probabilities"], feed(session))
run("predict", "m.onnx", "d.csv", "-o", "m.csv")
with open(f"{out}/m.csv", encoding="utf-8") as f:
    ours = np.array([[float(v) for v in line.split(",")[-2:]] for line in f.readlines()[1:]])
check("a trained model: ONNX Runtime agrees", ours.shape == probabilities.shape and np.abs(ours - probabilities).max() < 1e-5)

# dates instead of seconds: the same rows, the same model
stamps = [r[:2] + ((datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(r[2]))).strftime("%Y-%m-%dT%H:%M:%SZ") if r[2] else "",) + r[3:]
          for r in rows]
with open(f"{out}/dates.csv", "w") as f:
    f.write(",".join(columns) + ",y\n" + "".join(",".join(f'"{v}"' if "," in v else v for v in r) + "\n" for r in stamps))
run("train", "--data", "dates.csv", "--label", "y", "--split", "time", "--test", "0.25", "--transform", plan, "--epochs", "3", "-o", "dates.onnx")
check("dates are seconds: the same model", open(f"{out}/dates.onnx", "rb").read() == open(f"{out}/m.onnx", "rb").read())
check("dates are seconds: the same predictions", run("predict", "m.onnx", "dates.csv")[0] == open(f"{out}/m.csv", encoding="utf-8").read())
profiles = [json.loads(run("profile", name, "--json")[0]) for name in ("d.csv", "dates.csv")]
kinds = [json.dumps([c for c in json.loads(json.dumps(p).replace("dates.csv", "d.csv")).items() if c[0] != "file"]) for p in profiles]
check("dates are seconds: the same profile", kinds[0] == kinds[1])
with open(f"{out}/broken.csv", "w") as f:
    f.write(open(f"{out}/dates.csv").read().replace(stamps[7][2], "soon", 1))
_, problem = run("predict", "m.onnx", "broken.csv", status=1)
check("a cell that is no date is named", 'broken.csv:9: column "t": "soon" is not a date' in problem, problem)
check("the graph takes int64 seconds", [i.type for i in session.get_inputs() if i.name == "t"] == ["tensor(int64)"])

# trees behind transformations: one graph, whose columns without a chain stay as they are, missing numbers too
plan = "x=winsorise+log,c=target,t=calendar,c*d=one-hot"
run("train", "--data", "d.csv", "--label", "y", "--split", "time", "--test", "0.25", "--arch", "trees:rounds=60,depth=3",
    "--transform", plan, "--monotone", "z=+1", "-o", "trees.onnx")
model = onnx.load(f"{out}/trees.onnx")
onnx.checker.check_model(model, full_check=True)
kinds = [node.op_type for node in model.graph.node]
check("trees: one graph", kinds.count("TreeEnsembleClassifier") == 1 and "LabelEncoder" in kinds and "Imputer" not in kinds[-3:], kinds)
plans = {p.key: p.value for p in model.metadata_props}["kedge.transform"]
check("trees: numbers without a chain are kept", {"columns": ["z"], "steps": ["keep"]} in json.loads(plans)["transform"], plans)
session = onnxruntime.InferenceSession(f"{out}/trees.onnx", providers=["CPUExecutionProvider"])
label, probabilities = session.run(["label", "probabilities"], feed(session))
run("predict", "trees.onnx", "d.csv", "-o", "trees.csv")
with open(f"{out}/trees.csv", encoding="utf-8") as f:
    ours = np.array([[float(v) for v in line.split(",")[-2:]] for line in f.readlines()[1:]])
check("trees behind transformations: ONNX Runtime agrees", ours.shape == probabilities.shape and np.abs(ours - probabilities).max() < 1e-5)
check("trees: they have learnt", len(np.unique(ours[:, 0].round(4))) > 20)
run("train", "--data", "d.csv", "--label", "y", "--from", "trees.onnx", "--split", "time", "--test", "0.25", "--arch", "trees:rounds=10",
    "-o", "more.onnx")
check("trees: continued, the transformations stay", "kedge.transform" in {p.key for p in onnx.load(f"{out}/more.onnx").metadata_props})

# quantiles and intervals of trees: one graph
for name, words in (("interval", ("--interval", "0.8")), ("quantile", ("--loss", "quantile", "--quantile", "0.2"))):
    run("train", "--data", "d.csv", "--label", "z", "--exclude", "x,y", "--arch", "trees:rounds=40,depth=3", "--validation", "0.2", *words,
        "-o", f"{name}.onnx")
    onnx.checker.check_model(f"{out}/{name}.onnx", full_check=True)
    session = onnxruntime.InferenceSession(f"{out}/{name}.onnx", providers=["CPUExecutionProvider"])
    outputs = dict(zip((o.name for o in session.get_outputs()), session.run(None, feed(session))))
    lines = run("predict", f"{name}.onnx", "d.csv")[0].splitlines()
    ours = dict(zip(lines[0].split(","), np.array([line.split(",") for line in lines[1:]], float).T))
    pairs = {"prediction": "value", "lower": "lower", "upper": "upper"} if name == "interval" else {"prediction": "value"}
    check(f"{name}: ONNX Runtime agrees", set(outputs) == set(pairs.values()) and
          all(np.abs(ours[a] - outputs[b][:, 0]).max() < 1e-5 for a, b in pairs.items()), (list(ours), list(outputs)))
known_z = ~np.isnan(z_all := np.array([number(r[1]) for r in rows]))
check("quantile: a fifth of the labels lies below", abs((z_all[known_z] < ours["prediction"][known_z]).mean() - .2) < .05)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
