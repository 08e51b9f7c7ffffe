import numpy as np
import pytest
import tensorflow as tf

from training.kernel import LEAST, Kernel, KernelMachine, Machine, fit

PLAIN = Kernel(weights=(1.0,), widths=(1.0,), ridge=1e-9, rounds=0)


def draw(rows=80, columns=5, seed=0):
    """Normal rows, and two classes that column 2 alone decides, one-hot."""
    z = np.random.default_rng(seed).normal(size=(rows, columns))
    return z, np.eye(2)[(np.sin(2 * z[:, 2]) > 0).astype(int)]


def raw(machine, z):
    """The formula, before shares are made of it: mean + k(|A z - c|) alpha."""
    apart = np.linalg.norm((z @ machine.transform)[:, None] - machine.centres[None], axis=2)
    return machine.mean + machine.kernel(apart) @ machine.alpha


def shares(machine, z):
    answered = np.maximum(raw(machine, z), LEAST)
    return answered / answered.sum(axis=1, keepdims=True)


def metric(machine):
    return machine.transform @ machine.transform.T


def test_two_rows_are_answered_as_by_hand():
    """Rows at 0 and 1, k = exp(-d): at 1/4 the first class has 1/2 + (e^-1/4 - e^-3/4) / (2 (1 - e^-1))."""
    machine = KernelMachine(fit(PLAIN, np.array([[0.0], [1.0]]), np.eye(2)))
    expected = 0.5 + (np.exp(-0.25) - np.exp(-0.75)) / (2 * (1 - np.exp(-1)))

    answered = machine(tf.constant([[0.25]])).numpy()[0]

    assert answered == pytest.approx([expected, 1 - expected], abs=1e-6)


def test_the_graph_answers_the_formula():
    """Float32 shares of fresh rows are those of numpy's float64, to 1e-4."""
    machine = fit(Kernel(), *draw())
    asked, _ = draw(50, seed=1)

    answered = KernelMachine(machine)(tf.constant(asked, tf.float32)).numpy()

    assert answered.dtype == np.float32
    assert np.abs(answered - shares(machine, asked.astype(np.float32))).max() < 1e-4
    assert np.ptp(answered[:, 0]) > 0.3


def test_near_rows_far_from_0_are_told_apart():
    """Around 200, rows 0.01 apart: squares in float32 would leave nothing of their distance."""
    rows = 200 + np.arange(4)[:, None] * [[0.015625, 0.0]]
    machine = fit(PLAIN, rows, np.eye(2)[[0, 1, 0, 1]])

    answered = KernelMachine(machine)(tf.constant(rows, tf.float32)).numpy()

    assert answered.argmax(axis=1).tolist() == [0, 1, 0, 1]
    assert np.abs(answered - shares(machine, rows)).max() < 0.02


def test_shares_are_positive_and_sum_to_1():
    """Where the formula answers 3.5 and -2.5, the second keeps LEAST; then both are made to sum to 1."""
    machine = Machine(PLAIN, np.eye(1), np.zeros((1, 1)), np.array([[3.0, -3.0]]), np.array([0.5, 0.5]))
    near, far = KernelMachine(machine)(tf.constant([[0.0], [99.0]])).numpy()

    assert near == pytest.approx([3.5 / (3.5 + LEAST), LEAST / (3.5 + LEAST)], rel=1e-3)
    assert far == pytest.approx([0.5, 0.5])


def test_next_to_no_ridge_interpolates():
    """Each fitted row is answered with its own class, whatever the labels; with much ridge it is not."""
    z, _ = draw()
    noise = np.eye(2)[np.random.default_rng(4).integers(2, size=len(z))]
    answered = shares(fit(Kernel(ridge=1e-8), z, noise), z)

    assert np.abs(answered - noise).max() < 2 * LEAST
    assert np.abs(shares(fit(Kernel(ridge=5), z, noise), z) - noise).max() > 0.2


def test_more_ridge_is_nearer_to_the_mean():
    """From 0.01 to 50 to a million the answers close in on the classes' shares."""
    z, targets = draw()
    asked, _ = draw(50, seed=1)
    apart = [
        np.abs(shares(fit(Kernel(ridge=ridge), z, targets), asked) - targets.mean(axis=0)).max()
        for ridge in (0.01, 50, 1e6)
    ]

    assert apart[0] > 2 * apart[1] > 2 * apart[2]
    assert apart[2] < 1e-3


def test_the_metric_turns_to_the_column_that_matters():
    """Of five columns one decides the class: its place on the metric's diagonal is by far the largest."""
    learnt = np.diag(metric(fit(Kernel(rounds=3), *draw(200))))

    assert learnt.argmax() == 2
    assert learnt[2] > 3 * np.delete(learnt, 2).max()


def test_learning_the_metric_answers_fresh_rows_better():
    """Four columns of noise hide the fifth from a plain distance."""
    asked, truth = draw(500, seed=1)
    right = [
        np.mean(shares(fit(Kernel(rounds=rounds), *draw(200)), asked).argmax(axis=1) == truth.argmax(axis=1))
        for rounds in (0, 3)
    ]

    assert right[1] > right[0] + 0.05


def test_the_metric_is_the_mean_outer_product_of_gradients():
    """One round with power 1: central differences of the first fit give the same matrix, but for scale."""
    z, targets = draw(30, 3)
    first = fit(Kernel(rounds=0), z, targets)
    step = 1e-5 * np.eye(3)
    slopes = np.stack([(raw(first, z + one) - raw(first, z - one)) / 2e-5 for one in step], axis=1)
    product = np.einsum("npk,nqk->pq", slopes, slopes)

    learnt = metric(fit(Kernel(rounds=1, power=1.0), z, targets))

    assert np.trace(learnt) == pytest.approx(3)
    assert np.allclose(learnt, 3 * product / np.trace(product), atol=1e-4)


def test_without_rounds_the_metric_is_the_identity():
    """Distances are Euclidean."""
    assert np.allclose(metric(fit(PLAIN, *draw(20, 3))), np.eye(3))


def test_the_slope_is_the_kernels_derivative():
    """Central differences of a sum of two Laplace kernels."""
    kernel, distance = Kernel(), np.array([0.1, 1.0, 3.0])

    assert kernel(np.zeros(1)) == pytest.approx([sum(kernel.weights)])
    assert kernel.slope(distance) == pytest.approx(
        (kernel(distance + 1e-6) - kernel(distance - 1e-6)) / 2e-6, rel=1e-6
    )


def test_parameters_are_coefficients_metric_and_mean():
    """80 rows x 2 classes, 5 x 5 and 2: the centres are rows, not parameters."""
    assert KernelMachine(fit(Kernel(), *draw())).parameters == 80 * 2 + 25 + 2
