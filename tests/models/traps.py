"""What exporters do that importers stumble over, and what is refused: each case is a function of its own."""
import csv
import os
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import networks
import support
from support import check, write_bytes

FIXTURES = networks.FOLDERS[0]


class Case:
    def __init__(self, function):
        self.name, self.run = function.__name__.replace("_", " "), function


def check_trap(programs, case):
    case.run(programs, case.name)


def fixture(name):
    return networks.Case(os.path.join(FIXTURES, name + ".onnx"))


def weights_of(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def data_beside_the_model(programs, name):
    """dynamo's .onnx.data: read, trained, whole in one file afterwards; a folder without it is refused by name."""
    case = fixture("mlp_dynamo_beside")
    model = onnx.load(case.path, load_external_data=False)
    check(any(t.external_data for t in model.graph.initializer), name, "the fixture keeps its data beside it")
    tuned = programs.path("tuned.onnx")
    _, error = networks.train(programs, case, tuned)
    check(error is None, name, error or "trained")
    check(not any(t.external_data for t in onnx.load(tuned, load_external_data=False).graph.initializer), name, "the result is one file")
    alone = programs.path("alone.onnx")
    shutil.copy(case.path, alone)
    _, _, error = programs.run_model(alone, case.feeds(slice(0, 2)))
    check(error is not None and "mlp_dynamo_beside.onnx.data" in error, name, f"without its data: {error}")


def equal_weights_shared_through_identity(programs, name):
    """Equal initialisers are written once: they part before training, and learn different values."""
    case = fixture("batchnorm_torchscript")
    model = onnx.load(case.path)
    initialisers = {t.name for t in model.graph.initializer}
    copies = [n for n in model.graph.node if n.op_type == "Identity" and n.input[0] in initialisers]
    check(len(copies) > 0, name, f"{len(copies)} weights are shared in the fixture")
    tuned = programs.path("tuned.onnx")
    _, error = networks.train(programs, case, tuned)
    if error:
        return check(False, name, error)
    learned = weights_of(tuned)
    biases = [learned[n] for n in ("0.bias", "4.bias") if n in learned]
    check(len(biases) == 2 and not np.allclose(*biases), name, "the two biases differ after an epoch")


def batch_normalisation_exported_in_training_mode(programs, name):
    """Its statistics learn, it predicts afterwards, and its further outputs are gone or unread."""
    case = fixture("batchnorm_torchscript_training")
    tuned = programs.path("tuned.onnx")
    _, error = networks.train(programs, case, tuned)
    if error:
        return check(False, name, error)
    nodes = [n for n in onnx.load(tuned).graph.node if n.op_type == "BatchNormalization"]
    modes = [a.i for n in nodes for a in n.attribute if a.name == "training_mode"]
    check(len(nodes) == 2 and not any(modes), name, f"{len(nodes)} nodes predict after training")
    before, after = weights_of(case.path), weights_of(tuned)
    moved = [n for n in before if "running" in n and n in after and not np.array_equal(before[n], after[n])]
    check(len(moved) == 4, name, f"running statistics that moved: {moved}")


def anonymous_transposed_constants(programs, name):
    """A transformer's weights are constants without a speaking name: found by what they do."""
    for exporter in ("transformer_torchscript", "transformer_dynamo"):
        case = fixture(exporter)
        tuned = programs.path("tuned.onnx")
        _, error = networks.train(programs, case, tuned)
        if error:
            check(False, name, f"{exporter}: {error}")
            continue
        before, after = weights_of(case.path), weights_of(tuned)
        products = {n.input[1] for n in onnx.load(tuned).graph.node if n.op_type == "MatMul"}
        constants = [n for n in products if n in after]
        moved = [n for n in constants if n not in before or not np.array_equal(before[n], after[n])]
        check(len(constants) >= 4 and len(moved) == len(constants), name, f"{exporter}: {len(moved)} of {len(constants)} products learned")


def first_layer(node):
    """x [N, 6] through `node` and a Gemm of one output."""
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6]), helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    weights = [numpy_helper.from_array(np.ones((6, 6), np.float32), "a"), numpy_helper.from_array(np.full((6, 1), 0.1, np.float32), "b")]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"], name="first"), node, helper.make_node("MatMul", ["g", "b"], ["y"], name="last")]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def refuse(programs, name, model, words, command):
    path, data = programs.path("refused.onnx"), programs.path("refused.npz")
    write_bytes(path, model.SerializeToString())
    if command == "train":
        np.savez(data, x=np.ones((40, 6), np.float32) * np.arange(40)[:, None], y=np.arange(40) / 7)
        _, error = programs.run_kedge("train", "--from", path, "--data", data, "--label", "y", "--epochs", "1", "-o", os.devnull)
    else:
        _, _, error = programs.run_model(path, {"x": np.ones((2, 6), np.float32)})
    check(error is not None and all(word in error for word in words), name, f"refused: {error}")


def operators_without_gradient(programs, name):
    """Named with the node, and with what to do; frozen in front of it, it is no obstacle."""
    node = helper.make_node("Tan", ["h"], ["g"], name="wave")
    model = first_layer(node)
    refuse(programs, name, model, ["Tan", "wave", "freeze"], "train")
    path, data, out = programs.path("refused.onnx"), programs.path("refused.npz"), programs.path("frozen.onnx")
    _, error = programs.run_kedge("train", "--from", path, "--data", data, "--label", "y", "--epochs", "1", "--freeze", "a", "-o", out)
    check(error is None, name, error or "trained behind what is frozen")


def unknown_operators(programs, name):
    node = helper.make_node("Frobnicate", ["h"], ["g"], name="odd", domain="com.example")
    model = first_layer(node)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    refuse(programs, name, model, ["Frobnicate", "odd", "export it without"], "run")


def control_flow(programs, name):
    branch = lambda n: helper.make_graph([helper.make_node("Identity", ["h"], [n])], n, [], [helper.make_tensor_value_info(n, TensorProto.FLOAT, None)])
    model = first_layer(helper.make_node("If", ["yes"], ["g"], name="fork", then_branch=branch("t"), else_branch=branch("e")))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    refuse(programs, name, model, ["control flow", "fork", "export it without"], "run")


def integers_where_weights_belong(programs, name):
    """A quantised weight is not trained silently."""
    model = first_layer(helper.make_node("DequantizeLinear", ["q", "s"], ["w"], name="dequantise"))
    model.graph.initializer.extend([numpy_helper.from_array(np.ones((6, 6), np.int8), "q"), numpy_helper.from_array(np.float32(0.1), "s")])
    del model.graph.initializer[:2]
    model.graph.node[0].input[1] = "w"
    model.graph.node[2].CopyFrom(helper.make_node("ReduceSum", ["h"], ["y"], name="sum", keepdims=1))
    model.graph.node.insert(0, model.graph.node.pop(1))
    refuse(programs, name, model, ["ReduceSum", "sum", "the one from which this was made"], "train")


def classify(columns, types):
    """A model of the labels "high", "low", "none" on `columns`: numbers first, then texts behind one-hot encoding."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    random = np.random.RandomState(0)
    texts = [i for i, t in enumerate(types) if t is str]
    table = np.column_stack([random.choice(["1.0", "2.0", "3.50"], 300) if t is str else random.randn(300) for t in types]).astype(object)
    numbers = [i for i in range(len(types)) if i not in texts]
    table[:, numbers] = table[:, numbers].astype(np.float32)
    score = table[:, 0].astype(float) + (sum(table[:, i] == "2.0" for i in texts) if texts else 0)
    y = np.array(["low", "none", "high"])[np.digitize(score.astype(float), [0, 0.8])]
    encode = make_column_transformer((StandardScaler(), numbers), *([(OneHotEncoder(handle_unknown="ignore"), texts)] if texts else []),
                                     sparse_threshold=0)
    model = make_pipeline(encode, LogisticRegression()).fit(table, y)
    initial = [(c, StringTensorType([None, 1]) if t is str else FloatTensorType([None, 1])) for c, t in zip(columns, types)]
    onnx_model = to_onnx(model, initial_types=initial, target_opset={"": 17, "ai.onnx.ml": 3})
    feeds = {c: table[:, i:i + 1].astype(object if t is str else np.float32) for i, (c, t) in enumerate(zip(columns, types))}
    return onnx_model.SerializeToString(), table, y, support.run_runtime(onnx_model.SerializeToString(), feeds)


def predicted(programs, model, columns, rows, *options):
    """(classes, probabilities, error) of `kedge predict`."""
    path, data, out = programs.path("asked.onnx"), programs.path("asked.csv"), programs.path("answers.csv")
    write_bytes(path, model)
    support.write_csv(data, columns, rows)
    _, error = programs.run_kedge("predict", path, data, *options, "-o", out)
    if error:
        return None, None, error
    with open(out) as file:
        return [row["prediction"] for row in csv.DictReader(file)], support.read_probabilities(out), None


def rows_without_a_label(programs, name):
    """The model names its classes, and its inputs their columns: neither a label nor the removal of others is needed."""
    model, table, y, theirs = classify(["a", "b"], [float, float])
    rows = [[f"customer {i}", *map(float, row)] for i, row in enumerate(table)]
    classes, probabilities, error = predicted(programs, model, ["id", "a", "b"], rows)
    check(error is None and classes == list(theirs["output_label"]), name, error or "labels as ONNX Runtime's")
    wanted = list(theirs.values())[-1]
    check(error is None and np.abs(probabilities - wanted).max() <= 1e-5, name, error or "probabilities as ONNX Runtime's")


def classes_that_the_rows_do_not_show(programs, name):
    """Rows of some of the model's classes, and of one alone, are measured."""
    model, table, y, theirs = classify(["a", "b"], [float, float])
    path, data = programs.path("some.onnx"), programs.path("some.csv")
    write_bytes(path, model)
    for shown in (["low", "high"], ["none"]):
        at = [i for i in range(len(y)) if y[i] in shown]
        support.write_csv(data, ["a", "b", "y"], [[*map(float, table[i]), y[i]] for i in at])
        report, error = programs.run_kedge("evaluate", path, "--data", data, "--label", "y")
        wanted = np.mean([theirs["output_label"][i] == y[i] for i in at])
        check(error is None and abs(report["accuracy"] - wanted) < 1e-9, name, error or f"accuracy {report['accuracy']:.4f} on {shown}")


def texts_that_look_like_numbers(programs, name):
    """A category "1.0" is not the number 1."""
    model, table, y, theirs = classify(["a", "code"], [float, str])
    rows = [[float(row[0]), row[1]] for row in table]
    _, probabilities, error = predicted(programs, model, ["a", "code"], rows)
    wanted = list(theirs.values())[-1]
    check(error is None and np.abs(probabilities - wanted).max() <= 1e-5, name, error or "probabilities as ONNX Runtime's")


def tree(children):
    """Branches f0 == 1, f0 == 3, f1 <= 0 and the leaves 10, 20, 30; `children`: numbers of the nodes for yes and no of each branch."""
    yes, no = [c[0] for c in children] + [0, 0, 0], [c[1] for c in children] + [0, 0, 0]
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], name="trees", domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0] * 6,
                            nodes_nodeids=[0, 1, 2, 3, 4, 5], nodes_featureids=[0, 0, 1, 0, 0, 0],
                            nodes_values=[1.0, 3.0, 0.0, 0.0, 0.0, 0.0], nodes_truenodeids=yes, nodes_falsenodeids=no,
                            nodes_modes=["BRANCH_EQ", "BRANCH_EQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"],
                            target_treeids=[0, 0, 0], target_nodeids=[3, 4, 5], target_ids=[0, 0, 0], target_weights=[10.0, 20.0, 30.0])
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2]), helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=10,
                             opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)])


def trees_that_share_a_branch(programs, name):
    """A split by categories, as LightGBM's converter writes it: equalities in a row with one common branch. A circle is refused."""
    model, x = tree([(2, 1), (2, 5), (3, 4)]), np.array([[1, -1], [1, 1], [3, -1], [3, 1], [2, 5]], np.float32)
    ours, _, error = programs.run_model(model.SerializeToString(), {"x": x})
    theirs = support.run_runtime(model.SerializeToString(), {"x": x})
    check(error is None and np.array_equal(ours["y"], theirs["y"]), name, error or "values as ONNX Runtime's")
    _, _, error = programs.run_model(tree([(2, 1), (0, 5), (3, 4)]).SerializeToString(), {"x": x})
    check(error is not None and "circle" in error, name, f"refused: {error}")


def regressors_of_two_values(programs, name):
    """The label's 0 and 1 do not make a classifier of a model of values."""
    path, data = programs.path("values.onnx"), programs.path("values.csv")
    write_bytes(path, tree([(2, 1), (2, 5), (3, 4)]).SerializeToString())
    support.write_csv(data, ["a", "b", "y"], [[1.0, -1.0, 0], [3.0, 1.0, 1], [2.0, 5.0, 1]])
    report, error = programs.run_kedge("evaluate", path, "--data", data, "--label", "y")
    wanted = np.sqrt(np.mean([10 ** 2, 19 ** 2, 29 ** 2]))
    check(error is None and abs(report["rmse"] - wanted) < 1e-4, name, error or f"rmse {report['rmse']:.4f}")


def training_on_the_graph_behind_a_zipmap(programs, name):
    """The probabilities are trained though the only outputs are a label and maps."""
    from sklearn.neural_network import MLPClassifier
    from skl2onnx import to_onnx
    x = np.random.RandomState(0).randn(300, 4).astype(np.float32)
    y = np.digitize(x[:, 0] * x[:, 1], [-0.3, 0.3])
    model = to_onnx(MLPClassifier((8,), max_iter=3, random_state=0).fit(x, y), x[:1], target_opset={"": 17, "ai.onnx.ml": 1})
    path, data, out = programs.path("maps.onnx"), programs.path("maps.csv"), programs.path("learned.onnx")
    write_bytes(path, model.SerializeToString())
    support.write_csv(data, ["a", "b", "c", "d", "y"], [[*map(float, row), int(label)] for row, label in zip(x, y)])
    _, error = programs.run_kedge("train", "--from", path, "--data", data, "--label", "y", "--optimiser", "adamw", "--epochs", "3",
                                  "--validation", "0", "-o", out)
    if error:
        return check(False, name, error)
    loss = lambda file: -np.mean(np.log(list(support.run_runtime(file, {"X": x}).values())[-1][np.arange(300), y]))
    before, after = loss(path), loss(out)
    check(after < before, name, f"loss {before:.4f} -> {after:.4f}")


CASES = [data_beside_the_model, equal_weights_shared_through_identity, batch_normalisation_exported_in_training_mode,
         anonymous_transposed_constants, operators_without_gradient, unknown_operators, control_flow, integers_where_weights_belong,
         rows_without_a_label, classes_that_the_rows_do_not_show, texts_that_look_like_numbers,
         trees_that_share_a_branch, regressors_of_two_values, training_on_the_graph_behind_a_zipmap]


def all_cases():
    return [Case(function) for function in CASES]
