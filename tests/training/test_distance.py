import numpy as np
import pytest
import tensorflow as tf

from service.features import quantity
from service.models import MODELS
from training.distance import DistancePercentile
from training.layers import Encoding
from training.table import Table

WIDTH = 8
MIXING = np.random.default_rng(9).normal(size=(WIDTH, WIDTH))


def draw(rows, seed):
    """Rows of eight columns that hang together, in different units."""
    normal = np.random.default_rng(seed).normal(size=(rows, WIDTH)) @ MIXING
    return (100 + np.arange(1, WIDTH + 1) * normal).astype(np.float32)


def distance(matrix):
    features = [
        quantity(f"column {place}", unit="", low=-1e6, high=1e6, source=f"C{place}").named(f"c{place}")
        for place in range(WIDTH)
    ]
    return DistancePercentile(Encoding(features, matrix), Table.of(matrix, np.zeros(len(matrix)), {}))


@pytest.fixture(scope="module")
def learnt():
    return distance(draw(2000, 1))


def percentiles(module, matrix):
    return module(tf.constant(matrix)).numpy()


def test_fresh_rows_are_spread_evenly(learnt):
    """Of rows like the training rows 10 % lie below the 10th percentile, half below the 50th, and so on."""
    found = percentiles(learnt, draw(4000, 2))

    for percentile in (5, 10, 25, 50, 75, 90, 95):
        assert np.mean(found <= percentile) * 100 == pytest.approx(percentile, abs=3)


def test_fresh_rows_of_a_small_table_are_not_called_far():
    """60 rows lie nearer to their own centre than fresh ones do; percentiles are read off rows held out."""
    found = [percentiles(distance(draw(60, seed)), draw(1000, seed + 50)).mean() for seed in range(8)]

    assert np.mean(found) == pytest.approx(50, abs=5)


def test_the_centre_is_near_and_what_is_beyond_all_rows_is_at_100(learnt):
    """100 means that every training row is nearer; a little beyond the farthest is enough."""
    centre = draw(2000, 1).mean(axis=0)
    farther = centre + np.linspace(0, 9, 60, dtype=np.float32)[:, None] * (draw(1, 5) - centre)
    found = percentiles(learnt, farther)

    assert found[0] < 1
    assert (np.diff(found) >= 0).all()
    assert found[-1] == 100


def test_distance_knows_which_columns_go_together(learnt):
    """As far off in every column alone, but against the table's correlations: farther."""
    matrix = draw(4000, 3)
    with_them = matrix[np.argsort(percentiles(learnt, matrix))[:2000]]
    generator = np.random.default_rng(4)
    shuffled = np.column_stack([generator.permutation(column) for column in with_them.T])

    assert percentiles(learnt, shuffled).mean() > percentiles(learnt, with_them).mean() + 20


def test_a_row_outside_the_training_range_is_far(learnt):
    """The nets answer as at the edge of the range; the distance does not stop there."""
    matrix = np.stack([draw(2000, 1).mean(axis=0)] * 2)
    matrix[1, 0] = draw(2000, 1)[:, 0].max() * 3

    assert percentiles(learnt, matrix)[1] == 100


def test_copies_of_a_row_are_held_out_together():
    """Copies of one far row would otherwise vouch for each other: their percentile is that of one far row."""
    once = draw(60, 7)
    once[0] += np.float32(6) * np.ptp(once, axis=0)
    copied = np.concatenate([once, np.repeat(once[:1], 12, axis=0)])
    edges = [float(distance(matrix).left[0, -1]) for matrix in (once, copied)]

    assert edges[1] > 0.8 * edges[0]


def test_the_graph_is_as_large_for_many_rows_as_for_few(learnt):
    """A mean, a matrix and 101 percentiles, whatever the table's size: no row can stand in it."""
    few, many = ([variable.shape for variable in one.variables] for one in (distance(draw(150, 1)), learnt))

    assert few == many
    assert all(150 not in shape and 2000 not in shape for shape in (*few, *many))


def test_a_table_of_four_rows_has_percentiles_too(tables):
    """Too few rows to hold any out: the AND gate's are all as near as one another."""
    table = tables["and_gate"]
    module = DistancePercentile(Encoding(MODELS["and_gate"].features, table.matrix), table)

    assert np.ptp(percentiles(module, table.matrix)) == 0
    assert percentiles(module, table.matrix + 5).tolist() == [100] * 4
