"""kedge's mlp:64,64 beside scikit-learn's MLPClassifier: Elec2 and COMPAS in time order, the first 70 % train (the decile
score of COMPAS among the inputs), AUC on the others, mean of SEEDS seeds.

Both see standardised numbers and one-hot texts. scikit-learn: Adam, two hidden layers of 64 Relu units, a tenth of the
training rows chooses when to stop (early_stopping, its other settings as they come). kedge: its defaults, of which a tenth of
the training rows, the last ones, chooses the epoch. kedge's mean may be lower by half a point at the most.

usage: mlp.py KEDGE DATA_FOLDER OUT_FOLDER SEEDS
"""
import csv
import json
import os
import subprocess
import sys

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler

KEDGE, DATA, OUT, SEEDS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
MOST_LOWER = 0.005
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok    " if good else "FAILED", what, flush=True)


def run(*words):
    done = subprocess.run([KEDGE, *words, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"kedge {' '.join(words)}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def write_csv(path, names, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def is_number(texts):
    try:
        return all(np.isfinite(float(text)) for text in texts)
    except ValueError:
        return False


def matrices(names, rows, cut, label):
    """Training and test inputs, prepared by what the training rows say."""
    parts = []
    for i, name in enumerate(names):
        if name == label:
            continue
        column = [[row[i]] for row in rows]
        number = is_number([text for text, in column])
        column = np.array(column, dtype=np.float64 if number else object)
        step = StandardScaler() if number else OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        step.fit(column[:cut])
        parts.append(step.transform(column))
    x = np.hstack(parts)
    return x[:cut], x[cut:]


def compare(name, label):
    with open(os.path.join(DATA, name + ".csv"), newline="") as file:
        names, *rows = list(csv.reader(file))
    cut = len(rows) * 7 // 10
    first, last, model = (os.path.join(OUT, name + end) for end in ("_first.csv", "_last.csv", ".onnx"))
    write_csv(first, names, rows[:cut])
    write_csv(last, names, rows[cut:])
    x, x_test = matrices(names, rows, cut, label)
    y = np.array([int(row[names.index(label)]) for row in rows])
    ours, theirs = [], []
    for seed in range(1, SEEDS + 1):
        run("train", "--data", first, "--label", label, "--arch", "mlp:64,64", "--seed", str(seed), "-o", model)
        ours.append(run("evaluate", model, "--data", last, "--label", label)["auc"])
        peer = MLPClassifier(hidden_layer_sizes=(64, 64), early_stopping=True, random_state=seed).fit(x, y[:cut])
        theirs.append(roc_auc_score(y[cut:], peer.predict_proba(x_test)[:, 1]))
        print(f"{name}, seed {seed}: AUC kedge {ours[-1]:.4f}, scikit-learn {theirs[-1]:.4f}", flush=True)
    check(np.mean(ours) > np.mean(theirs) - MOST_LOWER,
          f"{name}: mean AUC of {SEEDS} seeds on the last {len(rows) - cut} rows: kedge {np.mean(ours):.4f}, "
          f"scikit-learn {np.mean(theirs):.4f}")


os.makedirs(OUT, exist_ok=True)
compare("elec", "class")
compare("compas", "two_year_recid")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
