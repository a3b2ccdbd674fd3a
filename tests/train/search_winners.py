"""The winner of a search, of every family and every kind of layer, in ONNX Runtime: the same probabilities or values as kedge
predict's, within 1e-5 (or 1e-5 of the label's standard deviation). Searches of two trials, which cannot choose much: each space
names what its winner has. Tables with texts and missing numbers, a regression, images.

usage: search_winners.py KEDGE OUT_FOLDER
"""
import csv
import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
import onnxruntime

KEDGE, OUT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
FEW = "channels=4..8,dense=32,batch=64"
passed = failed = 0


def check(good, what):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print("ok    " if good else "FAILED", what, flush=True)


def run(*words):
    done = subprocess.run([KEDGE, *words], capture_output=True, text=True, cwd=OUT)
    if done.returncode != 0:
        raise RuntimeError(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def predicted(model, data, width):
    """What kedge says: the last columns."""
    rows = list(csv.reader(run("predict", model, data).splitlines()))
    return np.array([[float(text) for text in row[len(row) - width:]] for row in rows[1:]])


def feeds(session, names, rows):
    """The columns as the graph's inputs ask for them; a matrix of all numbers where there is one input alone."""
    def column(name, text):
        cells = [row[names.index(name)] for row in rows]
        return np.array(cells, dtype=object) if text else np.array([float(c) if c else np.nan for c in cells], dtype=np.float32)
    inputs = session.get_inputs()
    if [i.name for i in inputs] == ["features"]:
        return {"features": np.stack([column(name, False) for name in names], axis=1)}
    return {i.name: column(i.name, "string" in i.type).reshape(-1, 1) for i in inputs}


def compare(what, model, feed, said, scale=1.0):
    session = onnxruntime.InferenceSession(os.path.join(OUT, model), providers=["CPUExecutionProvider"])
    value = "value" if any(o.name == "value" for o in session.get_outputs()) else "probabilities"
    difference = float(np.abs(session.run([value], feed(session))[0].reshape(said.shape) - said).max()) / scale
    check(difference < 1e-5 and len(said) >= 300, f"{what}: {len(said)} rows, largest difference {difference:.1e}")


def search(data, space, *options):
    report = json.loads(run("search", "--data", data, "--label", "y", "--trials", "2", "--workers", "2", "--folds", "0", "--space", space, "--json",
                            "-o", "m.onnx", *options))
    shutil.rmtree(f"{OUT}/m.onnx.search")
    check(report["failed"] == 0 and report["winner"]["state"] == "finished" and report["winner"]["latency_rows"] > 0 and
          report["winner"]["bytes"] > 0, f"a search of {space}")
    return report["winner"]


dice = random.Random(3)
shutil.rmtree(OUT, ignore_errors=True)
os.makedirs(OUT)
names, rows = ["age", "wage", "city"], []
with open(f"{OUT}/table.csv", "w") as table, open(f"{OUT}/value.csv", "w") as value:
    table.write("age,wage,city,y\n")
    value.write("age,wage,city,y\n")
    for i in range(500):
        age, wage, city = dice.gauss(40, 9), dice.lognormvariate(8, 1), dice.choice(["oslo", "rome", "bonn"])
        row = [f"{age:.3f}", "" if dice.random() < .05 else f"{wage:.1f}", city]
        rows.append(row)
        table.write(",".join(row) + f",{'high' if age + 10 * (city == 'rome') > 44 else 'low'}\n")
        value.write(",".join(row) + f",{1000 + 20 * age + 50 * (city == 'rome') + dice.gauss(0, 9):.2f}\n")

for space in ("dense:activation=relu,norm=none,residual=no,dropout=0,transform=standard", "dense:activation=gelu,depth=2..4,norm=layer,residual=yes",
              "dense:activation=tanh,depth=1..2,norm=batch,transform=quantile", "dense:activation=silu,depth=3,residual=yes,taper=0.5,transform=yeo-johnson",
              "dense:depth=0,transform=robust", "trees"):
    search("table.csv", space)
    compare("… in ONNX Runtime", "m.onnx", lambda session: feeds(session, names, rows), predicted("m.onnx", "table.csv", 2))
search("value.csv", "dense:activation=silu,depth=2,residual=yes,norm=layer")
compare("… a regression", "m.onnx", lambda session: feeds(session, names, rows), predicted("m.onnx", "value.csv", 1), scale=200)

# The mean of networks of other opsets and trees, with texts and missing numbers; one input alone, and a regression.
for data, width, scale in (("table.csv", 2, 1.0), ("value.csv", 1, 200.0)):
    report = json.loads(run("search", "--data", data, "--label", "y", "--trials", "6", "--workers", "2", "--folds", "2", "--finalists", "4", "--ensemble", "4",
                            "--space", "dense:activation=gelu|relu,depth=1..2,width=8..16;trees:depth=2..3", "--json", "-o", "m.onnx"))
    shutil.rmtree(f"{OUT}/m.onnx.search")
    families = {e["family"] for e in report["leaderboard"] if e["trial"] in report["model"]["members"]}
    check(report["failed"] == 0 and len(report["model"]["members"]) == 4 and families == {"dense", "trees"}, f"the mean of four trials of {data}")
    compare("… in ONNX Runtime", "m.onnx", lambda session: feeds(session, names, rows), predicted("m.onnx", data, width), scale=scale)

images = np.random.default_rng(5).random((400, 12, 12)) * .3
labels = np.arange(400) % 2
for i in range(400):  # a bright row or a bright column
    if labels[i]:
        images[i, i // 2 % 12, :] += 1
    else:
        images[i, :, i // 2 % 12] += 1
np.savez(f"{OUT}/images.npz", x=images.astype(np.float32), y=labels.astype(np.int64))
flat = images.astype(np.float32).reshape(400, 144)
for space in (f"cnn:activation=relu,norm=batch,residual=no,depth=2,{FEW}",
              "cnn:activation=silu,norm=batch,residual=yes,depth=2,blocks=2,kernel=5,dense=0,channels=4..8",
              "cnn:activation=gelu,norm=layer,pool=average,depth=1,residual=yes,dense=32,channels=4..8",
              "cnn:activation=tanh,norm=none,growth=1,depth=3,dense=32,channels=4..8", "dense:width=8..16", "trees:depth=2..3"):
    search("images.npz", space)
    compare("… of images in ONNX Runtime", "m.onnx", lambda session: {"features": flat}, predicted("m.onnx", "images.npz", 2))
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
