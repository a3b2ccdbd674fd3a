"""Compares kedge's reading, prediction and writing of ONNX models with ONNX Runtime, scikit-learn and ONNX's own cases.

Usage: compare.py PREDICT_TOOL          ends with "N passed, N failed"; exit status 1 when something failed.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import models

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)
TOOL = os.path.abspath(sys.argv[1])
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "onnx")
passed = failed = 0


def check(name, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {detail}")


def tool(*arguments, stdin=None):
    """(exit status, standard output, standard error)"""
    run = subprocess.run([TOOL, *arguments], input=stdin, capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout, run.stderr.strip()


def predict(folder, model, schema, rows):
    """Outputs [n, c] of kedge, or the message of its refusal."""
    paths = [os.path.join(folder, f) for f in ("model.onnx", "schema.json", "rows.json")]
    with open(paths[0], "wb") as file:
        file.write(model)
    json.dump(schema, open(paths[1], "w"))
    clean = [[None if isinstance(v, float) and np.isnan(v) else v for v in row] for row in rows]
    json.dump(clean, open(paths[2], "w"))
    status, out, error = tool("predict", *paths)
    if status != 0:
        return None, error or f"exit status {status}"
    return np.array([[float(v) for v in line.split()] for line in out.splitlines()]), None


def compare_case(folder, case):
    ours, error = predict(folder, case.model, case.schema, case.rows)
    if ours is None:
        check(case.name, False, error)
        return
    expected = np.asarray(case.expected(case), dtype=float)
    good = ours.shape == expected.shape and np.allclose(ours, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    worst = np.nanmax(np.abs(ours - expected)) if ours.shape == expected.shape else f"{ours.shape} {expected.shape}"
    check(case.name, good, f"largest difference {worst}")
    if case.decisions is not None:
        check(case.name + ", classes", np.mean(np.argmax(ours, axis=1) == case.decisions) == 1.0, "decisions differ")
    round_trip(folder, case)


def round_trip(folder, case):
    """What we write passes ONNX's checker, is stable, and predicts the same in ONNX Runtime."""
    source = os.path.join(folder, "model.onnx")
    for command in ("copy", "export"):
        out, again = os.path.join(folder, command + ".onnx"), os.path.join(folder, command + "2.onnx")
        status, _, error = tool(command, source, out)
        if status != 0:
            check(f"{case.name}, {command}", False, error)
            continue
        written = open(out, "rb").read()
        try:
            onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
            same = compare_sessions(case, written)
            check(f"{case.name}, {command}", same, "ONNX Runtime predicts something else")
        except Exception as problem:
            check(f"{case.name}, {command}", False, str(problem)[:300])
        tool(command, out, again)
        check(f"{case.name}, {command} twice", open(again, "rb").read() == written, "the bytes differ")


def compare_sessions(case, written):
    first = models.run_session(case.model, case.feeds)
    second = models.run_session(written, case.feeds)
    return all(models.same_output(a, b) for a, b in zip(first, second)) and len(first) == len(second)


# --- ONNX's own node cases ---------------------------------------------------------------------------------------


def to_tensor(value_info, array):
    """ONNX's cases hold bfloat16 as uint16 arrays."""
    tensor = numpy_helper.from_array(np.asarray(array), value_info.name)
    if value_info.type.tensor_type.elem_type == TensorProto.BFLOAT16:
        tensor.data_type = TensorProto.BFLOAT16
    return tensor


def tensors_model(infos, arrays):
    initialisers = [to_tensor(info, a) for info, a in zip(infos, arrays)]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("_x", "_y"))
    graph = helper.make_graph([helper.make_node("Identity", ["_x"], ["_y"])], "inputs", [x], [y], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def same_array(actual, expected, rtol, atol):
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return False
    if expected.dtype == object:
        decode = lambda v: v.decode() if isinstance(v, bytes) else str(v)
        return all(decode(a) == decode(e) for a, e in zip(actual.ravel(), expected.ravel()))
    return np.allclose(actual.astype(float), expected.astype(float), rtol=rtol, atol=atol, equal_nan=True)


# Dropout never drops here: predictions are made in inference mode, whatever training_mode says (onnx/README.md).
STATED_DIFFERENCES = ("test_training_dropout_default", "test_training_dropout_mask", "test_training_dropout")


def node_cases(folder):
    """Cases all of whose operators are in our table. Refusals that name a stated limit count as skipped."""
    from onnx.backend.test.case.node import collect_testcases

    limits = ("does not compute here", "which is not read", "not read by this program", "is not read", "mask is read",
              "operators that are not supported", "training outputs are read", "sets 6 to 28 are read",
              "float only)", "of string, int64 or float")
    folders, cases = [], []
    for case in collect_testcases(None):
        if case.model is None or not case.data_sets or case.name.startswith(STATED_DIFFERENCES):
            continue
        inputs, outputs = case.data_sets[0]
        arrays = all(isinstance(a, (np.ndarray, np.generic)) for a in inputs + outputs)
        if not arrays:
            continue
        place = os.path.join(folder, f"case{len(cases)}")
        os.mkdir(place)
        open(os.path.join(place, "model.onnx"), "wb").write(case.model.SerializeToString())
        open(os.path.join(place, "inputs.onnx"), "wb").write(tensors_model(case.model.graph.input, inputs))
        folders.append(place)
        cases.append(case)
    status, out, error = tool("cases", stdin="\n".join(folders) + "\n")
    lines = out.splitlines()
    if status != 0 or len(lines) != len(cases):
        check("node cases", False, f"died at case {cases[len(lines)].name}: {error}")
        return
    ours = good = skipped = 0
    reasons = {}
    for case, place, line in zip(cases, folders, lines):
        if line != "ok":
            unknown = "operators that are not supported" in line
            if any(limit in line for limit in limits):
                skipped += 0 if unknown else 1
                if not unknown:
                    reasons[case.name] = line
                continue
            check("node case " + case.name, False, line)
            ours += 1
            continue
        ours += 1
        written = onnx.load(os.path.join(place, "outputs.onnx"))
        arrays = [np.frombuffer(t.raw_data, np.uint16).reshape(t.dims) if t.data_type == TensorProto.BFLOAT16
                  else numpy_helper.to_array(t) for t in written.graph.initializer]
        expected = [np.asarray(o) for o in case.data_sets[0][1]]
        same = len(arrays) == len(expected) and all(
            same_array(a, e, max(case.rtol, 1e-5), max(case.atol, 1e-6)) for a, e in zip(arrays, expected))
        good += same
        check("node case " + case.name, same, f"{arrays[0].ravel()[:4]} instead of {expected[0].ravel()[:4]}")
    if os.environ.get("VERBOSE"):
        for name, reason in reasons.items():
            print("  skipped", name, "--", reason)
    print(f"ONNX node cases: {good} of {ours} that only need operators and types of ours; {skipped} more need other types")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in models.all_cases(FIXTURES):
            compare_case(folder, case)
        for name, model, schema, wanted in models.refusals():
            ours, error = predict(folder, model, schema, [[0.0] * len(schema["features"])])
            check("refused: " + name, ours is None and all(w in error for w in wanted), error or "accepted")
        node_cases(folder)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
