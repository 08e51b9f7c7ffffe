"""A kernel machine on normal scores, whose metric is learnt: the recipe that fits the wines best.

Ridge regression of one-hot classes with a sum of Laplace kernels of a Mahalanobis distance. The metric is
the average outer product of the fitted function's gradients, in turns with the fit (recursive feature
machines: Radhakrishnan et al. 2024, Science 383, 1461-1467, doi:10.1126/science.adi5639). The graph holds
the training rows: right for wines, never for patients. Knows numpy and TensorFlow; knows no declaration.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import log2

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Doubles = NDArray[np.float64]
# Below this a squared distance is rounding; the square root has a slope there.
NEAR = 1e-10
# Ridge can answer shares below 0: what every class keeps at least, before the shares are made to sum to 1.
LEAST = 0.002


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """k(d) = the sum of weight x exp(-d / width); `ridge` is added to its diagonal; `rounds` of the metric.

    The metric's matrix is raised to `power` and scaled to a trace of one for each column. Each width is the
    one before it halved, once or several times: so the graph needs one exponential and squares of it.
    """

    weights: tuple[float, ...] = (1.0, 4.0)
    widths: tuple[float, ...] = (4.0, 0.25)
    ridge: float = 0.25
    rounds: int = 2
    power: float = 0.5

    def __post_init__(self) -> None:
        """Raise ValueError at widths that are no halves of one another."""
        if not all(halvings.is_integer() and halvings >= 0 for halvings in self._halvings()):
            raise ValueError(f"widths {self.widths}: expected each to be the one before it, halved")

    @property
    def terms(self) -> list[tuple[float, int]]:
        """Each weight, and how often the term before is squared: exp(-d / width) is exp(-d / 2 width)^2."""
        return list(zip(self.weights, map(int, self._halvings()), strict=True))

    def _halvings(self) -> list[float]:
        return [log2(wide / narrow) for wide, narrow in pairwise((self.widths[0], *self.widths))]

    def __call__(self, distance: Doubles) -> Doubles:
        """Return k of each distance."""
        terms = zip(self.weights, self.widths, strict=True)
        return sum((weight * np.exp(-distance / width) for weight, width in terms), np.zeros_like(distance))

    def slope(self, distance: Doubles) -> Doubles:
        """Return k's derivative at each distance."""
        terms = zip(self.weights, self.widths, strict=True)
        return sum(
            (-weight / width * np.exp(-distance / width) for weight, width in terms), np.zeros_like(distance)
        )


@dataclass(frozen=True)
class Machine:
    """A fitted kernel machine: f(z) = mean + k(|A z - c|) alpha, c the rows `centres` in A's coordinates."""

    kernel: Kernel
    transform: Doubles  # (p, p): d(z, z') = |z A - z' A|
    centres: Doubles  # (n, p)
    alpha: Doubles  # (n, classes)
    mean: Doubles  # (classes,)


def fit(kernel: Kernel, rows: Doubles, targets: Doubles) -> Machine:
    """Fit to rows (n, p) and targets (n, classes); n squared numbers of memory, n cubed of time."""
    mean = targets.mean(axis=0)
    metric = np.eye(rows.shape[1])
    alpha, distance = _solve(kernel, rows, targets - mean, metric)
    for _ in range(kernel.rounds):
        metric = _metric(kernel, rows, alpha, distance, metric)
        alpha, distance = _solve(kernel, rows, targets - mean, metric)
    values, vectors = np.linalg.eigh(metric)
    transform = vectors * np.sqrt(np.maximum(values, 0))
    return Machine(kernel, transform, rows @ transform, alpha, mean)


class KernelMachine(tf.Module):  # type: ignore[misc]
    """The graph of a fitted machine: z float32 [None, p] to a share for each class, float32 [None, classes].

    Distances are taken in float64: as a difference of large squares, float32 would leave three digits of
    those between near rows, which are what the answer hangs on. So is the sum of the coefficients, which
    all but cancel: in float32 a row's probability would hang on its neighbours in the batch, by 1e-5.
    """

    def __init__(self, machine: Machine) -> None:
        """Hold the machine's arrays as variables, all distances in units of the kernel's first width."""
        super().__init__(name="kernel_machine")
        self.kernel = machine.kernel
        width = machine.kernel.widths[0]
        centres = machine.centres / width
        squares = (centres**2).sum(axis=1)
        # |p - c|^2 = (p, |p|^2, 1) (-2c, 1, |c|^2): one product, where each sum over all centres would be
        # another way through memory.
        columns = np.vstack([-2 * centres.T, np.ones_like(squares), squares])
        self.transform, self.columns, self.alpha, self.mean = (
            tf.Variable(values, False, name=name, dtype=tf.float64)
            for name, values in (
                ("transform", machine.transform / width), ("columns", columns),
                ("alpha", machine.alpha), ("mean", machine.mean),
            )
        )  # fmt: skip

    @property
    def parameters(self) -> int:
        """The fitted numbers: coefficients, metric and mean; the centres are rows, not parameters."""
        return sum(int(np.prod(one.shape)) for one in (self.alpha, self.transform, self.mean))

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Answer the shares of z."""
        place = tf.matmul(tf.cast(z, tf.float64), self.transform)
        square = tf.reduce_sum(place * place, axis=1, keepdims=True)
        squared = tf.matmul(tf.concat([place, square, tf.ones_like(square)], axis=1), self.columns)
        least = NEAR / self.kernel.widths[0] ** 2
        power = tf.exp(-tf.sqrt(tf.maximum(tf.cast(squared, tf.float32), least)))
        near = []
        for weight, squarings in self.kernel.terms:
            for _ in range(squarings):
                power = tf.square(power)
            near.append(weight * power)
        shares = tf.maximum(tf.matmul(tf.cast(tf.add_n(near), tf.float64), self.alpha) + self.mean, LEAST)
        return tf.cast(shares / tf.reduce_sum(shares, axis=1, keepdims=True), tf.float32)


def _solve(kernel: Kernel, rows: Doubles, targets: Doubles, metric: Doubles) -> tuple[Doubles, Doubles]:
    """Return the coefficients (n, classes), and the distances (n, n) that they were fitted with."""
    moved = rows @ metric
    squares = (moved * rows).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * moved @ rows.T, NEAR))
    np.fill_diagonal(distance, 0)
    gram = kernel(distance)
    gram[np.diag_indices_from(gram)] += kernel.ridge
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    alpha: Doubles = cho_solve(factor, targets, check_finite=False)
    return alpha, distance


def _metric(kernel: Kernel, rows: Doubles, alpha: Doubles, distance: Doubles, metric: Doubles) -> Doubles:
    """Return the next metric: the mean outer product of the gradients at the rows, to the kernel's power."""
    # A row's distance to itself is 0 and has no slope.
    pull = kernel.slope(distance) / np.where(distance > 0, distance, np.inf)
    product = np.zeros_like(metric)
    for coefficients in alpha.T:
        weighed = pull * coefficients
        gradient = (weighed.sum(axis=1)[:, None] * rows - weighed @ rows) @ metric  # (n, p)
        product += gradient.T @ gradient
    values, vectors = np.linalg.eigh(product / len(rows))
    powered = (vectors * np.maximum(values, 0) ** kernel.power) @ vectors.T
    scaled: Doubles = powered * len(metric) / np.trace(powered)
    return scaled
