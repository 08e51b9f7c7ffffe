"""From shares that learners answer to probabilities that hold: blending, calibration, conformal values.

Everything here is chosen on answers to rows that the learners had not seen. Knows numpy, scipy and, for the
graph, TensorFlow; knows the tasks of declarations.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import minimize

from service.conformal import COVERAGES
from service.features import Feature
from service.tasks import Binary, Multiclass, Outputs, Regression, Task

Doubles = NDArray[np.float64]
# Shares of 0 have no logarithm; float32 knows none between this and 0 that matters.
LEAST = 1e-12
# How many nats of the summed loss it costs to move slope or shift by 1 from where they change nothing:
# without it, 470 patients' noise calibrates worse than nothing does.
PULL = 20.0
# Weights of a second learner that are tried.
WEIGHTS = np.linspace(0, 1, 21)


class Calibration(tf.Module):  # type: ignore[misc]
    """Shares to probabilities, [None, classes] each: softmax(slope x log(shares) + shift).

    With a shift of 0 this is temperature scaling, 1 / slope the temperature (Guo et al. 2017,
    arXiv:1706.04599); for two classes slope and shift are Platt's (1999).
    """

    def __init__(self, slope: float, shift: Sequence[float]) -> None:
        """Hold both; (1, zeros) changes nothing."""
        super().__init__(name="calibration")
        self.slope = tf.Variable(slope, False, name="slope", dtype=tf.float32)
        self.shift = tf.Variable(shift, False, name="shift", dtype=tf.float32)

    def __call__(self, shares: tf.Tensor) -> tf.Tensor:
        """Answer the probabilities."""
        return tf.nn.softmax(self.slope * tf.math.log(tf.maximum(shares, LEAST)) + self.shift)


def blend(shares: Sequence[Doubles], classes: NDArray[np.int64]) -> list[float]:
    """Return the weights, which sum to 1, of one or two learners: those of the least calibrated log-loss.

    `shares` are (n, classes) for each learner, `classes` (n,) the true ones' places.
    """
    if len(shares) == 1:
        return [1.0]
    first, second = shares
    losses = [_fitted((1 - weight) * first + weight * second, classes, 1)[1] for weight in WEIGHTS]
    weight = float(WEIGHTS[int(np.argmin(losses))])
    return [1 - weight, weight]


def calibrated(task: Task, shares: Doubles, classes: NDArray[np.int64]) -> tuple[float, list[float]]:
    """Return the slope and the shift of least log-loss: a temperature, or Platt's two for two classes."""
    (slope, shift), _ = _fitted(shares, classes, 2 if isinstance(task, Binary) else 1)
    return slope, [0.0] * (shares.shape[1] - 1) + [shift]


def loss(shares: Doubles, classes: NDArray[np.int64]) -> float:
    """Return the cross-entropy of shares (n, classes) as they are, in nats."""
    return float(-np.mean(np.log(np.maximum(shares[np.arange(len(classes)), classes], LEAST))))


def apply(shares: Doubles, slope: float, shift: Sequence[float]) -> Doubles:
    """Return what `Calibration` answers, in numpy."""
    logits = slope * np.log(np.maximum(shares, LEAST)) + np.asarray(shift)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Doubles = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def critical_values(
    task: Task, target: Feature, outputs: Outputs, targets: Doubles
) -> dict[str, list[float]]:
    """Return the critical values by coverage (`conformal.Critical`), {} where the task has none.

    From `outputs` for n rows, each by learners that had not seen it, with their true codes (n,): what
    cross-conformal prediction does (Vovk 2015, doi:10.1007/s10472-013-9368-4), for a network that is then
    fitted to all rows. That one usually errs a little less; cards say what it covers on outer folds.
    """
    match task:
        case Regression():
            errors = np.abs(targets - outputs[target.name]) / outputs["standard_deviation"]
            found = {coverage: [_quantile(errors, coverage)] for coverage in COVERAGES}
        case Binary(sets=None):
            found = {}
        case _:
            shares = task.shares(target, outputs)
            labels = np.asarray(task.classes if isinstance(task, Multiclass) else (0, 1))
            truth = np.searchsorted(labels, targets)
            own = shares[np.arange(len(truth)), truth]
            parts = [own[truth == place] if isinstance(task, Binary) else own for place in range(len(labels))]
            # A class that nobody has shown cannot be ruled out.
            found = {
                coverage: [-_quantile(-part, coverage) if len(part) else 0.0 for part in parts]
                for coverage in COVERAGES
            }
    return {str(coverage): values for coverage, values in found.items()}


def _quantile(scores: Doubles, coverage: float) -> float:
    """Return the score that a new one does not exceed with the probability `coverage`, the last at most."""
    rank = min(int(np.ceil((len(scores) + 1) * coverage)), len(scores))
    return float(np.sort(scores)[rank - 1])


def _fitted(
    shares: Doubles, classes: NDArray[np.int64], parameters: int
) -> tuple[tuple[float, float], float]:
    """Return slope and shift of least log-loss, the shift 0 with one parameter, and that loss."""
    logs = np.log(np.maximum(shares, LEAST))
    rows = np.arange(len(classes))

    def penalised(values: Doubles) -> float:
        logits = values[0] * logs
        logits[:, -1] += values[1] if parameters > 1 else 0.0
        logits -= logits.max(axis=1, keepdims=True)
        entropy = np.log(np.exp(logits).sum(axis=1)) - logits[rows, classes]
        pull = PULL * ((values[0] - 1) ** 2 + (values[1:] ** 2).sum())
        return float((entropy.sum() + pull) / len(classes))

    best = minimize(
        penalised, np.array([1.0, 0.0])[:parameters], method="Nelder-Mead", options={"xatol": 1e-4}
    )
    slope, shift = (*best.x, 0.0)[:2]
    return (float(slope), float(shift)), float(best.fun)
