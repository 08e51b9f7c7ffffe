"""Rows of like answers put together, for plots and tables that show how answers compare with the truth.

Knows numpy and scipy; knows nothing of drawing. A bin of answers to people never holds fewer than SMALLEST
of them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
BINS = 10
SMALLEST = 10
# Answers this near to 0 or 1 stand in bins of their own: otherwise nearly all bins of a sure model are there.
NEARLY = 0.02


class Bin(NamedTuple):
    """Rows of like answers: how many, the mean answer, the mean truth and its 95 % interval."""

    rows: int
    said: float
    happened: float
    low: float
    high: float


def probability_bins(said: Floats, happened: Floats) -> list[Bin]:
    """Part rows into at most ten bins of equal size, by probability, none with fewer than SMALLEST rows.

    Answers within NEARLY of 0 or 1 stand in two further bins. `said` and `happened` are (n,), `happened`
    0 or 1; intervals are Wilson's (1927), which takes rows as independent.
    """
    sure_no, sure_yes = said < NEARLY, said > 1 - NEARLY
    doubtful = np.flatnonzero(~sure_no & ~sure_yes)
    parts = [np.flatnonzero(sure_no), *_of_rows(doubtful, said), np.flatnonzero(sure_yes)]
    found = []
    for rows in _merged(parts):
        interval = binomtest(int(happened[rows].sum()), len(rows)).proportion_ci(method="wilson")
        means = float(said[rows].mean()), float(happened[rows].mean())
        found.append(Bin(len(rows), *means, float(interval.low), float(interval.high)))
    return found


def middle_level(truth: Floats, classes: tuple[int, ...]) -> int:
    """Return the class that most nearly half of the rows reach, of all but the lowest."""
    return min(classes[1:], key=lambda level: abs(float(np.mean(truth >= level)) - 0.5))


def _of_rows(rows: Indices, said: Floats) -> list[Indices]:
    return [rows[part] for part in equal_parts(said[rows], bins_of(len(rows)))]


def bins_of(rows: int) -> int:
    """Return how many bins `rows` rows fill: ten, or fewer so that each holds SMALLEST; at least one."""
    return max(min(BINS, rows // SMALLEST), 1)


def equal_parts(values: Floats, count: int) -> list[Indices]:
    """Return the indices of `values` in ascending order of value, in `count` parts of nearly equal size."""
    return np.array_split(values.argsort(kind="stable"), count)


def _merged(parts: list[Indices]) -> list[Indices]:
    """Join each part that is too small to its neighbour: no bin may show single rows."""
    merged: list[Indices] = []
    for part in parts:
        if merged and min(len(part), len(merged[-1])) < SMALLEST:
            merged[-1] = np.concatenate([merged[-1], part])
        else:
            merged.append(part)
    return [part for part in merged if len(part)]
