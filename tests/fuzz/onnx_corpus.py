"""Writes small models of every shape into a folder: what the fuzzer starts from. Usage: onnx_corpus.py FOLDER"""
import os
import sys
import warnings

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "onnx"))
warnings.filterwarnings("ignore")
from onnx.backend.test.case.node import collect_testcases

import models

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
number = 0
for case in list(models.hand_cases()) + [models.mixed_case(True, 2, True)]:
    open(os.path.join(folder, f"model{number}.onnx"), "wb").write(case.model)
    number += 1
seen = set()
for case in collect_testcases(None):
    if case.model is None or len(case.model.graph.node) > 3:
        continue
    kind = case.model.graph.node[0].op_type
    data = case.model.SerializeToString()
    if kind in seen or len(data) > 2000:
        continue
    seen.add(kind)
    open(os.path.join(folder, f"node_{kind}.onnx"), "wb").write(data)
