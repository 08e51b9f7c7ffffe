"""Where a model may be applied: what training saw of each feature, and what lies outside of it.

Knows codes and names; knows nothing of HTTP, TensorFlow or files.
"""

from collections.abc import Sequence

import numpy as np

from service.features import Matrix
from service.quality import Part


class Seen(Part):
    """What training saw of one feature: range and quantiles of the codes, and which codes if levels.

    `quantiles` are those at 0, 0.1, ... 1. Never a row: columns are summarised one by one.
    """

    low: float
    high: float
    quantiles: list[float]
    levels: list[int] | None


class Applicability:
    """Tells of rows which of their values training never came near."""

    def __init__(self, names: Sequence[str], seen: Sequence[Seen], levels: Sequence[Sequence[int]]) -> None:
        """Of each of d features: its name, what was seen, and the codes of the levels that it may have."""
        self._names = names
        self._low = np.asarray([column.low for column in seen], np.float32)
        self._high = np.asarray([column.high for column in seen], np.float32)
        # The column and the code of each level that was not seen.
        self._new = [
            (place, code)
            for place, (column, codes) in enumerate(zip(seen, levels, strict=True))
            for code in codes
            if code not in (column.levels or ())
        ]

        new = [{code for place, code in self._new if place == column} for column in range(len(names))]
        self._columns = list(zip(names, self._low.tolist(), self._high.tolist(), new, strict=True))

    def outside(self, matrix: Matrix) -> list[list[str]]:
        """Name for each row (n, d) the features whose value is out of the range, or a level, never seen.

        Rows may share a list: nobody changes it.
        """
        found = (matrix < self._low) | (matrix > self._high)
        for column, code in self._new:
            found[:, column] |= matrix[:, column] == code
        nothing: list[str] = []
        names = [nothing] * len(matrix)
        if not found.any():
            return names
        for row in np.flatnonzero(found.any(axis=1)).tolist():
            names[row] = [self._names[column] for column in np.flatnonzero(found[row]).tolist()]
        return names

    def outside_of(self, row: Sequence[float]) -> list[str]:
        """The same for one row, of d float32 numbers as Python's."""
        return [
            name
            for value, (name, low, high, new) in zip(row, self._columns, strict=True)
            if not low <= value <= high or value in new
        ]
