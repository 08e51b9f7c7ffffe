"""Folds, out-of-fold predictions and bootstrap intervals, for any function that fits and predicts.

Knows tables and scikit-learn; knows no TensorFlow and nothing of what is being fitted. Rows with equal
inputs never stand on both sides of a split: with the wines' copies split apart, a model is praised for
remembering them (SOURCES.md counts the copies).
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from service.features import Matrix
from service.manifest import Figure
from service.metrics import Metrics
from service.tasks import Outputs
from training.table import Table

Indices = NDArray[np.int64]
# Fit on a table, then answer the rows of a matrix, which brings no targets that could leak.
FitPredict = Callable[[Table, Matrix], Outputs]
# The metrics of outputs against targets.
Measure = Callable[[Outputs, NDArray[np.float64]], Metrics]


def folds(table: Table, count: int = 5, seed: int = 1) -> Iterator[tuple[Indices, Indices]]:
    """Yield `count` pairs (training, test) of row indices: shuffled, stratified by target, grouped.

    Every row is in exactly one test part, and rows of one group are in the same one.
    """
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    yield from splitter.split(table.matrix, _strata(table.targets, count), table.groups)


def out_of_fold(table: Table, fit_predict: FitPredict, count: int = 5, seed: int = 1) -> Outputs:
    """Return outputs for every row, in the table's order, each from a fit that did not see the row."""
    collected: dict[str, NDArray[np.float32]] = {}
    for training, test in folds(table, count, seed):
        for name, values in fit_predict(table.take(training), table.matrix[test]).items():
            rows = collected.setdefault(name, np.empty((len(table), *values.shape[1:]), np.float32))
            rows[test] = values
    return collected


def figures(
    table: Table, outputs: Outputs, measure: Measure, resamples: int = 500, seed: int = 1
) -> dict[str, Figure]:
    """Return each scalar metric of `measure` with its 95 % percentile bootstrap interval.

    Groups are resampled, not rows: a copied wine is one wine. The interval holds the chance in which
    rows were met, not that in which the model was fitted. None-valued and tabular metrics are left out.
    """
    values = _scalars(measure(outputs, table.targets))
    draws = [_scalars(measure(*resample)) for resample in _resamples(table, outputs, resamples, seed)]
    result = {}
    for name, value in values.items():
        low, high = np.quantile([draw[name] for draw in draws if name in draw] or [value], [0.025, 0.975])
        result[name] = Figure(value=value, low=float(low), high=float(high))
    return result


def _resamples(
    table: Table, outputs: Outputs, resamples: int, seed: int
) -> Iterator[tuple[Outputs, NDArray[np.float64]]]:
    generator = np.random.default_rng(seed)
    _, group = np.unique(table.groups, return_inverse=True)
    size = group.max() + 1
    for _ in range(resamples):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        rows = np.repeat(np.arange(len(table)), times[group])
        yield {name: values[rows] for name, values in outputs.items()}, table.targets[rows]


def _scalars(metrics: Mapping[str, object]) -> dict[str, float]:
    # The threshold is a setting that stands among the metrics, not a measurement.
    return {
        name: value for name, value in metrics.items() if isinstance(value, float) and name != "threshold"
    }


def _strata(targets: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return whole targets, those rarer than `count` at either end joined to the nearest common one."""
    whole = targets.astype(np.int64)
    levels, rows = np.unique(whole, return_counts=True)
    common = levels[rows >= count]
    return np.clip(whole, common.min(), common.max()) if common.size else np.zeros_like(whole)
