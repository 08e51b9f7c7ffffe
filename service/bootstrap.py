"""How sure a metric is: bootstrap intervals of a mean loss, and the comparison of two of them.

Knows numpy; knows nothing of HTTP or of models.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.features import Matrix
from service.quality import Figure

Verdict = Literal["as_the_card_says", "better", "worse"]
RESAMPLES = 500
SEED = 0
LEVEL = 0.95
# Groups that are drawn at a time: bounds the memory, whatever the number of rows.
DRAWN = 2_000_000


def interval(losses: NDArray[np.float64], groups: NDArray[np.int_]) -> tuple[float, float] | None:
    """Bounds of the mean loss, as percentiles of samples that draw whole groups with replacement.

    `losses` and the rows' group numbers, from 0, are both (n,). None for fewer than two groups: what
    does not vary says nothing of how it would.
    """
    rows = np.bincount(groups)
    if len(rows) < 2:
        return None
    # A group's loss as the real part, its rows as the imaginary one: one look-up finds both.
    sums = np.bincount(groups, weights=losses) + 1j * rows
    generator = np.random.default_rng(SEED)
    together = max(1, DRAWN // len(rows))
    means: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, together):
        size = (min(together, RESAMPLES - start), len(rows))
        drawn = sums[generator.integers(len(rows), size=size, dtype=np.int32)].sum(axis=1)
        means.append(drawn.real / drawn.imag)
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def groups_of_equal(matrix: Matrix) -> NDArray[np.int_]:
    """The group number of each row, from 0, in which rows of equal values share one; (n, d) to (n,)."""
    # 0.0 and -0.0 are equal, but their bytes are not.
    plain = np.ascontiguousarray(matrix + np.float32(0))
    rows = plain.view(np.dtype((np.void, plain.dtype.itemsize * plain.shape[1]))).ravel()
    return np.unique(rows, return_inverse=True)[1]


def verdict(found: Figure, rows: int, card: Figure | None, card_rows: int) -> Verdict | None:
    """Whether a metric, lower is better, differs from the card's by more than chance.

    `rows` and `card_rows` say how many different rows each was measured on. The difference's 95 % interval
    is made of both intervals by the method of variance estimates recovery (Zou and Donner 2008, Statistics
    in Medicine 27, 1693-1702), which takes lopsided ones as they are. Where errors are rare, few rows show
    none and seem certain; so theirs reaches at least as far as the card's would, had it so few rows.
    """
    if card is None or found.low is None or found.high is None or card.low is None or card.high is None:
        return None
    apart = found.value - card.value
    fewer = max(card_rows / rows, 1) ** 0.5
    below, above = card.value - card.low, card.high - card.value
    if apart > np.hypot(max(found.value - found.low, above * fewer), above):
        return "worse"
    if -apart > np.hypot(max(found.high - found.value, below * fewer), below):
        return "better"
    return "as_the_card_says"
