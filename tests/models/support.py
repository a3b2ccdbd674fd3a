"""What the parts of the matrix share: ONNX Runtime and kedge on the same feeds, comparison under the stated bounds."""
import csv
import json
import os
import subprocess

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

onnxruntime.set_default_logger_severity(4)
counts = {True: 0, False: 0}


def check(good, name, what):
    good = bool(good)
    counts[good] += 1
    print("ok    " if good else "FAILED", name + ":", what, flush=True)
    return good


class Programs:
    """The programs under test, and a folder for their files."""

    def __init__(self, build, folder):
        self.kedge, self.tool = os.path.join(build, "kedge"), os.path.join(build, "tests", "models", "model_tool")
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_kedge(self, *arguments):
        """(report, None) or (None, message)"""
        done = subprocess.run([self.kedge, *arguments, "--json"], capture_output=True, text=True, timeout=120)
        report = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        if done.returncode != 0:
            return None, report.get("error", done.stderr.strip() or f"exit status {done.returncode}")
        return report, None

    def run_model(self, model, feeds):
        """({output: array}, bytes of the export, None) or (None, None, message). model: bytes or a path."""
        source, fed, out, export = (self.path(f) for f in ("model.onnx", "feeds.onnx", "outputs.onnx", "export.onnx"))
        if isinstance(model, bytes):
            write_bytes(source, model)
        else:
            source = model
        tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in feeds.items()]
        whole = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]  # a graph has outputs
        onnx.save(helper.make_model(helper.make_graph([], "feeds", [], whole, tensors)), fed)
        done = subprocess.run([self.tool, source, fed, out, export], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            return None, None, done.stderr.strip() or f"exit status {done.returncode}"
        return {t.name: numpy_helper.to_array(t) for t in onnx.load(out).graph.initializer}, read_bytes(export), None


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def write_bytes(path, data):
    with open(path, "wb") as file:
        file.write(data)


def write_csv(path, columns, rows):
    """NaN is an empty field."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if isinstance(v, float) and v != v else v for v in row] for row in rows])


def read_probabilities(path):
    with open(path) as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("probability_")] or ["prediction"]
    return np.array([[float(row[name]) for name in names] for row in rows])


def run_runtime(model, feeds):
    """{output: array} of ONNX Runtime; maps of ZipMap become columns in the order of their keys."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = session.run(None, feeds)
    values = [np.array([[row[k] for k in sorted(row)] for row in v], np.float32) if isinstance(v, list) else v for v in outputs]
    return {o.name: v for o, v in zip(session.get_outputs(), values)}


def difference(ours, theirs, ties):
    """(the largest difference as a share of what is allowed, what is wrong with the form or None): probabilities 1e-5,
    other numbers 1e-5 (max |y| + |y|), labels none but on rows of `ties`."""
    if ours.shape != theirs.shape:
        return np.inf, f"shape {ours.shape} instead of {theirs.shape}"
    if theirs.dtype.kind != "f":
        text = lambda a: np.array([v.decode() if isinstance(v, bytes) else str(v) for v in a.reshape(-1)])
        wrong = text(ours) != text(theirs)
        different = np.sum(wrong & ~ties) if wrong.shape == ties.shape else np.sum(wrong)
        return (np.inf if different else 0.0), (f"{different} labels differ" if different else None)
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return np.inf, "NaN elsewhere"
    a, b = np.nan_to_num(ours.astype(float)), np.nan_to_num(theirs.astype(float))
    probability = b.ndim == 2 and b.min(initial=0) >= 0 and b.max(initial=0) <= 1
    allowed = 1e-5 if probability else 1e-5 * (np.abs(b).max(initial=0) + np.abs(b)) + 1e-30
    return float(np.max(np.abs(a - b) / allowed, initial=0)), None


def tied_rows(outputs):
    """Rows whose two best classes are equally probable but for rounding: ONNX Runtime sums trees in float32."""
    for value in outputs.values():
        if value.dtype.kind == "f" and value.ndim == 2 and value.shape[1] > 1:
            top = np.sort(value, axis=1)
            return top[:, -1] - top[:, -2] < 1e-6
    return np.zeros(0, bool)


def compare_outputs(name, what, ours, theirs):
    worst, wrong, ties = 0.0, None, tied_rows(theirs)
    for output, value in theirs.items():
        if output not in ours:
            worst, wrong = np.inf, f"output {output} is not there"
            continue
        share, problem = difference(ours[output], value, ties)
        worst, wrong = max(worst, share), wrong or problem
    return check(worst <= 1, name, f"{what}: " + (wrong or f"largest difference {worst:.2g} of what is allowed"))


def compare_with_runtime(programs, name, model, feeds, theirs_of=None):
    """Prediction, export, ONNX's full check, prediction of the export. theirs_of: what ONNX Runtime is given instead.
    Returns the export."""
    path = None if isinstance(model, bytes) else model
    ours, export, error = programs.run_model(model, feeds)
    if not check(ours is not None, name, "imported and run" if ours is not None else error):
        return None
    theirs = run_runtime(theirs_of or path or model, feeds)
    compare_outputs(name, "beside ONNX Runtime", ours, theirs)
    try:
        onnx.checker.check_model(onnx.load_from_string(export), full_check=True)
    except Exception as problem:
        check(False, name, f"the export is refused by ONNX's checker: {str(problem)[:300]}")
        return None
    again = export if theirs_of is None else predicting(export)
    compare_outputs(name, "export in ONNX Runtime", ours, run_runtime(again, feeds))
    return export


def predicting(model):
    """The same model with BatchNormalization and Dropout predicting, whatever the exporter's mode."""
    model = onnx.load_from_string(model)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            for attribute in node.attribute:
                if attribute.name == "training_mode":
                    attribute.i = 0
            del node.output[1:]
        if node.op_type == "Dropout":
            node.op_type = "Identity"
            del node.input[1:], node.output[1:], node.attribute[:]
    return model.SerializeToString()
