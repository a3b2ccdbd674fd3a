#!/usr/bin/env python3
"""Attacks on a model of COMPAS respect what cannot change: race and sex (texts), counts (whole numbers), ranges, radius,
each checked here from the CSV that `kedge attack -o` writes; and what the commands refuse.

usage: compas_test.py KEDGE COMPAS.csv OUT_FOLDER
"""
import csv
import os
import statistics
import sys

import numpy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from kedge import Kedge

kedge, data = Kedge(sys.argv[1], sys.argv[3]), os.path.abspath(sys.argv[2])
LABEL, ROWS, COUNTS = "two_year_recid", 300, ["age", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count"]
kedge.run("train", "--data", data, "--label", LABEL, "--sensitive", "race,sex", "--epochs", 8, "-o", "compas.onnx")
whole = list(csv.DictReader(open(data)))
before = whole[:ROWS]


def number(row, name):
    return float(row[name]) if row[name] else None


low = {c: min(number(r, c) for r in before) for c in COUNTS + ["decile_score"]}
high = {c: max(number(r, c) for r in before) for c in COUNTS + ["decile_score"]}
sd = {c: statistics.pstdev(number(r, c) for r in before) for c in COUNTS + ["decile_score"]}
for attack in ("fgsm", "pgd", "square", "hopskipjump"):
    for norm in ("inf", "2"):
        if attack == "square" and norm == "2":
            continue
        options = ["--eps", 0.7, "--norm", norm, "--integer", ",".join(COUNTS), "--immutable", "race,sex,decile_score", "--rows", ROWS]
        report, _ = kedge.run("attack", "compas.onnx", "--data", data, "--label", LABEL, "--attack", attack, "--queries", 200,
                              *options, "-o", "points.csv")
        after = list(csv.DictReader(open(os.path.join(kedge.out, "points.csv"))))
        wrong, moved = [], 0
        for old, new in zip(before, after):
            squares = 0
            for name in ("race", "sex", "c_charge_degree", "decile_score", LABEL):
                if old[name] != new[name]:
                    wrong.append(f"{name}: {old[name]} became {new[name]}")
            for name in COUNTS:
                a, b = number(old, name), number(new, name)
                moved += a != b
                squares += ((b - a) / sd[name]) ** 2 if a != b else 0
                if b != int(b) or not low[name] <= b <= high[name] or abs(b - a) > 0.7 * sd[name]:
                    wrong.append(f"{name}: {a} became {b}")
            if norm == "2" and squares ** 0.5 > 0.7:
                wrong.append(f"distance {squares ** 0.5}")
        fooled = sum(int(float(r["attack.fooled"])) for r in after)
        one = report["attacks"][0]
        kedge.check(not wrong and len(after) == ROWS, f"{attack}, norm {norm}: every one of {ROWS} points keeps to the constraints {wrong[:3]}")
        kedge.check(fooled == one["rows_fooled"] > 0 and moved > 0, f"… and {fooled} of {one['rows_attacked']} rows are fooled")

# Texts that may change: only those named, within the budget, to values of the data; race and sex stay. Trees, too.
kedge.run("train", "--data", data, "--label", LABEL, "--sensitive", "race,sex", "--arch", "trees:depth=4,rounds=50", "-o", "trees.onnx")
degrees = {r["c_charge_degree"] for r in whole}
races = {r["race"] for r in before}
for model, attack in (("compas.onnx", "pgd"), ("trees.onnx", "square")):
    few = ["--data", data, "--label", LABEL, "--attack", attack, "--queries", 30, "--eps", 0.05, "--rows", ROWS]
    plain, _ = kedge.run("attack", model, *few)
    fooled = []
    for names, budget in (("c_charge_degree", 1), ("c_charge_degree,race", 1), ("c_charge_degree,race", 2)):
        report, _ = kedge.run("attack", model, *few, "--mutable-categories", names, "--category-budget", budget, "-o", "points.csv")
        after = list(csv.DictReader(open(os.path.join(kedge.out, "points.csv"))))
        changed = [[n for n in ("race", "sex", "c_charge_degree") if old[n] != new[n]] for old, new in zip(before, after)]
        good = all(len(c) <= budget and set(c) <= set(names.split(",")) for c in changed)
        good = good and all(r["c_charge_degree"] in degrees and r["race"] in races for r in after)
        kedge.check(good and any(changed), f"{model}, {attack}: {sum(map(bool, changed))} rows with other texts, all of {names}, "
                                           f"at most {budget} a row")
        fooled.append(report["attacks"][0]["rows_fooled"])
    kedge.check(plain["attacks"][0]["rows_fooled"] < fooled[0] <= fooled[2],
                f"{model}, {attack}: {plain['attacks'][0]['rows_fooled']} rows fooled by numbers, with texts {fooled}")
for names, text in (("age", "is a number"), ("nothing", "no feature"), ("race", "immutable, too")):
    error = kedge.refuse("attack", "compas.onnx", "--data", data, "--label", LABEL, "--eps", 0.1, "--rows", 5, "--mutable-categories", names,
                         "--immutable", "race")
    kedge.check(text in error, f"--mutable-categories {names} is refused: {error}")

report, _ = kedge.run("attack", "compas.onnx", "--data", data, "--label", LABEL, "--eps", "0.1,0.3", "--attack", "pgd,fgsm", "--rows", ROWS)
pgd = [a["robust_accuracy"] for a in report["attacks"] if a["attack"] == "pgd"]
kedge.check(report["accuracy"] >= pgd[0] >= pgd[1], f"accuracy falls with the radius: {report['accuracy']:.3f}, {pgd[0]:.3f}, {pgd[1]:.3f}")
kedge.check(all(w["robust_accuracy"] <= min(a["robust_accuracy"] for a in report["attacks"] if a["epsilon"] == w["epsilon"])
                for w in report["worst"]), "the worst of all attacks is no better than any")
kedge.check(all(a["robust_accuracy_low"] <= a["robust_accuracy"] <= a["robust_accuracy_high"] for a in report["attacks"]), "intervals hold the rate")
report, _ = kedge.run("evaluate", "compas.onnx", "--data", data, "--label", LABEL, "--robust-epsilon", 0.1)
kedge.check(0 < report["robust_accuracy"] < report["accuracy"], f"kedge evaluate: robust accuracy {report['robust_accuracy']:.3f} of {report['accuracy']:.3f}")
report, _ = kedge.run("smooth", "compas.onnx", "--data", data, "--label", LABEL, "--rows", 100, "--samples", 300, "-o", "radii.csv")
radii = [float(r["radius"]) for r in csv.DictReader(open(os.path.join(kedge.out, "radii.csv")))]
kedge.check(len(radii) == 100 and sum(r == 0 for r in radii) == report["rows_abstained"], "kedge smooth: one radius a row, 0 where it abstains")
for words, says in ((["--eps", "0"], "--eps"), (["--eps", ".1", "--attack", "pdg"], "hopskipjump"), (["--eps", ".1", "--immutable", "colour"], "colour"),
                    (["--eps", ".1", "--norm", "1"], "norm"), (["--eps", ".1", "--range", "2,1"], "range"), (["--eps", ".1,.2", "-o", "p.csv"], "-o"),
                    (["--eps", ".1", "--attack", "square", "--norm", "2"], "maximum norm")):
    text = kedge.refuse("attack", "compas.onnx", "--data", data, "--label", LABEL, *words)
    kedge.check(says in text, f"kedge attack {' '.join(words)}: {text}")
kedge.run("attack", "compas.onnx", "--data", data, "--label", LABEL, "--eps", 0.3, "--rows", 50, "-o", "points.csv")
kedge.run("attack", "compas.onnx", "--data", data, "--label", LABEL, "--eps", 0.3, "--rows", 50, "-o", "points.npz")
arrays, rows = numpy.load(os.path.join(kedge.out, "points.npz")), list(csv.DictReader(open(os.path.join(kedge.out, "points.csv"))))
names = [name for name in rows[0] if name in COUNTS + ["decile_score"]]
kedge.check(numpy.array_equal(arrays["x"], [[float(r[n]) for n in names] for r in rows]) and
            arrays[LABEL].tolist() == [int(r[LABEL]) for r in rows] and
            arrays["fooled"].tolist() == [int(float(r["attack.fooled"])) for r in rows], "an .npz of points holds what the CSV holds")
text = kedge.refuse("harden", "compas.onnx", "--data", data, "--label", LABEL, "--eps", ".1", "--attack", "trades", "-o", "hard.onnx")
kedge.check("texts" in text and "pgd" in text, f"kedge harden on texts: {text}")
robust = []
kedge.run("harden", "compas.onnx", "--data", data, "--label", LABEL, "--eps", 0.3, "--epochs", 8, "-o", "hard.onnx")
for model in ("compas.onnx", "hard.onnx"):
    report, _ = kedge.run("attack", model, "--data", data, "--label", LABEL, "--eps", 0.3)
    robust.append(report["attacks"][0]["robust_accuracy"])
kedge.check(robust[1] > robust[0] + 0.02, f"kedge harden on COMPAS: accuracy under PGD {robust[0]:.3f} before, {robust[1]:.3f} after")
kedge.end()
