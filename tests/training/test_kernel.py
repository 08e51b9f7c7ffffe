"""The kernel machine: its graph answers what its formula says, and each row by itself."""

import numpy as np
import pytest
import tensorflow as tf

from training.kernel import LEAST, PANEL, Kernel, KernelMachine, LowRank, fit

KERNEL = Kernel(reach=0.3)


@pytest.fixture(scope="module", params=[3, 7])
def fitted(request):
    """Of numbers of centres and, once, of classes that are filled up."""
    rng = np.random.default_rng(1)
    rows, classes = rng.normal(size=(301, 5)), rng.integers(0, request.param, 301)
    return rows, fit(KERNEL, rows, np.eye(request.param)[classes])


def shares_by_formula(machine, rows):
    """f(z) = mean + sum over centres of k(|z A - c|) alpha, one difference at a time."""
    apart = (rows @ machine.transform)[:, None, :] - machine.centres
    near = 1 / np.sqrt(1 + (apart**2).sum(axis=2) / KERNEL.reach**2)
    shares = LEAST * np.logaddexp(0, (near @ machine.alpha + machine.mean) / LEAST)
    return shares / shares.sum(axis=1, keepdims=True)


def test_rows_that_were_not_fitted_get_what_the_formula_says(fitted):
    _, machine = fitted
    asked = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    answered = KernelMachine(machine)(tf.constant(asked)).numpy()
    np.testing.assert_allclose(answered, shares_by_formula(machine, asked.astype(np.float64)), atol=2e-6)


def test_fitted_rows_get_what_the_formula_says_at_a_distance_of_nothing(fitted):
    rows, machine = fitted
    asked = rows.astype(np.float32)
    answered = KernelMachine(machine)(tf.constant(asked)).numpy()
    np.testing.assert_allclose(answered, shares_by_formula(machine, asked.astype(np.float64)), atol=2e-5)


def test_blocks_of_centres_together_get_what_the_formula_says(fitted, monkeypatch):
    """Of 301 centres, filled up to 312, three blocks of 96 and one of 24."""
    _, machine = fitted
    monkeypatch.setattr("training.kernel.BLOCK", 4 * PANEL)
    graph = KernelMachine(machine)
    asked = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)

    assert [columns.shape[1] for columns in graph.columns] == [96, 96, 96, 24]
    np.testing.assert_allclose(
        graph(tf.constant(asked)).numpy(), shares_by_formula(machine, asked.astype(np.float64)), atol=2e-6
    )


def test_the_slope_is_the_derivative_by_the_squared_distance():
    squared = np.array([0.0, 0.01, 0.3, 25.0])
    step = 1e-6
    by_difference = (KERNEL(squared + step) - KERNEL(squared)) / step
    np.testing.assert_allclose(KERNEL.slope(squared), by_difference, rtol=1e-4)


def test_the_metric_forgets_a_column_that_says_nothing():
    """Classes hang on the first of two columns: afterwards distances do, for the greatest part."""
    rows = np.random.default_rng(3).normal(size=(200, 2))
    machine = fit(KERNEL, rows, np.eye(2)[(rows[:, 0] > 0).astype(int)])
    metric = machine.transform @ machine.transform.T
    assert metric[0, 0] > 3 * metric[1, 1]


def test_of_the_metric_the_directions_that_weigh_most_are_kept():
    """Classes hang on two of five columns: with two directions the machine errs no more than with five."""
    rng = np.random.default_rng(5)
    rows, asked = rng.normal(size=(400, 5)), rng.normal(size=(2000, 5))

    def truth(of):
        return (of[:, 1] > of[:, 3]).astype(int)

    whole, kept = (fit(one, rows, np.eye(2)[truth(rows)]) for one in (Kernel(), LowRank(rank=2)))
    wrong = [np.mean(answer(one, asked).argmax(axis=1) != truth(asked)) for one in (whole, kept)]
    graph = KernelMachine(kept)(tf.constant(asked, tf.float32)).numpy()

    assert (whole.transform.shape, kept.transform.shape, kept.centres.shape) == ((5, 5), (5, 2), (400, 2))
    np.testing.assert_array_equal(kept.transform, whole.transform[:, -2:])
    assert wrong[1] <= wrong[0]
    # The coefficients are those of the directions that are kept.
    gram = near_of(kept, rows) + kept.kernel.ridge * np.eye(400)
    np.testing.assert_allclose(gram @ kept.alpha, np.eye(2)[truth(rows)] - kept.mean, atol=1e-9)
    np.testing.assert_array_equal(graph.argmax(axis=1), answer(kept, asked).argmax(axis=1))


def test_a_kernel_without_a_direction_is_refused():
    with pytest.raises(ValueError, match="rank is at least 1"):
        LowRank(rank=0)


def test_a_row_gets_the_same_shares_in_any_company_and_alone(fitted):
    """To rounding, 2e-6, also at a distance of nothing: that is a difference of large numbers."""
    rows, machine = fitted
    graph, asked = tf.function(KernelMachine(machine)), rows.astype(np.float32)
    whole = graph(tf.constant(asked)).numpy()
    for size in (1, 2, 7, 64):
        parts = [graph(tf.constant(asked[start : start + size])) for start in range(0, len(asked), size)]
        np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=2e-6)


def near_of(machine, rows):
    """The kernel between rows (n, p) and the machine's centres, (n, centres)."""
    apart = (rows @ machine.transform)[:, None, :] - machine.centres
    return machine.kernel((apart**2).sum(axis=2))


def answer(machine, rows):
    """What the machine answers before its answers are made shares, (n, classes)."""
    return near_of(machine, rows) @ machine.alpha + machine.mean
