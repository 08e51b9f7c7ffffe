"""Folds, out-of-fold predictions and bootstrap intervals, for any function that fits and predicts.

Knows tables and scikit-learn; knows no TensorFlow and nothing of what is being fitted. Rows with equal
inputs never stand on both sides of a split: with the wines' copies split apart, a model is praised for
remembering them (SOURCES.md counts the copies).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from service.features import Matrix
from service.metrics import Metrics
from service.quality import Figure
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
    table: Table, repeats: Sequence[Outputs], measure: Measure, resamples: int = 500, seed: int = 1
) -> dict[str, Figure]:
    """Return each scalar metric of `measure`, the mean over `repeats`, with its 95 % bootstrap interval.

    `repeats` holds outputs for every row of the table, from other folds each. Groups are resampled, not
    rows: a copied wine is one wine. The interval holds the chance in which rows were met, and not that in
    which the model was fitted. Metrics that are None or a table are left out; with 0 resamples there is no
    interval.
    """
    values = _mean_scalars(measure, repeats, table.targets)
    draws = [
        _mean_scalars(measure, [_rows_of(outputs, rows) for outputs in repeats], table.targets[rows])
        for rows in resampled(table, resamples, seed)
    ]
    return {
        name: _figure(value, [draw[name] for draw in draws if name in draw]) for name, value in values.items()
    }


def mean_figure(table: Table, values: NDArray[np.float64], resamples: int = 500, seed: int = 1) -> Figure:
    """Return the mean of one value a row, (n,), with its 95 % bootstrap interval over groups."""
    return _figure(
        float(values.mean()), [float(values[rows].mean()) for rows in resampled(table, resamples, seed)]
    )


def resampled(table: Table, resamples: int, seed: int) -> Iterator[Indices]:
    """Yield the row indices of each bootstrap resample of the table's groups."""
    generator = np.random.default_rng(seed)
    _, group = np.unique(table.groups, return_inverse=True)
    size = group.max() + 1
    for _ in range(resamples):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        yield np.repeat(np.arange(len(table)), times[group])


def _figure(value: float, draws: Sequence[float]) -> Figure:
    if not draws:
        return Figure(value=value)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Figure(value=value, low=float(low), high=float(high))


def _mean_scalars(
    measure: Measure, repeats: Sequence[Outputs], targets: NDArray[np.float64]
) -> dict[str, float]:
    found = [scalars(measure(outputs, targets)) for outputs in repeats]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _rows_of(outputs: Outputs, rows: Indices) -> Outputs:
    return {name: values[rows] for name, values in outputs.items()}


def scalars(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the metrics that are one number and measured."""
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
