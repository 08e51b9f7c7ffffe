"""Synthetic rows: between neighbours or beyond them, as declared, and repeatable."""

import numpy as np
import pytest

from service.features import quantity
from training.synthetic import NEIGHBOURS, synthetic

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    """Two quantities, the second of which cannot be below 0 or above 10."""
    return (
        quantity("alone", unit="g", low=-1000, high=1000, source="A").named("alone"),
        quantity("bounded", unit="g", low=0, high=10, source="B").named("bounded"),
    )


@pytest.fixture(scope="module")
def clusters():
    """Two clusters of more rows than a row has neighbours: near (0, 1), and near (100, 9)."""
    generator = np.random.default_rng(1)
    rows = [generator.uniform(0, 1, (2 * NEIGHBOURS, 2)) + centre for centre in ([0, 0.5], [100, 8.5])]
    return np.concatenate(rows).astype(np.float32)


def test_rows_between_lie_inside_a_cluster(pair, clusters):
    """None stands in the space between the two, and nearly every one is new."""
    made = synthetic(pair, clusters, 5000, 0.0, seed=1)
    parts = [clusters[: 2 * NEIGHBOURS], clusters[2 * NEIGHBOURS :]]
    inside = [((made >= part.min(axis=0)) & (made <= part.max(axis=0))).all(axis=1) for part in parts]

    assert (made.shape, made.dtype) == ((5000, 2), np.float32)
    assert (inside[0] ^ inside[1]).all()
    assert 2000 < inside[0].sum() < 3000
    assert len(np.unique(made, axis=0)) > 4990


def test_quantities_go_their_own_share_of_the_way(pair):
    """Of two rows the synthetic ones fill the rectangle between them, not its diagonal."""
    made = synthetic(pair, np.float32([[0, 0], [1, 1]]), 4000, 0.0, seed=1)

    assert abs(np.corrcoef(made.T)[0, 1]) < 0.1
    assert made.min() < 0.01
    assert made.max() > 0.99


def test_rows_beyond_leave_the_table_but_not_the_declaration(pair):
    """Half of the rows are stretched from -1 to 2: two thirds of those are outside in a column, or held."""
    made = synthetic(pair, np.float32([[0, 1], [1, 9]]), 4000, 0.5, seed=1)
    outside = (made[:, 0] < 0) | (made[:, 0] > 1)

    assert 0.29 < outside.mean() < 0.38
    assert made[:, 0].min() < -0.9
    assert made[:, 0].max() > 1.9
    assert (made[:, 1].min(), made[:, 1].max()) == (0, 10)


def test_what_is_not_a_quantity_stays_the_rows_own(features):
    """A count, a flag and a category are never between their values, nor parted from each other."""
    generator = np.random.default_rng(2)
    nominal = np.stack(
        [generator.integers(40, 80, 90), generator.integers(0, 2, 90), generator.choice([11, 12], 90)]
    )
    rows = np.concatenate([generator.uniform(0, 9, (1, 90)), nominal]).T.astype(np.float32)
    made = synthetic(features, rows, 3000, 0.5, seed=1)

    assert {*map(tuple, made[:, 1:])} == {*map(tuple, rows[:, 1:])}
    assert not np.isin(made[:, 0], rows[:, 0]).all()


def test_the_same_seed_makes_the_same_rows_and_another_does_not(pair, clusters):
    one, same, other = (synthetic(pair, clusters, 50, 0.5, seed) for seed in (1, 1, 2))

    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
