import numpy as np
import pytest

from service.metrics import evaluate
from service.models import MODELS
from training.folds import figures, folds, mean_figure, out_of_fold, resampled
from training.labels import prior
from training.table import Table


@pytest.fixture(scope="module")
def parts(tables):
    return list(folds(tables["wine_grade"], 5, seed=1))


def test_a_fold_never_splits_a_group(tables, parts):
    """No wine stands in the training and in the test part of a fold, copies included."""
    groups = tables["wine_grade"].groups

    assert all(not np.intersect1d(groups[training], groups[test]).size for training, test in parts)


def test_every_row_is_tested_exactly_once(tables, parts):
    """The test parts are a partition of the table, and training is the rest."""
    tested = np.concatenate([test for _, test in parts])

    assert np.arange(len(tables["wine_grade"])).tolist() == sorted(tested)
    assert all(len(training) + len(test) == len(tables["wine_grade"]) for training, test in parts)


def test_folds_are_stratified(tables):
    """Each fold of the survival table has 14 of the 70 deaths, although the file is sorted by diagnosis."""
    table = tables["survival"]

    assert [table.targets[test].sum() for _, test in folds(table)] == [14] * 5


def test_another_seed_shuffles_otherwise(tables):
    """The seed decides the folds, and nothing else does."""
    table = tables["survival"]
    one, same, other = (next(folds(table, 5, seed))[1].tolist() for seed in (1, 1, 2))

    assert one == same
    assert one != other


@pytest.mark.slow
def test_a_grade_rarer_than_the_folds_makes_no_trouble(tables):
    """Five wines have grade 9; ten folds warn of nothing and still partition the table."""
    table = tables["wine_grade"]

    assert len(table) == sum(len(test) for _, test in folds(table, 10))


def test_out_of_fold_outputs_stand_in_the_tables_order():
    """A function that answers a column shows each row its own value, from a fit without that row."""
    matrix = np.arange(40, dtype=np.float32)[:, None]
    table = Table.of(matrix, np.tile([0.0, 1.0], 20), {})

    def echo(training: Table, rows):
        assert not np.isin(rows, training.matrix).any()
        return {"echo": rows[:, 0], "wide": np.repeat(rows, 3, axis=1)}

    outputs = out_of_fold(table, echo)

    assert matrix[:, 0].tolist() == outputs["echo"].tolist()
    assert outputs["wide"].shape == (40, 3)


def test_an_interval_holds_its_value_and_narrows_with_more_rows(tables):
    """The bootstrap interval stands around the estimate; four times the rows halve it, roughly."""
    spec, table = MODELS["wine_quality"], tables["wine_quality"]

    def width(rows: int) -> float:
        part = table.take(np.arange(0, len(table), len(table) // rows))
        outputs = spec.task.trivial(spec.target, prior(spec, part), len(part))
        figure = figures(part, [outputs], lambda o, t: evaluate(spec.task, spec.target, o, t), 200)["rmse"]
        assert figure.low < figure.value < figure.high
        return figure.high - figure.low

    assert 1.4 < width(400) / width(1600) < 2.8


def test_copies_widen_the_interval():
    """100 rows copied tenfold say as much as 100: groups are resampled, not rows."""
    rng = np.random.default_rng(0)
    once = Table.of(rng.normal(size=(100, 2)).astype(np.float32), rng.normal(size=100), {})
    tenfold = once.take(np.tile(np.arange(100), 10))

    def width(table: Table) -> float:
        figure = figures(table, [{}], lambda _, targets: {"mean": float(targets.mean())}, 400)["mean"]
        return figure.high - figure.low

    assert 0.8 < width(tenfold) / width(once) < 1.25


def mean(outputs, targets):
    return {"mean": float(outputs["said"].mean()), "threshold": 0.5, "auc": None, "matrix": [[1]]}


def test_a_figure_is_the_mean_over_the_repeats():
    """Two draws of folds that answer 0 and 1 have 1/2; settings, tables and the undefined are left out."""
    table = Table.of(np.arange(20, dtype=np.float32)[:, None], np.zeros(20), {})
    repeats = [{"said": np.full(20, value)} for value in (0.0, 1.0)]
    found = figures(table, repeats, mean, 10)

    assert list(found) == ["mean"]
    assert (found["mean"].low, found["mean"].value, found["mean"].high) == (0.5, 0.5, 0.5)


def test_without_resamples_there_is_no_interval():
    """The value stands alone."""
    table = Table.of(np.arange(20, dtype=np.float32)[:, None], np.zeros(20), {})
    figure = figures(table, [{"said": np.ones(20)}], mean, 0)["mean"]

    assert (figure.value, figure.low, figure.high) == (1, None, None)


def test_a_resample_takes_a_group_whole_and_as_many_groups_as_there_are():
    """Copies are drawn together, as often as their wine is; over all draws each row comes once a draw."""
    table = Table.of(np.float32([[1], [1], [1], [2], [3], [3]]), np.zeros(6), {})
    draws = [np.bincount(rows, minlength=6) for rows in resampled(table, 400, 1)]

    for times in draws:
        assert times[0] == times[1] == times[2]
        assert times[4] == times[5]
        assert times[0] + times[3] + times[4] == 3
    assert np.allclose(np.mean(draws, axis=0), 1, atol=0.15)


def test_a_mean_has_the_interval_of_its_standard_error():
    """Of 400 values with deviation 1: the mean, and 1.96 / 20 to either side."""
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std() + 5
    table = Table.of(np.arange(400, dtype=np.float32)[:, None], values, {})
    figure = mean_figure(table, values, 1000)

    assert figure.value == pytest.approx(5)
    assert (figure.low, figure.high) == pytest.approx((5 - 0.098, 5 + 0.098), abs=0.012)
