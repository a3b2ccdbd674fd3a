"""Compares kedge's reading, prediction and writing of ONNX models with ONNX Runtime and scikit-learn.

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


def known_shapes(model):
    """{value: [sizes and symbols]} of everything that is declared."""
    values = list(model.graph.value_info) + list(model.graph.output)
    return {v.name: (v.type.tensor_type.elem_type,
                     [d.dim_value if d.HasField("dim_value") else d.dim_param for d in v.type.tensor_type.shape.dim])
            for v in values if v.type.HasField("tensor_type") and v.type.tensor_type.HasField("shape")}


def compare_shapes(folder, case):
    """The shapes that we infer are those of ONNX's own inference, wherever that one knows them."""
    source, out = os.path.join(folder, "model.onnx"), os.path.join(folder, "shapes.onnx")
    status, _, error = tool("shapes", source, out)
    if status != 0 or case.name == "one row built in":  # that model runs on single rows only
        check(f"{case.name}, shapes", status != 0 and case.name == "one row built in", error)
        return
    written = onnx.load(out)
    ours = known_shapes(written)
    del written.graph.value_info[:]
    theirs = known_shapes(onnx.shape_inference.infer_shapes(written, strict_mode=False))
    wrong = []
    for name, (kind, dims) in theirs.items():
        if name not in ours:
            continue
        same = kind == ours[name][0] and len(dims) == len(ours[name][1]) and all(
            not isinstance(a, int) or a == b for a, b in zip(dims, ours[name][1]) if a not in ("", 0))
        if not same:
            wrong.append(f"{name}: {ours[name]} instead of {kind, dims}")
    check(f"{case.name}, shapes", not wrong, "; ".join(wrong))
    onnx.checker.check_model(onnx.load(out), full_check=True)


def beside_and_unknown(folder):
    """External data is read in; fields that our schema lacks (node metadata_props) survive."""
    weights = numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(64, 64), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 64]) for n in ("x", "y"))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    entry = node.metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.stack_trace", "line 1"
    model = helper.make_model(helper.make_graph([node], "g", [x], [y], [weights]), ir_version=10,
                              opset_imports=[helper.make_opsetid("", 17)])
    paths = [os.path.join(folder, f) for f in ("beside.onnx", "whole.onnx", "copy.onnx")]
    onnx.save_model(model, paths[0], save_as_external_data=True, location="beside.onnx.data", size_threshold=0)
    status, _, error = tool("copy", paths[0], paths[2])
    check("external data in bytes alone", status != 0 and "another file" in error, error)
    status, _, error = tool("file", paths[0], paths[1])
    check("external data", status == 0, error)
    read = onnx.load(paths[1], load_external_data=False)
    same = np.array_equal(numpy_helper.to_array(read.graph.initializer[0]), numpy_helper.to_array(weights))
    check("external data, elements", same and not read.graph.initializer[0].external_data, "they differ")
    props = [(p.key, p.value) for p in read.graph.node[0].metadata_props]
    check("unknown fields", props == [(entry.key, entry.value)], str(props))
    onnx.checker.check_model(read, full_check=True)


def compare_sessions(case, written):
    first = models.run_session(case.model, case.feeds)
    second = models.run_session(written, case.feeds)
    return all(models.same_output(a, b) for a, b in zip(first, second)) and len(first) == len(second)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for case in models.all_cases(FIXTURES):
            compare_case(folder, case)
            compare_shapes(folder, case)
        beside_and_unknown(folder)
        for name, model, schema, wanted in models.refusals():
            ours, error = predict(folder, model, schema, [[0.0] * len(schema["features"])])
            check("refused: " + name, ours is None and all(w in error for w in wanted), error or "accepted")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
