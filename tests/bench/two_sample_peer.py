"""CPU time of scipy's two-sample tests and of evidently's drift preset on the same data; see tests/bench/two_sample."""
import json
import sys
import time

import numpy
from scipy import stats


def best(run, rounds):
    seconds = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        seconds = min(seconds, time.process_time() - start)
    return seconds


def main():
    path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    values = numpy.fromfile(path).reshape(2, columns, rows)
    a, b = values[0][0], values[1][0]
    result = {
        "ks": best(lambda: stats.ks_2samp(a, b), 3),
        "cramer_von_mises": best(lambda: stats.cramervonmises_2samp(a, b), 3),
        "anderson_darling": best(lambda: stats.anderson_ksamp([a, b], midrank=True), 3),
        "wasserstein": best(lambda: stats.wasserstein_distance(a, b), 3),
        "energy": best(lambda: stats.energy_distance(a, b), 3),
        "mann_whitney": best(lambda: stats.mannwhitneyu(a, b), 3),
    }
    try:
        import pandas
        from evidently import Report
        from evidently.presets import DataDriftPreset

        frames = [pandas.DataFrame({f"x{i}": side[i] for i in range(columns)}) for side in values]
        result["report"] = best(lambda: Report([DataDriftPreset()]).run(frames[1], frames[0]).dict(), 1)
    except ImportError as error:
        print(f"evidently is not there: {error}", file=sys.stderr)
    print(json.dumps(result))


main()
