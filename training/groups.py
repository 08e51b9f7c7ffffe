"""Metrics of parts of the rows: by level of a category or flag, by band of a number.

Knows declarations, tables and the bootstrap of training/folds.py; knows nothing of how rows were answered.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.features import Feature
from service.metrics import evaluate
from service.quality import Figure, Group
from service.spec import ModelSpec
from service.tasks import Binary, Outputs
from training.folds import figures
from training.table import Table

# Of fewer rows a share's 95 % interval is wider than 30 points: a number that would only mislead.
FEWEST = 30
STEPS = (1.0, 2.0, 5.0)


class Band(NamedTuple):
    """A part of a feature's values, low <= value < high, and its name."""

    name: str
    low: float
    high: float


def group_figures(
    spec: ModelSpec, table: Table, repeats: Sequence[Outputs], resamples: int = 500, seed: int = 1
) -> list[Group]:
    """Return the metrics of each level or band of the features in `spec.grouped_by`, in declared order.

    Each of `repeats` holds outputs for every row, in the table's order; values are means over them, with the
    intervals of folds.figures. A group of fewer than
    FEWEST rows, or of one class where the task has two, keeps its count and has no metrics.
    """
    columns = {feature.name: column for column, feature in enumerate(spec.features)}
    found = []
    for name in spec.grouped_by:
        values = table.matrix[:, columns[name]].astype(np.float64)
        for band in bands(spec.features[columns[name]], values):
            rows = np.flatnonzero((values >= band.low) & (values < band.high))
            metrics = _figures(spec, table, repeats, rows, resamples, seed)
            found.append(Group(of=name, name=band.name, rows=len(rows), metrics=metrics))
    return found


def bands(feature: Feature, values: NDArray[np.float64]) -> list[Band]:
    """Return the parts of a feature: each level that `values` show, or the bands of a number.

    Numbers are cut in three where `cuts` says; a count's band names its last whole number.
    """
    if feature.kind in ("category", "flag"):
        return [Band(_level(feature, code), code - 0.5, code + 0.5) for code in np.unique(values).tolist()]
    edges = cuts(values)
    if not edges:
        return [Band("all", -np.inf, np.inf)]
    return list(_bands(feature, edges))


def cuts(values: NDArray[np.float64]) -> list[float]:
    """Return where a number is cut: the round values below which a third, and two thirds, nearly lie.

    Round are the multiples of the largest of 1, 2, 5, 10, 20, ... (or 0.5, 0.2, 0.1, ...) that the
    interquartile range holds: 60 and 70 for the ages of the surgery table, not 59 and 66. Each cut is the
    multiple whose share of rows below it comes nearest; whole numbers are cut at whole ones, and equal cuts
    count once. [] where half of the values are the same.
    """
    low, high = np.quantile(values, [0.25, 0.75])
    if high == low:
        return []
    size = 10.0 ** np.floor(np.log10(high - low))
    step = max(size * digit for digit in STEPS if size * digit <= (high - low) * (1 + 1e-9))
    if not (values % 1).any():
        step = max(step, 1.0)
    multiples = np.arange(np.ceil(values.min() / step), values.max() // step + 1) * step
    below = np.searchsorted(np.sort(values), multiples) / len(values)
    # Nothing lies below the first multiple if it is the smallest value: it would part no rows.
    multiples, below = multiples[below > 0], below[below > 0]
    nearest = {int(np.abs(below - share).argmin()) for share in (1 / 3, 2 / 3)}
    return [float(multiples[place]) for place in sorted(nearest)]


def _bands(feature: Feature, edges: list[float]) -> Iterator[Band]:
    yield Band(f"below {edges[0]:g}", -np.inf, edges[0])
    for low, high in pairwise(edges):
        last = high - 1
        whole = f"{low:g}" if last == low else f"{low:g} to {last:g}"
        yield Band(whole if feature.kind == "count" else f"{low:g} to below {high:g}", low, high)
    yield Band(f"{edges[-1]:g} and over", edges[-1], np.inf)


def _level(feature: Feature, code: float) -> str:
    value = feature.value(code)
    return str(value) if isinstance(value, str) else ("yes" if value else "no")


def _figures(
    spec: ModelSpec,
    table: Table,
    repeats: Sequence[Outputs],
    rows: NDArray[np.int64],
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    part = table.take(rows)
    if len(part) < FEWEST or (isinstance(spec.task, Binary) and np.unique(part.targets).size < 2):
        return {}
    answered = [{name: values[rows] for name, values in outputs.items()} for outputs in repeats]
    return figures(part, answered, partial(evaluate, spec.task, spec.target), resamples, seed)
