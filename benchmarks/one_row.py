"""Measures TensorFlow's share of an answer: one row through the graph of each served model, on one core.

    scripts/bench --graph               half a minute
    python -m benchmarks.one_row --artifacts artifacts

Loads the newest version of each model as the service does, keeps TensorFlow to one thread, and prints the
median and the 99th percentile of the signature's call, from numpy row to numpy answers, in milliseconds.
"""

import argparse
import os
import time
from pathlib import Path

# Before TensorFlow is imported: it reads these once.
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np

from service.features import to_matrix
from service.models import MODELS
from service.servable import SavedModelServable

WARM_UP = 200


def main() -> None:
    """Measure every model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=2000, help="for each model")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="as for the service")
    arguments = parser.parse_args()
    for spec in MODELS.values():
        home = arguments.artifacts / spec.name
        newest = max(
            (path for path in home.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
        )
        servable = SavedModelServable(newest, spec)
        row = to_matrix(spec.row, [spec.row.model_validate(dict(spec.example))])
        times = []
        for _ in range(WARM_UP + arguments.calls):
            began = time.perf_counter()
            servable.predict(row)
            times.append(time.perf_counter() - began)
        median, slow = np.quantile(times[WARM_UP:], [0.5, 0.99]) * 1000
        print(f"{spec.name:14s} median {median:6.3f} ms   p99 {slow:6.3f} ms")


if __name__ == "__main__":
    main()
