"""What a model is fitted by: the nets, who teaches them, and the kernel machine beside them.

Knows how long and how fast nets descend; fits nothing. The recipes themselves stand in `recipes`.
"""

from collections.abc import Collection
from dataclasses import dataclass

from training.descent import Schedule
from training.kernel import Kernel


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fitted: an ensemble of nets with AdamW, and, where `kernel` is one, a kernel machine.

    `batch` 0 is the whole table. `bins` and `numbers` are the encoding's, `average` is the decay of the
    weights' moving average. `choices` is the number of folds inside the table on which epochs, blend,
    calibration and critical values are chosen; with 0 nothing is: every epoch runs, shares stay as they are.
    """

    hidden: tuple[int, ...]
    members: int
    activation: str
    epochs: int
    rate: float
    batch: int = 0
    decays: bool = True
    average: float = 0.0
    bins: int = 0
    numbers: Collection[str] = ()
    dropout: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    kernel: Kernel | None = None
    choices: int = 5

    def schedule(self, rows: int) -> Schedule:
        """How long and how fast the nets descend on a table of so many rows."""
        return Schedule(self.epochs, self.batch or rows, self.rate, self.decays, self.average)


@dataclass(frozen=True, kw_only=True)
class Taught(Recipe):
    """A recipe whose nets learn what a teacher answers to synthetic rows, not what the table says of its own.

    So one small net answers nearly as a large ensemble does (model compression: Bucila, Caruana and
    Niculescu-Mizil 2006, doi:10.1145/1150402.1150464). The teacher answers the mean of its learners' shares:
    the nets of `teacher` after their last epoch, its kernel machine, and `trees` extremely randomised trees.
    Of the `rows` synthetic rows the part `beyond` lies beyond the table's.
    """

    teacher: Recipe
    trees: int = 0
    rows: int = 100_000
    beyond: float = 0.0
