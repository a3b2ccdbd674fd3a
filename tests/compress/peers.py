"""kedge compress: what it writes passes onnx.checker, runs in ONNX Runtime on its integer kernels, and says there what it
says in kedge; pruned weights, students of trees, refusals.

usage: peers.py KEDGE OUT_FOLDER
"""
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(here, "..", "support"), os.path.join(here, "..", "train")]
import mnist  # noqa: E402
from world import Checks  # noqa: E402

warnings.filterwarnings("ignore")
KEDGE, OUT = os.path.abspath(sys.argv[1]), sys.argv[2]
os.makedirs(OUT, exist_ok=True)
os.chdir(OUT)
check = Checks()


def kedge(*arguments, fails=False):
    done = subprocess.run([KEDGE, *map(str, arguments), "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout or "{}")
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"kedge {arguments}: {report.get('error', done.stderr)}")
    return report["error"] if fails else report


def runtime(path, feeds, output, optimised):
    """The output, and the operators that ran."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.optimized_model_filepath = "optimised.onnx"
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run([output], feeds)[0], {node.op_type for node in onnx.load("optimised.onnx").graph.node}


def agrees(name, path, data, feeds, output, expected_operators, label=()):
    """kedge and ONNX Runtime give the same, but for rare roundings to the next of 256 steps; the integer kernels too."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    kedge("predict", path, data, "-o", "p.npy", *label)
    ours = np.load("p.npy")
    for optimised in (False, True):
        theirs, operators = runtime(path, feeds, output, optimised)
        same, difference = (ours.argmax(1) == theirs.argmax(1)).mean(), np.abs(ours - theirs)
        check(f"{name}, {'integer kernels' if optimised else 'as written'}: same decisions, mean difference of probabilities",
              same >= .99 and difference.mean() <= 2e-3, f": {same:.4f}, {difference.mean():.2g}, largest {difference.max():.2g}")
        if optimised:
            check(f"{name}: integer kernels", expected_operators <= operators, f": {sorted(operators)}")
    return ours


def count_nonzero(path):
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
    return sum(int((a != 0).sum()) for a in arrays if a.ndim >= 2)


def largest_integer(path):
    arrays = [numpy_helper.to_array(tensor).astype(int) for tensor in onnx.load(path).graph.initializer if tensor.data_type == TensorProto.INT8]
    return max(abs(a).max() for a in arrays if a.ndim >= 2)


def write_csv(path, columns, rows):
    with open(path, "w") as file:
        file.write(",".join(columns) + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))


# --- images: a network of kedge -------------------------------------------------------------------------------------------
digits, truth = load_digits(return_X_y=True)
digits = digits.astype(np.uint8)
n = len(digits)
mnist.write_npz("digits.npz", {"x": mnist.npy((n, 8, 8), digits.tobytes()), "y": mnist.npy((n,), truth.astype(np.uint8).tobytes())})
images = {"features": digits.astype(np.float32)}
kedge("train", "--data", "digits.npz", "--label", "y", "--arch", "cnn:8,16", "--epochs", 25, "--test", .2, "-o", "cnn.onnx")
for options in ([], ["--activations", "uint8"], ["--per-tensor"], ["--ranges", "entropy"], ["--ranges", "percentile"], ["--ranges", "min-max"]):
    report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--int8", *options, "-o", "cnn8.onnx")
    name = "digits " + " ".join(options or ["int8"])
    check(f"{name}: size", report["size_ratio"] < .5, f": {report['size_ratio']:.3f}")
    check(f"{name}: accuracy", report["after"]["accuracy"] >= report["before"]["accuracy"] - .012,
          f": {report['after']['accuracy']:.4f} of {report['before']['accuracy']:.4f} on {report['rows']} rows")
    agrees(name, "cnn8.onnx", "digits.npz", images, "probabilities", {"QLinearConv", "QGemm"})
    # Pairs of products of 8 by 7 bits fit 16 bits, in which processors without VNNI add them.
    check(f"{name}: weights", largest_integer("cnn8.onnx") == 63, f" up to {largest_integer('cnn8.onnx')}")
report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--int8", "--full-range", "-o", "cnn8.onnx")
check("digits --full-range: weights", largest_integer("cnn8.onnx") == 127, f" up to {largest_integer('cnn8.onnx')}")
promise = json.loads({p.key: p.value for p in onnx.load("cnn8.onnx").metadata_props}["kedge.validation"])
check("the file says what was measured", promise == {"accuracy": report["after"]["accuracy"], "n": report["rows"]}, f": {promise}")
check("bytes are the file's", report["after"]["bytes"] == os.path.getsize("cnn8.onnx"))
step = report["steps"][0]
check("all layers are integers", (step["layers"], step["layers_kept"], step["normalisations_folded"]) == (4, 0, 3), f": {step}")
report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--int8", "--keep-float", "first,last", "-o", "kept.onnx")
check("first and last layer stay", report["steps"][0]["layers_kept"] == 2 and report["steps"][0]["layers"] == 2)
agrees("digits, first and last kept", "kept.onnx", "digits.npz", images, "probabilities", {"Conv", "QLinearConv", "QGemm", "Gemm"})

# --- a residual network that another program wrote ---------------------------------------------------------------------------
random = np.random.default_rng(1)


def constant(name, *shape, scale=None):
    fan = int(np.prod(shape[1:])) or 1
    return numpy_helper.from_array((random.normal(size=shape) * (scale or (2 / fan) ** .5)).astype(np.float32), name)


nodes = [helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c1"], ["r1"]),
         helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=2),
         helper.make_node("BatchNormalization", ["c2", "g", "s", "m", "v"], ["n2"]),
         helper.make_node("Add", ["n2", "r1"], ["sum"]), helper.make_node("Relu", ["sum"], ["r2"]),
         helper.make_node("MaxPool", ["r2"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
         helper.make_node("AveragePool", ["pool"], ["mean"], kernel_shape=[2, 2], strides=[2, 2]),
         helper.make_node("Reshape", ["mean", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w3"], ["product"]),
         helper.make_node("Add", ["product", "b3"], ["scores"]), helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1)]
constants = [constant("w1", 32, 1, 3, 3), constant("b1", 32, scale=.1), constant("w2", 32, 16, 3, 3), constant("g", 32, scale=1),
             constant("s", 32, scale=.1), constant("m", 32, scale=.1), numpy_helper.from_array(np.linspace(.5, 2, 32).astype(np.float32), "v"),
             constant("w3", 128, 10, scale=1), constant("b3", 10, scale=.1), numpy_helper.from_array(np.array([-1, 128]), "shape")]
graph = helper.make_graph(nodes, "residual", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
                          [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10])], constants)
residual = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
schema = {"task": "multiclass", "label": "y", "classes": [str(c) for c in range(10)],
          "features": [{"name": f"x[{i}]", "kind": "numeric"} for i in range(64)]}
helper.set_model_props(residual, {"kedge.schema": json.dumps(schema)})
onnx.save(residual, "residual.onnx")
# ONNX Runtime for x86 makes UINT8 of INT8 activations that have one reader; where a skip gives them two it falls back to floats.
for activations, kernels in (("int8", {"QLinearAveragePool"}), ("uint8", {"QLinearConv", "QLinearAdd", "QLinearAveragePool"})):
    report = kedge("compress", "residual.onnx", "--data", "digits.npz", "--int8", "--activations", activations, "-o", "residual8.onnx")
    step, name = report["steps"][0], f"residual {activations}"
    check(f"{name}: two convolutions, a product, a sum", (step["layers"], step["sums"], step["normalisations_folded"]) == (3, 1, 1), f": {step}")
    check(f"{name}: agreement", report["agreement"] >= .95, f": {report['agreement']:.4f}")
    agrees(name, "residual8.onnx", "digits.npz", {"x": digits.reshape(n, 1, 8, 8).astype(np.float32)}, "probabilities", kernels)

# --- tables: scikit-learn's network, and ours with texts and missing numbers ------------------------------------------------
rows = random.normal(size=(1200, 6)).astype(np.float32)
classes = (rows[:, 0] * rows[:, 1] + rows[:, 2] > 0).astype(int)
write_csv("table.csv", [f"f{i}" for i in range(6)] + ["y"], [[*map(repr, map(float, row)), c] for row, c in zip(rows, classes)])
network = MLPClassifier((64, 64), max_iter=60, random_state=1).fit(rows[:900], classes[:900])
onnx.save(to_onnx(network, rows[:1], target_opset={"": 17, "ai.onnx.ml": 3}, options={"zipmap": False}), "sklearn.onnx")
report = kedge("compress", "sklearn.onnx", "--data", "table.csv", "--label", "y", "--int8", "-o", "sklearn8.onnx")
check("scikit-learn: accuracy", report["after"]["accuracy"] >= report["before"]["accuracy"] - .02, f": {report['after']['accuracy']:.4f}")
agrees("scikit-learn", "sklearn8.onnx", "table.csv", {"X": rows}, "probabilities", {"QGemm"}, ("--label", "y"))
places = random.choice(["north", "south", "west"], 1200)
texts = [["" if i % 17 == 0 else repr(float(row[0])), repr(float(row[1])), place, "in" if row[1] + (place == "north") > .3 else "out"]
         for i, (row, place) in enumerate(zip(rows, places))]
write_csv("texts.csv", ["a", "b", "place", "y"], texts)
kedge("train", "--data", "texts.csv", "--label", "y", "--arch", "mlp:64,64", "-o", "texts.onnx")
report = kedge("compress", "texts.onnx", "--data", "texts.csv", "--int8", "-o", "texts8.onnx")
check("texts: agreement", report["agreement"] >= .97, f": {report['agreement']:.4f} of {report['rows']} rows")
feeds = {"a": np.array([[float(t[0] or "nan")] for t in texts], np.float32), "b": rows[:, 1:2], "place": places.reshape(-1, 1).astype(object)}
agrees("texts", "texts8.onnx", "texts.csv", feeds, "probabilities", {"QGemm"})

# --- pruning, students, one after the other -------------------------------------------------------------------------------------
for scope in ("layer", "global"):
    report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--prune", .8, "--scope", scope, "--fine-tune-epochs", 20, "--learning-rate", .004, "-o", "pruned.onnx")
    share = report["after"]["weights_not_zero"] / report["after"]["weights"]
    check(f"pruned by {scope}: a fifth of the weights is left", abs(share - .2) < .005 and count_nonzero("pruned.onnx") == report["after"]["weights_not_zero"],
          f": {share:.4f}")
    check(f"pruned by {scope}: accuracy", report["after"]["accuracy"] >= report["before"]["accuracy"] - .03,
          f": {report['after']['accuracy']:.4f} of {report['before']['accuracy']:.4f}")
    agrees(f"pruned by {scope}", "pruned.onnx", "digits.npz", images, "probabilities", {"Conv"})
for by in ("l1", "activation"):
    report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--prune", .5, "--structured", "--by", by, "--fine-tune-epochs", 15, "-o", "units.onnx")
    check(f"units by {by}: less than half of the bytes", report["size_ratio"] < .5, f": {report['size_ratio']:.3f}")
    check(f"units by {by}: accuracy", report["after"]["accuracy"] >= report["before"]["accuracy"] - .05,
          f": {report['after']['accuracy']:.4f} of {report['before']['accuracy']:.4f}")
    agrees(f"units by {by}", "units.onnx", "digits.npz", images, "probabilities", {"Conv"})
kedge("train", "--data", "table.csv", "--label", "y", "--arch", "trees:rounds=60", "-o", "trees.onnx")
write_csv("bare.csv", [f"f{i}" for i in range(6)], [[*map(repr, map(float, row))] for row in rows])
report = kedge("compress", "trees.onnx", "--data", "bare.csv", "--distill", "mlp:24", "--epochs", 60, "--learning-rate", .01, "-o", "student.onnx")
check("a student of trees, without labels", report["agreement"] >= .85 and report["steps"][0]["rows_labelled"] == 0 and report["after"]["accuracy"] is None,
      f": agreement {report['agreement']:.4f} on {report['rows']} rows")
kedge("train", "--data", "texts.csv", "--label", "y", "--arch", "trees:rounds=60", "-o", "text_trees.onnx")
feeds["place"][:20], odd = "east", [[text[0], text[1], "east" if i < 20 else text[2], text[3]] for i, text in enumerate(texts)]
write_csv("odd.csv", ["a", "b", "place", "y"], odd)
for teacher in ("text_trees.onnx", "texts.onnx"):
    report = kedge("compress", teacher, "--data", "texts.csv", "--distill", "mlp:8", "-o", "student.onnx")
    check(f"a student of {teacher}: agreement", report["agreement"] >= .93 and report["size_ratio"] < .5,
          f": {report['agreement']:.4f} of {report['rows']} rows, {report['size_ratio']:.3f} of the size")
    inputs = [[(i.name, i.type.tensor_type.elem_type) for i in onnx.load(path).graph.input] for path in (teacher, "student.onnx")]
    check(f"a student of {teacher}: the same inputs", inputs[0] == inputs[1], f": {inputs}")
    ours = agrees(f"a student of {teacher}", "student.onnx", "odd.csv", feeds, "probabilities", {"Gemm"})
    difference = np.abs(ours - runtime("student.onnx", feeds, "probabilities", False)[0]).max()
    check(f"a student of {teacher}: missing numbers and unseen texts in ONNX Runtime", difference <= 1e-5, f": {difference:.2g}")
report = kedge("compress", "cnn.onnx", "--data", "digits.npz", "--distill", "cnn:4,8", "--epochs", 10, "--prune", .3, "--int8", "-o", "all.onnx")
check("all three, one after the other", [step["step"] for step in report["steps"]] == ["distill", "prune", "int8"], f": {report['steps']}")
agrees("all three", "all.onnx", "digits.npz", images, "probabilities", {"QLinearConv"})

kedge("train", "--data", "table.csv", "--label", "y", "--arch", "mlp:2", "--epochs", 1, "-o", "tiny.onnx")

# --- refusals -------------------------------------------------------------------------------------------------------------------
old = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
helper.set_model_props(old, {"kedge.schema": json.dumps(schema)})
onnx.save(old, "old.onnx")
for name, arguments, says in (
        ("trees", ["trees.onnx", "--data", "table.csv", "--int8"], "no Conv, Gemm or MatMul"),
        ("trees", ["trees.onnx", "--data", "table.csv", "--prune", .5, "--fine-tune-epochs", 0], "no weights"),
        ("trees", ["trees.onnx", "--data", "table.csv", "--prune", .5, "--structured", "--fine-tune-epochs", 0], "no unit"),
        ("8 bits twice", ["cnn8.onnx", "--data", "digits.npz", "--int8"], "8 bits already"),
        ("an old operator set", ["old.onnx", "--data", "digits.npz", "--int8"], "opset_version 13"),
        ("an unknown layer", ["cnn.onnx", "--data", "digits.npz", "--int8", "--keep-float", "zebra"], "'zebra'"),
        ("all layers kept", ["cnn.onnx", "--data", "digits.npz", "--int8", "--keep-float", "*"], "nothing is left"),
        ("an unknown range", ["cnn.onnx", "--data", "digits.npz", "--int8", "--ranges", "guess"], "percentile, entropy, mse"),
        ("too large a share", ["cnn.onnx", "--data", "digits.npz", "--prune", 1], "between 0 and 1"),
        ("no labels to fine-tune on", ["trees.onnx", "--data", "bare.csv", "--prune", .5], "0 epochs do without"),
        ("texts for a student of images", ["texts.onnx", "--data", "texts.csv", "--distill", "cnn:8"], '"cnn:8" is for images'),
        ("an unknown student", ["cnn.onnx", "--data", "digits.npz", "--distill", "tree:8"], "mlp:64,64"),
        ("a model that would grow", ["tiny.onnx", "--data", "table.csv", "--int8"], "so few weights"),
        ("another label", ["cnn.onnx", "--data", "digits.npz", "--label", "z", "--int8"], 'predicts "y"'),
        ("other rows", ["cnn.onnx", "--data", "table.csv", "--int8"], "x[0]")):
    message = kedge("compress", *arguments, "-o", "refused.onnx", fails=True)
    check(f"refused: {name}", says in message and not os.path.exists("refused.onnx"), f": {message}")
for arguments in (["cnn.onnx", "--data", "digits.npz", "-o", "x"], ["cnn.onnx", "--int8", "-o", "x"], ["cnn.onnx", "--data", "digits.npz", "--int8"],
                  ["cnn.onnx", "--data", "digits.npz", "--int8", "--structured", "-o", "x"],
                  ["cnn.onnx", "--data", "digits.npz", "--prune", ".5", "--ranges", "mse", "-o", "x"]):
    done = subprocess.run([KEDGE, "compress", *arguments], capture_output=True, text=True)
    check(f"usage: {' '.join(arguments)}", done.returncode == 2, f": {done.returncode}")
text = subprocess.run([KEDGE, "compress", "cnn.onnx", "--data", "digits.npz", "--int8", "-o", "cnn8.onnx"], capture_output=True, text=True).stdout
check("the report for people", all(word in text for word in ("bytes", "accuracy", "median time", "of the size", "held out")), f": {text}")
check.report()
