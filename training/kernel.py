"""A kernel machine on normal scores, whose metric is learnt: the recipe that fits the wines best.

Ridge regression of one-hot classes with the inverse multiquadric of a Mahalanobis distance. The metric is
the average outer product of the fitted function's gradients, in turns with the fit (recursive feature
machines: Radhakrishnan et al. 2024, Science 383, 1461-1467, doi:10.1126/science.adi5639). The graph holds
the training rows: right for wines, never for patients. Knows numpy and TensorFlow; knows no declaration.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve

Doubles = NDArray[np.float64]
# Ridge can answer shares below 0: about what every class keeps, before the shares are made to sum to 1.
# The graph counts in units of it.
LEAST = 0.002
# Columns of a product that TensorFlow computes alike whatever the number of rows: three registers of eight.
PANEL = 24
# Centres of one product. Each operation reads what the one before it wrote, of 640 rows 4.5 MB of a block and
# 13.6 of all the grades' centres: in blocks such a call takes nine tenths of the time. Smaller ones gave no
# more, and are more operations for a lone row (benchmarks/NOTES.md).
BLOCK = 74 * PANEL
# Where the centres stand that are filled up, squared, in units of the reach. They have no coefficients.
FAR = 1e6


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """k(d) = 1 / sqrt(1 + (d / reach)^2); `ridge` is added to its diagonal; `rounds` of the metric.

    The metric's matrix is raised to `power` and scaled to a trace of one for each column. Laplace kernels
    fit the wines as well; this one is one operation of the squared distance, and has no edge at 0, where
    float32 has only rounding left.
    """

    reach: float = 0.25
    ridge: float = 0.1
    rounds: int = 2
    power: float = 0.5

    def __call__(self, squared: Doubles) -> Doubles:
        """Return k of each squared distance."""
        value: Doubles = 1 / np.sqrt(1 + squared / self.reach**2)
        return value

    def slope(self, squared: Doubles) -> Doubles:
        """Return k's derivative by the squared distance, at each."""
        value: Doubles = self(squared) ** 3 / (-2 * self.reach**2)
        return value


@dataclass(frozen=True, kw_only=True)
class LowRank(Kernel):
    """A kernel that in the end keeps the `rank` directions of the metric that weigh most, at least one."""

    rank: int

    def __post_init__(self) -> None:
        """Raise ValueError if none would be kept."""
        if self.rank < 1:
            raise ValueError("a kernel needs a direction of its metric: rank is at least 1")


@dataclass(frozen=True)
class Machine:
    """A fitted kernel machine: f(z) = mean + k(|A z - c|) alpha, c the fitted rows in A's coordinates."""

    kernel: Kernel
    transform: Doubles  # (p, r), r the directions that are kept: d(z, z') = |z A - z' A|
    centres: Doubles  # (n, r)
    alpha: Doubles  # (n, classes)
    mean: Doubles  # (classes,)


def fit(kernel: Kernel, rows: Doubles, targets: Doubles) -> Machine:
    """Fit to rows (n, p) and targets (n, classes); n squared numbers of memory, n cubed of time."""
    mean = targets.mean(axis=0)
    metric = np.eye(rows.shape[1])
    for _ in range(kernel.rounds):
        alpha, squared = _solve(kernel, rows @ _transform(metric), targets - mean)
        metric = _metric(kernel, rows, alpha, squared, metric)
    transform = _transform(metric)
    if isinstance(kernel, LowRank):
        transform = transform[:, -kernel.rank :]
    centres = rows @ transform
    alpha, _ = _solve(kernel, centres, targets - mean)
    return Machine(kernel, transform, centres, alpha, mean)


class KernelMachine(tf.Module):  # type: ignore[misc]
    """The graph of a fitted machine: z float32 [None, p] to a share for each class, float32 [None, classes].

    One product gives 1 + (d / reach)^2, a column for each centre. As a difference of large squares it is
    rounded to some 1e-5 of itself beside a training row, and less than 1e-6 elsewhere: filled up to whole
    panels, points and distances are rounded alike whatever the number of rows. Of many centres a block at a
    time is asked, and the answers are added.
    """

    def __init__(self, machine: Machine) -> None:
        """Hold the machine's arrays as variables, all distances in units of the kernel's reach."""
        super().__init__(name="kernel_machine")
        # The fitted numbers: the centres are rows, not parameters.
        self.parameters = sum(one.size for one in (machine.alpha, machine.transform, machine.mean))
        centres = machine.centres.T / machine.kernel.reach
        squares = (centres**2).sum(axis=0, keepdims=True)
        # Of p in A's coordinates and a 1 beside it:  1 + |c - p|^2 = (p, 1, |(p, 1)|^2) (-2c, |c|^2, 1)
        transform = block_diag(machine.transform / machine.kernel.reach, 1)
        columns = np.vstack([-2 * centres, squares, np.ones_like(squares)])
        self._width, self._classes = transform.shape[1], len(machine.mean)
        # What is filled up weighs nothing: columns that nobody reads, centres far away, a class too many.
        transform = np.pad(transform, [(0, 0), (0, -self._width % PANEL)])
        far = -columns.shape[1] % PANEL
        columns = np.pad(columns, [(0, 0), (0, far)])
        columns[-2, columns.shape[1] - far :] = FAR
        # A lone row's shares take a quarter less time of eight classes than of seven, of two not.
        unused = 8 - self._classes if 4 < self._classes < 8 else 0
        alpha = np.pad(machine.alpha, [(0, far), (0, unused)]) / LEAST
        mean = np.pad(machine.mean, (0, unused)) / LEAST
        self.transform, self.mean = _kept("transform", transform), _kept("mean", mean)
        starts = range(0, columns.shape[1], BLOCK)
        self.columns = [_kept("columns", columns[:, start : start + BLOCK]) for start in starts]
        self.alpha = [_kept("alpha", alpha[start : start + BLOCK]) for start in starts]

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Answer the shares of z."""
        place = tf.matmul(tf.pad(z, [[0, 0], [0, 1]], constant_values=1), self.transform)[:, : self._width]
        square = tf.reduce_sum(place * place, axis=1, keepdims=True)
        point = tf.concat([place, square], axis=1)
        near = (tf.math.rsqrt(tf.matmul(point, columns)) for columns in self.columns)
        answered = [tf.matmul(block, alpha) for block, alpha in zip(near, self.alpha, strict=True)]
        answers = tf.nn.bias_add(tf.add_n(answered), self.mean)
        # Bent where it is held above 0, not broken: along an edge, attributions would not add up.
        shares = tf.nn.softplus(answers[:, : self._classes])
        return shares / tf.reduce_sum(shares, axis=1, keepdims=True)


def _kept(name: str, values: Doubles) -> tf.Variable:
    """Return fitted numbers as state of the graph."""
    return tf.Variable(values, False, name=name, dtype=tf.float32)


def _transform(metric: Doubles) -> Doubles:
    """Return A, (p, p), of d(z, z') = |z A - z' A|: the metric's directions, the weightiest last."""
    values, vectors = np.linalg.eigh(metric)
    transform: Doubles = vectors * np.sqrt(np.maximum(values, 0))
    return transform


def _solve(kernel: Kernel, points: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Return the coefficients (n, classes), and the squared distances (n, n) that they were fitted with."""
    squares = (points**2).sum(axis=1)
    squared = np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)
    gram = kernel(squared)
    gram[np.diag_indices_from(gram)] += kernel.ridge
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    alpha: Doubles = cho_solve(factor, targets, check_finite=False)
    return alpha, squared


def _metric(kernel: Kernel, rows: Doubles, alpha: Doubles, squared: Doubles, metric: Doubles) -> Doubles:
    """Return the next metric: the mean outer product of the gradients at the rows, to the kernel's power."""
    pull = 2 * kernel.slope(squared)
    product = np.zeros_like(metric)
    for coefficients in alpha.T:
        weighed = pull * coefficients
        gradient = (weighed.sum(axis=1)[:, None] * rows - weighed @ rows) @ metric  # (n, p)
        product += gradient.T @ gradient
    values, vectors = np.linalg.eigh(product / len(rows))
    powered = (vectors * np.maximum(values, 0) ** kernel.power) @ vectors.T
    scaled: Doubles = powered * len(metric) / np.trace(powered)
    return scaled
