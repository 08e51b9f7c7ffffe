"""Rows that differ from an instance in one feature: what a what-if asks the model.

Knows declarations and what training saw; knows nothing of HTTP or of answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.applicability import Seen
from service.errors import TooLarge
from service.features import Feature, Matrix
from service.protocol import MAX_ROWS
from service.spec import ModelSpec


@dataclass(frozen=True)
class Sweep:
    """The varied rows of several instances, one instance's after another's.

    `matrix` is float32 (rows, d); `values` (rows,) are the codes of the varied feature, ascending within
    an instance; `sizes` says how many rows belong to each instance.
    """

    matrix: Matrix
    values: NDArray[np.float32]
    sizes: Sequence[int]


def sweep(spec: ModelSpec, feature: Feature, seen: Seen, matrix: Matrix, points: int) -> Sweep:
    """Vary one feature of each row of `matrix` (n, d), and leave out what breaks the declaration.

    Each row's own value is among its values. Raises TooLarge before anything large is built.
    """
    grid = swept_values(feature, seen, points)
    if len(matrix) * len(grid) > MAX_ROWS:
        raise TooLarge(
            f"A request may compute at most {MAX_ROWS:,} points, which is instances times points;"
            " send fewer instances or ask for fewer points."
        )
    column = spec.features.index(feature)
    own = matrix[:, column : column + 1]
    values = np.sort(np.concatenate([np.tile(grid, (len(matrix), 1)), own], axis=1), axis=1)
    new = np.diff(values, axis=1, prepend=-np.inf) > 0
    varied = np.repeat(matrix, values.shape[1], axis=0)
    varied[:, column] = values.ravel()
    kept = new.ravel() & ~exceeding(spec, varied)
    sizes = kept.reshape(values.shape).sum(axis=1).tolist()
    return Sweep(varied[kept], varied[kept, column], sizes)


def swept_values(feature: Feature, seen: Seen, points: int) -> NDArray[np.float32]:
    """The ascending codes over which a feature is varied, at most `points` of them if it is a number."""
    if feature.kind == "flag":
        return np.asarray([0, 1], np.float32)
    if seen.levels is not None:
        return np.asarray(sorted(seen.levels), np.float32)
    even = np.linspace(seen.low, seen.high, points, dtype=np.float64)
    if feature.kind == "count":
        even = even.round()
    return np.unique(even.astype(np.float32))


def exceeding(spec: ModelSpec, matrix: Matrix) -> NDArray[np.bool_]:
    """Which rows have a part that exceeds its whole, (n,)."""
    found = np.zeros(len(matrix), bool)
    for _, part, whole in spec.row.parts():
        found |= matrix[:, part] > matrix[:, whole]
    return found
