"""Which values of a row training never came near."""

import numpy as np

from service.applicability import Applicability, Seen


def seen(low: float, high: float, levels: list[int] | None = None) -> Seen:
    return Seen(low=low, high=high, quantiles=[], levels=levels)


def test_what_is_beyond_the_range_or_a_level_never_seen_is_named_row_by_row() -> None:
    """The ends were seen; a level between two others need not have been."""
    applicability = Applicability(["age", "diagnosis"], [seen(20, 80), seen(1, 4, [1, 4])], [[], [1, 2, 4]])
    rows = [[20, 1], [80, 4], [19, 4], [81, 2], [50, 2]]

    expected = [[], [], ["age"], ["age", "diagnosis"], ["diagnosis"]]

    assert applicability.outside(np.float32(rows)) == expected
    assert [applicability.outside_of(row) for row in rows] == expected
