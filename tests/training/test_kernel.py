"""The kernel machine: its graph answers what its formula says, and each row by itself."""

import numpy as np
import pytest
import tensorflow as tf

from training.kernel import LEAST, Kernel, KernelMachine, fit

KERNEL = Kernel(reach=0.3)


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    rows, classes = rng.normal(size=(300, 5)), rng.integers(0, 3, 300)
    return rows, fit(KERNEL, rows, np.eye(3)[classes])


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


def test_a_fitted_row_alone_gets_what_it_gets_in_company(fitted):
    """To float32's last digits: a product of one row would be another routine's, and rounded otherwise."""
    rows, machine = fitted
    graph, asked = tf.function(KernelMachine(machine)), rows.astype(np.float32)
    alone = np.concatenate([graph(tf.constant(row[None])).numpy() for row in asked])
    assert np.abs(alone - graph(tf.constant(asked)).numpy()).max() <= 2e-7
