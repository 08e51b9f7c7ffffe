from dataclasses import replace
from math import isnan

import keras
import numpy as np
import pytest

from training.descent import Examples, descend
from training.fit import LOSSES, seeded
from training.layers import members

SQUARE = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
XOR = np.array([0, 1, 1, 0], np.float32)


def fitted(rows, targets, held=None, count=1, hidden=(), **schedule):
    seeded(3)
    core = members(rows.shape[1], 1, np.zeros(1), count=count, hidden=hidden)
    held = np.zeros((len(rows), count), bool) if held is None else held
    examples = Examples(rows, np.repeat(targets[:, None, None], count, axis=1), held)
    schedule = {"epochs": 300, "batch": 4, "rate": 0.1} | schedule
    curve = descend(core, LOSSES["binary"], keras.optimizers.Adam(schedule.pop("rate")), examples, **schedule)
    return core, curve


def answers(core, rows):
    return (core(rows).numpy()[:, 0, 0] > 0).astype(float).tolist()


def test_a_hidden_layer_learns_xor():
    """Two layers answer all four rows."""
    core, _ = fitted(SQUARE, XOR, hidden=(8,))

    assert answers(core, SQUARE) == XOR.tolist()


def test_a_single_layer_cannot_learn_xor():
    """A line has at most three of the four rows on their side; the best cross-entropy is log 2."""
    core, curve = fitted(SQUARE, XOR)

    assert answers(core, SQUARE) != XOR.tolist()
    assert min(curve.training) >= np.log(2) - 1e-6


def test_a_net_can_overfit_ten_rows():
    """With capacity and no penalty, random labels of ten rows are learnt by heart."""
    generator = np.random.default_rng(0)
    rows, targets = generator.normal(size=(10, 4)).astype(np.float32), np.float32([0, 1] * 5)
    core, curve = fitted(rows, targets, hidden=(32,), epochs=300, batch=5)

    assert answers(core, rows) == targets.tolist()
    assert curve.training[-1] < 0.01


@pytest.fixture(scope="module")
def noise():
    """Labels of which the rows say little: fitting them to the end must make validation worse."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(60, 5)).astype(np.float32)
    return rows, (rows[:, 0] + 2 * generator.normal(size=60) > 0).astype(np.float32)


@pytest.fixture(scope="module")
def halves():
    held = np.zeros((60, 2), bool)
    held[:30, 0] = held[30:, 1] = True
    return held


def test_fitting_stops_when_the_validation_error_turns_up(noise, halves):
    """On noise it stops long before the last epoch, with the best epochs' weights and not the last ones."""
    core, curve = fitted(*noise, halves, 2, hidden=(16,), batch=10, patience=20, rate=0.01)
    last, _ = fitted(*noise, halves, 2, hidden=(16,), batch=10, rate=0.01, epochs=len(curve.training))
    rows, targets = noise

    def validation_error(net):
        errors = LOSSES["binary"](np.repeat(targets[:, None, None], 2, axis=1), net(rows)).numpy()
        return errors[halves].mean()

    assert len(curve.training) == curve.kept + 20 < 300
    assert validation_error(core) < validation_error(last)


def test_the_kept_epoch_is_the_best_of_the_curve(noise, halves):
    """The members' mean validation error is lowest at the epoch that is kept, and is that of the weights."""
    core, curve = fitted(*noise, halves, 2, hidden=(16,), batch=10, patience=20, rate=0.01)
    rows, targets = noise
    errors = LOSSES["binary"](np.repeat(targets[:, None, None], 2, axis=1), core(rows)).numpy()

    assert curve.validation[curve.kept - 1] == min(curve.validation)
    assert errors[halves].mean() == pytest.approx(min(curve.validation), rel=1e-5)


def test_held_back_rows_are_not_fitted(noise, halves):
    """Other labels on the held-back rows change no weight of the member that holds them back."""
    rows, targets = noise
    other = targets.copy()
    other[:30] = 1 - other[:30]
    one, two = (
        fitted(rows, labels, halves, 2, epochs=5, batch=10)[0].get_weights()[0] for labels in (targets, other)
    )

    assert np.array_equal(one[0], two[0])
    assert not np.array_equal(one[1], two[1])


def test_without_patience_every_epoch_runs_and_is_told(noise):
    """Each epoch is announced by its number, with nan for the validation error that nobody measured."""
    told = []
    _, curve = fitted(*noise, epochs=4, batch=7, watch=lambda epoch, error: told.append((epoch, error)))

    assert [epoch for epoch, _ in told] == [1, 2, 3, 4]
    assert all(isnan(error) for _, error in told)
    assert len(curve.training) == 4
    assert curve.validation == []
    assert curve.kept == 4


def test_a_batch_without_a_members_rows_moves_no_weight_to_nan(noise, halves):
    """Batches of one row leave one of two members without rows every time, and both stay numbers."""
    core, curve = fitted(*noise, halves, 2, epochs=2, batch=1)

    assert all(np.isfinite(weights).all() for weights in core.get_weights())
    assert np.isfinite(curve.training + curve.validation).all()


def test_patience_without_held_back_rows_is_refused(quick):
    """A single member holds nothing back: waiting would stop it with the weights of epoch 1."""
    with pytest.raises(ValueError, match="at least 2 members or patience 0, received patience 20"):
        replace(quick, members=1, patience=20)

    assert replace(quick, members=1, patience=0).members == 1
