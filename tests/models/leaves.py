"""A tree ensemble that answers with leaves: one column a tree, the number of the leaf that a row reaches."""
import onnx
from onnx import TensorProto, helper

KEPT = ("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids",
        "nodes_falsenodeids", "nodes_missing_value_tracks_true", "nodes_hitrates")


def is_ensemble(node):
    return node.op_type in ("TreeEnsembleClassifier", "TreeEnsembleRegressor")


def leaf_model(model):
    """Bytes of the model up to its first ensemble, whose weights are the numbers of the leaves; NULL: no ensemble."""
    model = onnx.load_from_string(model)
    nodes, place = model.graph.node, next((i for i, n in enumerate(model.graph.node) if is_ensemble(n)), None)
    if place is None:
        return None
    found = {a.name: helper.get_attribute_value(a) for a in nodes[place].attribute}
    trees = {tree: column for column, tree in enumerate(sorted(set(found["nodes_treeids"])))}
    leaves = [(t, n) for t, n, mode in zip(found["nodes_treeids"], found["nodes_nodeids"], found["nodes_modes"]) if mode == b"LEAF"]
    node = helper.make_node("TreeEnsembleRegressor", [nodes[place].input[0]], ["leaves"], name="leaves", domain="ai.onnx.ml",
                            n_targets=len(trees), post_transform="NONE", aggregate_function="SUM",
                            target_treeids=[t for t, _ in leaves], target_nodeids=[n for _, n in leaves],
                            target_ids=[trees[t] for t, _ in leaves], target_weights=[float(n) for _, n in leaves],
                            **{k: found[k] for k in KEPT if k in found})
    before = list(nodes[:place])
    del nodes[:], model.graph.output[:], model.graph.value_info[:]
    nodes.extend(before + [node])
    model.graph.output.append(helper.make_tensor_value_info("leaves", TensorProto.FLOAT, ["N", len(trees)]))
    return model.SerializeToString()
