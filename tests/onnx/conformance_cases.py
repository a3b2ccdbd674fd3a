"""Writes ONNX's own backend tests as plain ONNX files, for tests/onnx/conformance_tool.c to run.

Usage: conformance_cases.py FOLDER

FOLDER/cases.tsv has a line a case: kind, name, operator, rtol, atol, number of data sets, folder. A case's folder holds
model.onnx and, for data set K, in_K.onnx and out_K.onnx: models whose initialisers are the tensors, named as the graph's
inputs and outputs. What is no tensor (sequences, optionals) is left out of them; such models must be refused.
"""
import glob
import os
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
DATA = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
DUMMY = "kedge.unused"


def wrap(tensors):
    """A model that carries the tensors as initialisers."""
    x, y = (helper.make_tensor_value_info(DUMMY + n, TensorProto.FLOAT, [1]) for n in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Identity", [x.name], [y.name])], "tensors", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def to_tensor(info, value):
    """The value as a named tensor, or None when it is none."""
    if isinstance(value, TensorProto):
        tensor = TensorProto()
        tensor.CopyFrom(value)
    elif isinstance(value, (np.ndarray, np.generic, int, float, bool)):
        tensor = numpy_helper.from_array(np.asarray(value))
    else:
        return None
    tensor.name = info.name
    declared = info.type.tensor_type.elem_type
    same_size = {TensorProto.UINT16: (TensorProto.BFLOAT16, TensorProto.FLOAT16)}
    if declared in same_size.get(tensor.data_type, ()):  # some cases hold these as uint16 arrays
        tensor.data_type = declared
    return tensor


class Writer:
    def __init__(self, folder):
        self.folder, self.lines = folder, []

    def add(self, kind, name, operator, rtol, atol, model, data_sets):
        place = os.path.join(self.folder, f"{len(self.lines):04}")
        os.makedirs(place, exist_ok=True)
        open(os.path.join(place, "model.onnx"), "wb").write(model.SerializeToString())
        given = {t.name for t in model.graph.initializer} if model.ir_version < 4 else set()
        sides = ([v for v in model.graph.input if v.name not in given], list(model.graph.output))
        for k, data_set in enumerate(data_sets):
            for infos, values, prefix in zip(sides, data_set, ("in", "out")):
                tensors = [to_tensor(info, value) for info, value in zip(infos, values)]
                path = os.path.join(place, f"{prefix}_{k}.onnx")
                open(path, "wb").write(wrap([t for t in tensors if t is not None]))
        self.lines.append("\t".join((kind, name, operator, repr(rtol), repr(atol), str(len(data_sets)), place)))

    def close(self):
        open(os.path.join(self.folder, "cases.tsv"), "w").write("\n".join(self.lines) + "\n")


def operator_of(model):
    """The operator that a node case is about: its only one, or the last (the others prepare its inputs)."""
    node = model.graph.node[-1] if len(model.graph.node) else None
    return "none" if node is None else node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def node_cases(writer):
    from onnx.backend.test.case.node import collect_testcases

    cases = list(collect_testcases(None))
    models = {case.name: case.model for case in cases}
    for case in cases:
        plain = models.get(case.name.split("_expanded")[0], case.model)  # expanded: the same case in simpler operators
        kind = "node-expanded" if "_expanded" in case.name else "node"
        writer.add(kind, case.name, operator_of(plain), case.rtol, case.atol, case.model, case.data_sets)


def read_value(path):
    data = open(path, "rb").read()
    tensor = TensorProto()
    try:
        tensor.ParseFromString(data)
        return tensor if tensor.data_type != TensorProto.UNDEFINED else None
    except Exception:  # a sequence or an optional value
        return None


def read_data_set(folder):
    def read(prefix):
        n = len(glob.glob(os.path.join(folder, prefix + "_*.pb")))
        return [read_value(os.path.join(folder, f"{prefix}_{i}.pb")) for i in range(n)]
    return read("input"), read("output")


def stored_cases(writer, kind):
    from onnx.backend.test.loader import load_model_tests

    for case in sorted(load_model_tests(kind=kind), key=lambda c: c.name):
        folder = os.path.join(DATA, kind, case.name)
        model = onnx.load(os.path.join(folder, "model.onnx"))
        data_sets = [read_data_set(f) for f in sorted(glob.glob(os.path.join(folder, "test_data_set*")))]
        writer.add(kind, case.name, operator_of(model), case.rtol, case.atol, model, data_sets)


def light_cases(writer):
    """Whole networks with made-up weights; the input is a ramp, as in ONNX's own runner (0.002: its tolerance file)."""
    from onnx.backend.test.loader import load_model_tests
    from onnx.backend.test.runner import Runner

    tolerances = {os.path.basename(c.url): (c.rtol, c.atol) for c in load_model_tests(kind="real") if c.url}
    for path in sorted(glob.glob(os.path.join(DATA, "light", "*.onnx"))):
        model = onnx.load(path)
        given = {t.name for t in model.graph.initializer}
        inputs = [Runner.generate_dummy_data(v) for v in model.graph.input if v.name not in given]
        outputs = [read_value(f) for f in sorted(glob.glob(path[:-5] + "_output_*.pb"))]
        rtol, atol = tolerances.get(os.path.basename(path), (1e-3, 1e-7))
        writer.add("light", os.path.basename(path)[:-5], "none", rtol, atol, model, [(inputs, outputs)])


def main():
    writer = Writer(sys.argv[1])
    node_cases(writer)
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        stored_cases(writer, kind)
    light_cases(writer)
    writer.close()


if __name__ == "__main__":
    main()
