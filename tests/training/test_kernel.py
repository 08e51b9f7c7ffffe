"""The kernel machine: its graph answers what its formula says."""

import numpy as np
import pytest
import tensorflow as tf

from training.kernel import LEAST, Kernel, KernelMachine, fit

KERNEL = Kernel(weights=(1.0, 4.0, 2.0), widths=(4.0, 0.5, 0.25))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    rows, classes = rng.normal(size=(300, 5)), rng.integers(0, 3, 300)
    return rows, fit(KERNEL, rows, np.eye(3)[classes])


def shares_by_formula(machine, rows):
    """f(z) = mean + sum over centres of k(|z A - c|) alpha, one difference at a time."""
    apart = (rows @ machine.transform)[:, None, :] - machine.centres
    distance = np.sqrt((apart**2).sum(axis=2))
    terms = zip(KERNEL.weights, KERNEL.widths, strict=True)
    near = sum(weight * np.exp(-distance / width) for weight, width in terms)
    shares = np.maximum(near @ machine.alpha + machine.mean, LEAST)
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
    np.testing.assert_allclose(answered, shares_by_formula(machine, asked.astype(np.float64)), atol=2e-4)


@pytest.mark.parametrize("widths", [(4.0, 3.0), (0.5, 4.0)])
def test_widths_that_are_no_halves_are_refused(widths):
    with pytest.raises(ValueError, match=r"expected each to be the one before it, halved"):
        Kernel(weights=(1.0, 1.0), widths=widths)
