"""The matrix of models: every exporter's model is imported, run, trained for an epoch where it has weights, exported and
run again; ONNX Runtime is the judge.

usage: matrix.py BUILD [WORD]...         only cases whose name holds a WORD; ends with "N passed, N failed"
"""
import os
import sys
import tempfile
import traceback

import numpy as np
import onnx

import leaves
import networks
import support
import tabular
import traps
from support import check, compare_outputs, compare_with_runtime, run_runtime


def probabilities_of(case, outputs):
    """The last output, as `kedge predict` gives it."""
    return np.asarray(list(outputs.values())[-1], float).reshape(len(case.rows[-tabular.TEST:]), -1)


def compare_leaves(programs, case):
    model = leaves.leaf_model(case.model)
    if model is None:
        return
    ours, _, error = programs.run_model(model, case.feeds)
    if ours is None:
        check(False, case.name, f"leaves: {error}")
        return
    theirs = run_runtime(model, case.feeds)["leaves"]
    different = np.sum(ours["leaves"] != theirs)
    check(different == 0, case.name, f"{different} of {theirs.size} leaves differ from ONNX Runtime")


def compare_commands(programs, case):
    """`kedge predict` and `kedge evaluate` on the same rows as a CSV."""
    data, out, model = programs.path("test.csv"), programs.path("predictions.csv"), programs.path("model.onnx")
    support.write_bytes(model, case.model)
    support.write_csv(data, case.columns, case.rows[-tabular.TEST:])
    _, error = programs.run_kedge("predict", model, data, "--label", "y", "-o", out)
    if error:
        check(False, case.name, "kedge predict: " + error)
        return
    ours, theirs = support.read_probabilities(out), probabilities_of(case, run_runtime(case.model, case.feeds))
    compare_outputs(case.name, "kedge predict", {"p": ours}, {"p": theirs})
    report, error = programs.run_kedge("evaluate", model, "--data", data, "--label", "y")
    if error:
        check(False, case.name, "kedge evaluate: " + error)
        return
    y = np.array([row[-1] for row in case.rows[-tabular.TEST:]])
    if case.task == "value":
        check(abs(report["rmse"] - np.sqrt(np.mean((theirs[:, 0] - y) ** 2))) <= 1e-4 * np.std(y), case.name, f"kedge evaluate: rmse {report['rmse']:.4f}")
    else:
        top = np.sort(theirs, 1)
        ties = np.mean(top[:, -1] - top[:, -2] < 1e-6)  # either class
        check(abs(report["accuracy"] - np.mean(np.argmax(theirs, 1) == y)) <= ties + 1e-9, case.name, f"kedge evaluate: accuracy {report['accuracy']:.4f}")


def score(programs, case, model):
    """Log-loss or mean squared error of ONNX Runtime's predictions on the rows that are fed."""
    y = np.array([row[-1] for row in case.rows[-tabular.TEST:]])
    outputs = probabilities_of(case, run_runtime(model, case.feeds))
    return np.mean((outputs[:, 0] - y) ** 2) if case.task == "value" else -np.mean(np.log(outputs[np.arange(len(y)), y.astype(int)] + 1e-12))


def train_table(programs, case):
    """One epoch lowers the loss, and the result is sound."""
    data, start, tuned = programs.path("train.csv"), programs.path("start.onnx"), programs.path("tuned.onnx")
    support.write_csv(data, case.columns, case.rows[:-tabular.TEST])
    support.write_bytes(start, case.model)
    _, error = programs.run_kedge("train", "--from", start, "--data", data, "--label", "y", "--epochs", "1", "--validation", "0", "-o", tuned)
    if error:
        check(False, case.name, "kedge train: " + error)
        return
    written = support.read_bytes(tuned)
    onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
    before, after = score(programs, case, case.model), score(programs, case, written)
    check(after < before, case.name, f"trained: loss {before:.4f} -> {after:.4f}")
    compare_with_runtime(programs, case.name + ", trained", written, case.feeds)


def train_or_refuse(programs, case):
    """Without weights: trees that kedge can continue are trained soundly; else the operator is named, and what to do instead."""
    data, start, tuned = programs.path("train.csv"), programs.path("start.onnx"), programs.path("tuned.onnx")
    support.write_csv(data, case.columns, case.rows[:-tabular.TEST])
    support.write_bytes(start, case.model)
    _, error = programs.run_kedge("train", "--from", start, "--data", data, "--label", "y", "--epochs", "1", "-o", tuned)
    if error is None:
        check(leaves.leaf_model(case.model) is not None, case.name, "trained: it is an ensemble of trees")
        compare_with_runtime(programs, case.name + ", trained", support.read_bytes(tuned), feeds_of(case, tuned))
        return
    named = any(node.op_type in error for node in onnx.load_from_string(case.model).graph.node)
    check((named and "--" in error) or "how many float32 features" in error, case.name, f"training refused: {error}")


def feeds_of(case, path):
    """The rows that are fed, as the inputs of another model ask for them: one tensor, or one a column."""
    inputs = onnx.load(path).graph.input
    if len(inputs) == len(case.feeds):
        return {i.name: value for i, value in zip(inputs, case.feeds.values())}
    whole = np.hstack([np.asarray(v) for v in case.feeds.values()])
    return {inputs[0].name: whole} if len(inputs) == 1 else {i.name: whole[:, k:k + 1] for k, i in enumerate(inputs)}


def check_table(programs, case):
    compare_with_runtime(programs, case.name, case.model, case.feeds)
    compare_leaves(programs, case)
    compare_commands(programs, case)
    if case.wanted is not None:
        outputs, _, _ = programs.run_model(case.model, case.feeds)
        compare_outputs(case.name, "beside the library", {"p": probabilities_of(case, outputs)}, {"p": case.wanted.astype(float)})
    (train_table if case.trained else train_or_refuse)(programs, case)


def main():
    words = sys.argv[2:]
    wanted = lambda name: not words or any(word in name for word in words)
    with tempfile.TemporaryDirectory() as folder:
        programs = support.Programs(os.path.abspath(sys.argv[1]), folder)
        parts = [(check_table, tabular.all_cases), (networks.check_network, networks.all_cases), (traps.check_trap, traps.all_cases)]
        for run, cases in parts:
            for case in cases():
                if not wanted(case.name):
                    continue
                try:
                    run(programs, case)
                except Exception as error:  # one model's failure must not hide the others'
                    check(False, case.name, f"{error!r} at {traceback.extract_tb(error.__traceback__)[-1]}"[:600])
    print(f"{support.counts[True]} passed, {support.counts[False]} failed")
    return 1 if support.counts[False] or not support.counts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
