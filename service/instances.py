"""What a request asks: validated rows, and how they are to be answered."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from service.features import Cells, Matrix


class Instances(Struct, frozen=True):
    """A validated request: n rows and, where the body brought them, n target codes and n ids."""

    cells: Cells
    targets: NDArray[np.float64] | None = None
    ids: Sequence[int] | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.cells)

    @property
    def matrix(self) -> Matrix:
        """The rows as float32 (n, d)."""
        return np.asarray(self.cells, np.float32)

    def packed(self) -> "Instances":
        """The same instances, whose cells are the matrix: four bytes each instead of some thirty."""
        return replace(self, cells=self.matrix)

    def parts(self, rows: int) -> Iterator["Instances"]:
        """Yield the same instances, at most `rows` at a time."""
        for start in range(0, len(self.cells), rows):
            part = slice(start, start + rows)
            targets = None if self.targets is None else self.targets[part]
            yield Instances(self.cells[part], targets, None if self.ids is None else self.ids[part])


class Options(Protocol):
    """How rows are to be answered: `Parameters`, or what a dialect's reader made."""

    @property
    def rows_each(self) -> int:
        """About how many rows of the graph an instance takes."""
        ...


# What a request asks: rows, and how they are to be answered.
Asked = tuple[Instances, Options]
