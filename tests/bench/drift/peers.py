"""peers.py PEER FOLDER: CPU time of one Python peer on the data of data.py, a line "KEY NANOSECONDS" a figure, as drift_bench
prints them; the first line names the versions. Each is called as its documentation does, on what it takes fastest."""

import os
import sys
import time

import numpy

COLUMNS = 20


def best(run, rounds):
    seconds = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        seconds = min(seconds, time.process_time() - start)
    return seconds


def put(key, seconds, units=1):
    print(key, format(1e9 * seconds / units, ".6g"))


def read(folder, name):
    return numpy.fromfile(os.path.join(folder, name + ".f64"))


def table(folder, name):
    return read(folder, name).reshape(COLUMNS, -1)


def scipy(folder):
    from scipy import stats

    a, b = table(folder, "reference")[0], table(folder, "current")[0]
    put("ks", best(lambda: stats.ks_2samp(a, b), 3))
    put("cramer_von_mises", best(lambda: stats.cramervonmises_2samp(a, b), 3))
    put("anderson_darling", best(lambda: stats.anderson_ksamp([a, b], midrank=True), 3))
    put("wasserstein", best(lambda: stats.wasserstein_distance(a, b), 3))
    put("energy", best(lambda: stats.energy_distance(a, b), 3))
    put("mann_whitney", best(lambda: stats.mannwhitneyu(a, b), 3))


def evidently(folder):
    import pandas
    from evidently import Report
    from evidently.presets import DataDriftPreset

    frames = [
        pandas.DataFrame({f"x{i}": column for i, column in enumerate(table(folder, name))})
        for name in ("reference", "current")
    ]
    seconds = best(lambda: Report([DataDriftPreset()]).run(frames[1], frames[0]).dict(), 1)
    put("report", seconds)
    put("report_distance", seconds)


def river(folder):
    from river import drift
    from river.drift import binary

    errors, normals = read(folder, "errors").tolist(), read(folder, "normals").tolist()

    def measure(key, make, values):
        def run():
            detector = make()
            update = detector.update
            for x in values:
                update(x)

        put(key, best(run, 2), len(values))

    bits = [int(x) for x in errors]
    measure("adwin", drift.ADWIN, errors)
    measure("adwin-normals", drift.ADWIN, normals)
    measure("page-hinkley", drift.PageHinkley, errors)
    measure("ddm", binary.DDM, bits)
    measure("eddm", binary.EDDM, bits)
    measure("hddm-a", binary.HDDMA, bits)
    measure("hddm-w", binary.HDDMW, bits)
    measure("kswin", lambda: drift.KSWIN(seed=1), normals[:4000])


def nannyml(folder):
    import pandas
    from nannyml import CBPE

    p, y, q = (read(folder, f"cbpe_{name}") for name in ("reference", "truth", "analysis"))
    reference = pandas.DataFrame({"p": p, "pred": (p >= 0.5).astype(int), "y": y.astype(int)})
    analysis = pandas.DataFrame({"p": q, "pred": (q >= 0.5).astype(int)})
    made = {}

    def fit():
        made["cbpe"] = CBPE(
            problem_type="classification_binary",
            y_pred_proba="p",
            y_pred="pred",
            y_true="y",
            chunk_size=5000,
            metrics=["roc_auc", "f1", "precision", "recall", "accuracy"],
        ).fit(reference)

    fitted = best(fit, 2)
    estimated = best(lambda: made["cbpe"].estimate(analysis), 2)
    put("cbpe_fit", fitted, len(p))
    put("cbpe_estimate", estimated, len(q))
    put("cbpe", fitted + estimated, len(p) + len(q))


def people(folder):
    groups, labels, predictions = read(folder, "fair").reshape(3, -1)
    names = numpy.array(["north", "south", "east", "west", "abroad"])
    return names[groups.astype(int)], labels.astype(int), predictions.astype(int)


def fairlearn(folder):
    import pandas
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, precision_score

    groups, labels, predictions = people(folder)
    seven = {
        "accuracy": accuracy_score,
        "precision": precision_score,
        "true_positive_rate": metrics.true_positive_rate,
        "selection_rate": metrics.selection_rate,
        "false_positive_rate": metrics.false_positive_rate,
        "false_negative_rate": metrics.false_negative_rate,
        "true_negative_rate": metrics.true_negative_rate,
    }
    region = pandas.Series(pandas.Categorical(groups), name="region")

    def run():
        frame = metrics.MetricFrame(metrics=seven, y_true=labels, y_pred=predictions, sensitive_features=region)
        return frame.overall, frame.by_group, frame.difference()

    put("fairness", best(run, 2), len(labels))


def aif360(folder):
    import pandas
    from aif360.datasets import BinaryLabelDataset
    from aif360.metrics import ClassificationMetric

    groups, labels, predictions = people(folder)
    codes = numpy.unique(groups, return_inverse=True)[1]

    def dataset(values):
        frame = pandas.DataFrame({"region": codes, "y": values})
        return BinaryLabelDataset(df=frame, label_names=["y"], protected_attribute_names=["region"])

    # Two groups are all it compares; data sets are made before, as kedge's columns are.
    truth, predicted = dataset(labels), dataset(predictions)

    def run():
        metric = ClassificationMetric(
            truth, predicted, unprivileged_groups=[{"region": c} for c in range(1, 5)], privileged_groups=[{"region": 0}]
        )
        for privileged in (True, False, None):
            metric.accuracy(privileged), metric.precision(privileged), metric.true_positive_rate(privileged)
            metric.selection_rate(privileged), metric.false_positive_rate(privileged)
            metric.false_negative_rate(privileged), metric.true_negative_rate(privileged)
        return metric.disparate_impact(), metric.equal_opportunity_difference(), metric.average_odds_difference()

    put("fairness", best(run, 2), len(labels))


def alibi(folder):
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    from alibi_detect.cd import MMDDrift

    x = read(folder, "mmd_reference").reshape(-1, COLUMNS).astype(numpy.float32)
    y = read(folder, "mmd_current").reshape(-1, COLUMNS).astype(numpy.float32)
    detector = MMDDrift(x, backend="tensorflow", n_permutations=100)
    put("mmd", best(lambda: detector.predict(y), 2))


def datasketches(folder):
    import datasketches as sketches

    values = read(folder, "reference")

    def run():
        sketch = sketches.kll_doubles_sketch(200)
        sketch.update(values)
        assert sketch.n == len(values)

    put("kll", best(run, 3), len(values))


PEERS = {f.__name__: f for f in (scipy, evidently, river, nannyml, fairlearn, aif360, alibi, datasketches)}
DISTRIBUTIONS = {"alibi": "alibi-detect"}


def main():
    from importlib.metadata import version

    peer, folder = sys.argv[1:]
    name = DISTRIBUTIONS.get(peer, peer)
    print("version", f"{name} {version(name)}, numpy {version('numpy')}")
    PEERS[peer](folder)


main()
