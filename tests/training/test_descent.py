from itertools import pairwise

import keras
import numpy as np
import pytest

from training.descent import CURVE_ROWS, Examples, Schedule, descend, thinning
from training.layers import members
from training.learners import BINARY, seeded

pytestmark = pytest.mark.slow

SQUARE = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
XOR = np.array([0, 1, 1, 0], np.float32)


def fitted(rows, targets, validation=None, count=1, hidden=(), weights=None, until=None, watch=None, **plan):
    """A core fitted to 0 and 1 by Adam, and what its epochs left."""
    seeded(3)
    core = members(rows.shape[1], 1, np.zeros(1), count=count, hidden=hidden)
    if weights:
        core.set_weights(weights)
    schedule = Schedule(**{"epochs": 300, "batch": 4, "rate": 0.1} | plan)
    optimizer = keras.optimizers.Adam(schedule.rates(len(rows)))
    examples = Examples(rows, targets[:, None])
    passed = descend(core, BINARY, optimizer, schedule, examples, validation, until=until, watch=watch)
    return core, passed


def cross_entropy(logits, targets):
    return float(np.mean(np.logaddexp(0, logits[0, :, 0]) - targets * logits[0, :, 0]))


def answers(core, rows):
    return (core(rows).numpy()[0, :, 0] > 0).astype(float).tolist()


@pytest.fixture(scope="module")
def noise():
    """40 rows in 3 columns, with labels of which the first says a little."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(40, 3)).astype(np.float32)
    return rows, (rows[:, 0] + 2 * generator.normal(size=40) > 0).astype(np.float32)


def test_a_hidden_layer_learns_xor():
    """Two layers answer all four rows."""
    core, _ = fitted(SQUARE, XOR, hidden=(8,))

    assert answers(core, SQUARE) == XOR.tolist()


def test_a_single_layer_cannot_learn_xor():
    """A line has at most three of the four rows on their side; the best cross-entropy is log 2."""
    core, passed = fitted(SQUARE, XOR)

    assert answers(core, SQUARE) != XOR.tolist()
    assert min(cross_entropy(one.training, XOR) for one in passed) >= np.log(2) - 1e-6


def test_a_net_can_overfit_ten_rows():
    """With capacity and no penalty, random labels of ten rows are learnt by heart."""
    generator = np.random.default_rng(0)
    rows, targets = generator.normal(size=(10, 4)).astype(np.float32), np.float32([0, 1] * 5)
    core, passed = fitted(rows, targets, hidden=(32,), batch=5)

    assert answers(core, rows) == targets.tolist()
    assert cross_entropy(passed[-1].training, targets) < 0.01


def test_the_rate_falls_along_a_cosine_to_0():
    """10 epochs of 10 rows in batches of 4 are 30 steps: the whole rate, half of it at 15, 0 at the end."""
    rates = Schedule(epochs=10, batch=4, rate=0.1, decays=True).rates(10)

    assert [float(rates(step)) for step in (0, 15, 30)] == pytest.approx([0.1, 0.05, 0], abs=1e-7)


def test_the_rate_stays_where_it_does_not_decay():
    """Without `decays` it is a number."""
    assert Schedule(epochs=10, batch=4, rate=0.1).rates(10) == 0.1


def test_an_epoch_at_rate_0_moves_nothing(noise):
    """The cosine is applied: the last epoch of a decaying fit moves far less than its first."""
    _, passed = fitted(*noise, epochs=20, batch=40, decays=True)
    moves = [np.abs(b.training - a.training).max() for a, b in pairwise(passed)]

    assert moves[-1] < 0.02 * moves[0]


def test_the_averaged_weights_are_what_stays(noise):
    """By hand: a = d a + (1 - d) w with d = min(0.5, (1 + step) / (10 + step)), of the weights' path."""
    path = [fitted(*noise, batch=40, epochs=epochs)[0].get_weights() for epochs in range(1, 6)]
    seeded(3)
    average = members(3, 1, np.zeros(1)).get_weights()
    for step, weights in enumerate(path, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = [decay * one + (1 - decay) * new for one, new in zip(average, weights, strict=True)]
    core, passed = fitted(*noise, batch=40, epochs=5, average=0.5)

    for found, expected, last in zip(core.get_weights(), average, path[-1], strict=True):
        assert np.allclose(found, expected, atol=1e-6)
        assert not np.allclose(found, last, atol=1e-3)
    assert np.allclose(passed[-1].training, core(noise[0]).numpy(), atol=1e-6)


def test_a_fit_until_an_epoch_is_the_same_fit_cut_short(noise):
    """Epochs 1 to 3 of 10, rates and all, are epochs 1 to 3 of the whole, and so are the weights."""
    plan = {"epochs": 10, "batch": 7, "decays": True, "average": 0.9, "hidden": (4,)}
    core, cut = fitted(*noise, until=3, **plan)
    _, whole = fitted(*noise, **plan)

    assert len(cut) == 3
    assert len(whole) == 10
    for one, same in zip(cut, whole, strict=False):
        assert np.array_equal(one.training, same.training)
    assert np.allclose(core(noise[0]).numpy(), whole[2].training, atol=1e-6)


def test_every_epoch_answers_training_and_validation_rows(noise):
    """(members, rows, 1) of each; both are answered as the core does in the end."""
    core, passed = fitted(*noise, validation=noise[0][:5] + 1, count=2, epochs=3, batch=7)

    assert [one.training.shape for one in passed] == [(2, 40, 1)] * 3
    assert [one.validation.shape for one in passed] == [(2, 5, 1)] * 3
    assert np.allclose(passed[-1].training, core(noise[0]).numpy(), atol=1e-6)
    assert np.allclose(passed[-1].validation, core(noise[0][:5] + 1).numpy(), atol=1e-6)


def test_without_validation_rows_there_are_no_answers_to_them(noise):
    """`validation` is empty in every epoch."""
    _, passed = fitted(*noise, epochs=2)

    assert [one.validation.size for one in passed] == [0, 0]


def test_validation_rows_move_nothing(noise):
    """The weights are the same with and without them."""
    with_them, without = (
        fitted(*noise, validation=rows, epochs=3, hidden=(4,), average=0.9)[0].get_weights()
        for rows in (noise[0] + 9, None)
    )

    assert all(np.array_equal(one, same) for one, same in zip(with_them, without, strict=True))


def test_a_member_moves_as_if_it_were_alone(noise):
    """The first of two members, and the same net fitted alone from the same start, answer the same."""
    seeded(5)
    start = members(3, 1, np.zeros(1), count=2, hidden=(4,)).get_weights()
    together, _ = fitted(*noise, count=2, hidden=(4,), weights=start, epochs=5)
    alone, _ = fitted(*noise, hidden=(4,), weights=[one[:1] for one in start], epochs=5)
    answered = together(noise[0]).numpy()

    assert np.allclose(answered[:1], alone(noise[0]).numpy(), atol=1e-5)
    assert np.abs(answered[0] - answered[1]).max() > 1e-2


def test_the_seed_shuffles_and_nothing_else_does(noise):
    """Two fits of one seed have the same weights to the last digit."""
    one, same = (fitted(*noise, epochs=3, hidden=(4,))[0].get_weights() for _ in range(2))

    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))


def test_every_epoch_is_told(noise):
    """Each by its number, from 1."""
    told = []
    fitted(*noise, epochs=4, batch=7, watch=told.append)

    assert told == [1, 2, 3, 4]


def test_the_curve_of_many_rows_is_measured_on_some_thousand():
    """Of 2,500 rows every second is answered, of few each."""
    rows = np.zeros((2 * CURVE_ROWS + 500, 1), np.float32)
    _, passed = fitted(rows, rows[:, 0], epochs=1, batch=len(rows))

    assert thinning(CURVE_ROWS - 1) == thinning(CURVE_ROWS) == 1
    assert passed[0].training.shape == (1, 1250, 1)
