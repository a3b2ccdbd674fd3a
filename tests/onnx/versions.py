"""Every version that a loop made: kedge predict and ONNX Runtime agree within 1e-5 on the loop's rows.

usage: versions.py KEDGE CONFIG MODEL DATA.csv [ROWS]"""
import csv, json, os, subprocess, sys, tempfile

import numpy as np
import onnx
import onnxruntime

BOUND = 1e-5


def run(*arguments):
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def feed_of(session, rows, columns):
    """The graph's inputs from the CSV: one tensor of all numeric columns, or one tensor a column."""
    feed = {}
    for value in session.get_inputs():
        names = [value.name] if value.name in columns else None
        if names is None:
            width = value.shape[1]
            names = [c for c in columns][:width]
        if "string" in value.type:
            feed[value.name] = np.array([[row[n] for n in names] for row in rows], dtype=object)
        else:
            feed[value.name] = np.array([[float(row[n]) if row[n] else np.nan for n in names] for row in rows], np.float32)
    return feed


def main():
    kedge, config, model, data = sys.argv[1:5]
    limit = int(sys.argv[5]) if len(sys.argv) > 5 else 3000
    with open(data, newline="") as file:
        rows = list(csv.DictReader(file))[-limit:]
    spec = json.loads(run(kedge, "model", "show", model, "--config", config, "--json"))
    schema = spec["schema"]
    columns = [f["name"] for f in schema["features"] if f["input"]]
    versions = json.loads(run(kedge, "version", "list", model, "--config", config, "--json"))
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        sample = os.path.join(folder, "rows.csv")
        with open(sample, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        for version in versions:
            name = f"{model}/{version['version']}"
            path, out = os.path.join(folder, "v.onnx"), os.path.join(folder, "out.csv")
            run(kedge, "export", name, "-o", path, "--config", config)
            run(kedge, "predict", name, sample, "-o", out, "--config", config)
            onnx.checker.check_model(path, full_check=True)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            outputs = session.run(None, feed_of(session, rows, columns))
            theirs = next(o for o in outputs if o.dtype == np.float32 and o.ndim == 2)
            with open(out, newline="") as file:
                table = list(csv.DictReader(file))
            ours = np.array([[float(r[f"probability_{c}"]) for c in schema["classes"]] for r in table])
            difference = float(np.abs(ours - theirs).max())
            good = difference <= BOUND and ours.shape == theirs.shape
            passed, failed = passed + good, failed + (not good)
            print(f"{name} ({version['kind']}): largest difference {difference:.2e} over {len(rows)} rows"
                  + ("" if good else " FAILED"))
    print(f"{passed} passed, {failed} failed")
    return failed > 0 or passed == 0


sys.exit(main())
