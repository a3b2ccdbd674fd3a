"""Several labels a row: kedge train --label a,b,c; the graph in ONNX Runtime, the figures of kedge evaluate as scikit-learn's, and
what is refused. usage: labels.py KEDGE FOLDER. Ends in "N passed, N failed"."""
import csv
import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime
from sklearn import metrics

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from world import Checks  # noqa: E402

KEDGE, FOLDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
LABELS = ["a", "b", "c"]
check = Checks()
os.makedirs(FOLDER, exist_ok=True)
os.chdir(FOLDER)


def kedge(*words):
    return subprocess.run([KEDGE, *map(str, words)], capture_output=True, text=True)


def ask(*words):
    done = kedge(*words, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else sys.exit(done.stdout + done.stderr)


def refused(says, *words):
    done = kedge(*words)
    check(f"refused: {done.stderr.strip().splitlines()[-1]}", done.returncode == 1 and says in done.stderr, f" (wanted: {says})")


def write(path, names, columns):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([("" if np.isnan(v) else repr(float(v))) for v in row] for row in zip(*columns))


random = np.random.default_rng(3)
u, v, w = random.normal(size=(3, 3000)).astype(np.float32)
truth = np.array([u + v > 0, (2 * v - w > 0.5) ^ (random.random(3000) < 0.05), u > 1], dtype=float)
gaps = truth.copy()
gaps[1, 10:30] = np.nan
write("rows.csv", ["u", "v", "w", *LABELS], [u, v, w, *gaps])
train = ["train", "--data", "rows.csv", "--label", "a,b,c", "--arch", "mlp:16", "--dropout", 0, "--epochs", 20, "--seed", 1]

report = ask(*train, "-o", "m.onnx")
check("rows without one of the labels are skipped", report["rows_skipped"] == 20 and report["rows_train"] == 2682,
      f": {report}")
check("the mean accuracy of labels on validation rows", report["validation_metric"] > 0.93, f": {report['validation_metric']}")
session = onnxruntime.InferenceSession("m.onnx")
check("one output of a probability a label", [(o.name, o.shape[1]) for o in session.get_outputs()] == [("probabilities", 3)])
theirs = session.run(None, {"features": np.stack([u, v, w], axis=1)})[0]
ask("predict", "m.onnx", "rows.csv", "-o", "p.csv")
with open("p.csv", newline="") as file:
    rows = list(csv.DictReader(file))
ours = np.array([[float(row[f"probability_{name}"]) for name in LABELS] for row in rows])
check(f"ONNX Runtime's probabilities differ by {np.abs(ours - theirs).max():.1e}", np.abs(ours - theirs).max() < 1e-5)
decided = np.array([[float(row[name]) for name in LABELS] for row in rows])
check("a label is 1 above one half", np.array_equal(decided, ours > 0.5))
ask("predict", "m.onnx", "rows.csv", "-o", "p.npy")
check("the same in an .npy", np.abs(np.load("p.npy") - ours).max() < 1e-7)

report = ask("evaluate", "m.onnx", "--data", "rows.csv", "--label", "a,b,c")
wanted = []
for k, one in enumerate(report["labels"]):
    known = ~np.isnan(gaps[k])
    y, p = gaps[k][known], ours[known, k]
    wanted.append({"accuracy": np.mean((p > 0.5) == y), "auc": metrics.roc_auc_score(y, p),
                   "average_precision": metrics.average_precision_score(y, p), "log_loss": metrics.log_loss(y, np.clip(p, 1e-7, 1 - 1e-7))})
    check(f"{one['label']}: {one['rows']} rows, {one['positives']} of them 1",
          one["label"] == LABELS[k] and one["rows"] == known.sum() and one["positives"] == y.sum())
    for name, value in wanted[-1].items():
        check(f"{one['label']}: {name} {one[name]:.6f}, scikit-learn {value:.6f}", abs(one[name] - value) < 1e-5)
for name in wanted[0]:
    value = np.mean([one[name] for one in wanted])
    check(f"mean {name}", abs(report["mean"][name] - value) < 1e-5, f": {report['mean'][name]} {value}")
check("labels may be left out", len(ask("evaluate", "m.onnx", "--data", "rows.csv", "--label", "c")["labels"]) == 1)
check("and are shown as text", "mean of labels" in kedge("evaluate", "m.onnx", "--data", "rows.csv", "--label", "a,b,c").stdout)

# Each label by itself is what a model of it alone learns: labels do not get mixed up.
for k, name in enumerate(LABELS):
    check(f"{name} is learnt", wanted[k]["auc"] > 0.93, f": {wanted[k]['auc']}")

if os.path.exists("c.safetensors"):
    os.remove("c.safetensors")
ask(*train, "--checkpoint", "c.safetensors", "-o", "first.onnx")
ask(*train, "--checkpoint", "c.safetensors", "-o", "again.onnx")
check("the same bytes with a checkpoint", open("m.onnx", "rb").read() == open("first.onnx", "rb").read() == open("again.onnx", "rb").read())
write("other.csv", ["u", "v", "w", *LABELS], [u, v, w, gaps[0], gaps[1], 1 - gaps[2]])
refused("c.safetensors", *train, "--data", "other.csv", "--checkpoint", "c.safetensors", "-o", "no.onnx")

refused('label "u" is', "train", "--data", "rows.csv", "--label", "a,u", "-o", "no.onnx")
refused('label column "z" is not in the data', "train", "--data", "rows.csv", "--label", "a,z", "-o", "no.onnx")
refused("twice", "train", "--data", "rows.csv", "--label", "a,a", "-o", "no.onnx")
for words in (("--interval", 0.9), ("--calibrate", "platt"), ("--loss", "squared"), ("--class-weights", "balanced"), ("--spill",),
              ("--positive", "1")):
    refused("several labels do not go with", *train, "-o", "no.onnx", *words)
refused("--from", "train", "--data", "rows.csv", "--label", "a,b", "--from", "m.onnx", "-o", "no.onnx")
refused("the model predicts a,b,c", "evaluate", "m.onnx", "--data", "rows.csv", "--label", "a,z")
refused("models of one label", "evaluate", "m.onnx", "--data", "rows.csv", "--label", "a,b", "--sensitive", "u")
write("short.csv", ["u", "v"], [u[:5], v[:5]])
refused('column "w" is not in the data', "predict", "m.onnx", "short.csv")
check("nothing was written", not os.path.exists("no.onnx"))
check.report()
