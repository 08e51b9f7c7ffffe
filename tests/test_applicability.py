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


def test_bounds_are_those_of_float32_for_one_row_and_for_many() -> None:
    """What training saw as 0.1 came as float32, which is a little more: the end itself was seen."""
    applicability = Applicability(["ph", "alcohol"], [seen(0.1, 0.7), seen(0.3, 0.6)], [[], []])
    low, high = np.float32([0.1, 0.3]), np.float32([0.7, 0.6])
    rows = np.stack([low, high, np.nextafter(low, np.float32(0)), np.nextafter(high, np.float32(1))])
    expected = [[], [], ["ph", "alcohol"], ["ph", "alcohol"]]

    assert applicability.outside(rows) == expected
    assert [applicability.outside_of(row) for row in rows.tolist()] == expected
