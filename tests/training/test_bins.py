from math import ceil

import numpy as np
import pytest

from training.bins import SMALLEST, equal_parts, middle_level, probability_bins


def test_bins_hold_ten_rows_at_least_and_every_row_once():
    """No bin shows a single patient, however the probabilities are spread."""
    generator = np.random.default_rng(0)
    for rows in (20, 37, 160, 470):
        for spread in (generator.beta(1, 6, rows), generator.beta(0.05, 0.05, rows), np.full(rows, 0.3)):
            bins = probability_bins(spread, (generator.random(rows) < spread).astype(float))
            assert min(one.rows for one in bins) >= SMALLEST
            assert sum(one.rows for one in bins) == rows


def test_bins_of_doubtful_rows_are_of_equal_size():
    """470 patients of middling risk: ten bins of 47."""
    said = np.random.default_rng(0).uniform(0.05, 0.6, 470)

    assert [one.rows for one in probability_bins(said, np.zeros(470))] == [47] * 10


def test_sure_answers_have_bins_of_their_own():
    """900 near 0, 50 near 1 and 100 between: the hundred are still told apart."""
    said = np.concatenate([np.full(900, 0.001), np.linspace(0.1, 0.9, 100), np.full(50, 0.999)])
    bins = probability_bins(said, (said > 0.5).astype(float))

    assert [one.rows for one in bins] == [900, *[10] * 10, 50]
    assert [one.happened for one in bins][:2] == [0, 0]


def test_a_bin_says_what_was_said_what_happened_and_how_sure_that_is():
    """Of 19 rows at 0.3, 6 happened: Wilson's interval, by his formula."""
    (found,) = probability_bins(np.full(19, 0.3), np.repeat([0.0, 1.0], [13, 6]))
    z, n, p = 1.959964, 19, 6 / 19
    centre, reach = p + z**2 / 2 / n, z * (p * (1 - p) / n + z**2 / 4 / n**2) ** 0.5

    assert (found.rows, found.said, found.happened) == (19, pytest.approx(0.3), pytest.approx(p))
    assert found.low == pytest.approx((centre - reach) / (1 + z**2 / n), abs=1e-5)
    assert found.high == pytest.approx((centre + reach) / (1 + z**2 / n), abs=1e-5)


def test_equal_parts_are_in_the_order_of_the_values():
    """The first part holds the lowest values, and sizes differ by one at most."""
    values = np.random.default_rng(0).random(23)
    parts = equal_parts(values, 4)

    assert {len(part) for part in parts} <= {23 // 4, ceil(23 / 4)}
    assert np.concatenate([values[part] for part in parts]).tolist() == sorted(values)


def test_half_of_the_wines_reach_grade_6(tables):
    """63 per cent do, 96 reach 5 and 20 reach 7: grade 6 tells most."""
    assert middle_level(tables["wine_grade"].targets, tuple(range(3, 10))) == 6
