"""Gradient descent: epochs of shuffled batches, averaged weights, the learning curve.

Knows TensorFlow; knows nothing of declarations or of what the numbers mean. Keras' own `fit` spends 60 ms
an epoch on its iterators, whatever the table's size: five folds of survival, 120 epochs each, took 36 s with
it and take 6 s with the one call of a graph per epoch that stands here.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Called after each epoch with its number, from 1.
Watch = Callable[[int], None]
# Training rows that the curve is measured on.
CURVE_ROWS = 1000
# Error of each row, and member if there are several: [m, b, k] or [b, k], targets and answers, without k.
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Examples:
    """Encoded rows (n, e) with what is to be answered to them, (n, k)."""

    rows: Floats
    targets: Floats


@dataclass(frozen=True)
class Curve:
    """Mean error per epoch, dropout off and penalties left out, over several fits.

    `validation` is empty where no rows were held back; `kept` is the epoch, from 1, whose weights stayed.
    """

    training: list[float]
    validation: list[float]
    kept: int


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: the rate falls along a cosine to 0 at `epochs` if `decays`.

    `average` is the decay of the moving average of the weights, which is what stays in the end; with 0
    the last weights stay.
    """

    epochs: int
    batch: int
    rate: float = 1e-3
    decays: bool = False
    average: float = 0.0

    def rates(self, rows: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
        """The rate, or how it falls over the batches of all epochs."""
        batches = self.epochs * -(-rows // self.batch)
        return keras.optimizers.schedules.CosineDecay(self.rate, batches) if self.decays else self.rate


@dataclass(frozen=True)
class Passed:
    """What an epoch leaves: the core's answers to (thinned) training and to validation rows, (m, n, k).

    Without validation rows `validation` is empty.
    """

    training: Floats
    validation: Floats


def descend(
    core: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, schedule: Schedule,
    examples: Examples, validation: Floats | None = None,
    *, seen: Floats | None = None, until: int | None = None, seed: int = 1, watch: Watch | None = None,
) -> list[Passed]:  # fmt: skip
    """Fit `core`, [n, e] to [m, n, k] or [n, k], in place, to the epoch `until`, by default the last.

    Every member is moved as if it were alone. Returns what each epoch leaves, answered with the averaged
    weights, which `core` holds in the end; `validation` are rows (v, e) that move nothing. The curve of
    training is measured on the rows `seen`, by default some of the examples'.
    """
    step, average = _graphs(core, loss, optimizer, schedule, examples)
    answer = tf.function(lambda rows: core(rows, training=False), reduce_retracing=True)
    generator = np.random.default_rng(seed)
    seen = examples.rows[:: thinning(len(examples.rows))] if seen is None else seen
    passed = []
    for epoch in range(1, (until or schedule.epochs) + 1):
        step(tf.constant(generator.permutation(len(examples.rows)), tf.int32))
        with _averaged(core, average):
            unseen = np.empty((0, 0), np.float32) if validation is None else answer(validation).numpy()
            passed.append(Passed(answer(seen).numpy(), unseen))
        if watch:
            watch(epoch)
    if average:
        for variable in core.trainable_variables:
            variable.assign(average.average(variable.value))
    return passed


def _graphs(
    core: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, schedule: Schedule,
    examples: Examples,
) -> tuple[Callable[[tf.Tensor], None], tf.train.ExponentialMovingAverage | None]:  # fmt: skip
    """Return the graph of an epoch, given the order of the rows, and the average that it keeps."""
    rows, targets = tf.constant(examples.rows), tf.constant(examples.targets)
    weights = [variable.value for variable in core.trainable_variables]
    optimizer.build(core.trainable_variables)
    count = tf.Variable(0.0, False)
    # The count makes early averages short: the first weights are chance.
    average = tf.train.ExponentialMovingAverage(schedule.average, count) if schedule.average else None
    if average:
        average.apply(weights)

    def step(order: tf.Tensor) -> None:
        for start in tf.range(0, tf.size(order), schedule.batch):
            taken = order[start : start + schedule.batch]
            with tf.GradientTape() as tape:
                answers = core(tf.gather(rows, taken), training=True)
                wanted = tf.broadcast_to(tf.gather(targets, taken), tf.shape(answers))
                errors = loss(tf.ensure_shape(wanted, answers.shape), answers)
                # Summed over members, so that each is penalised and moved as if it were alone.
                error = tf.reduce_sum(tf.reduce_mean(errors, axis=-1))
                total = tf.add_n([error, *core.losses])
            optimizer.apply(tape.gradient(total, core.trainable_variables))
            if average:
                count.assign_add(1.0)
                average.apply(weights)

    return tf.function(step), average


@contextmanager
def _averaged(core: keras.Model, average: tf.train.ExponentialMovingAverage | None) -> Iterator[None]:
    """Let the core answer with the averaged weights for a while."""
    if average is None:
        yield
        return
    weights = [variable.value for variable in core.trainable_variables]
    current = [tf.identity(weight) for weight in weights]
    for weight in weights:
        weight.assign(average.average(weight))
    yield
    for weight, value in zip(weights, current, strict=True):
        weight.assign(value)


def thinning(rows: int) -> int:
    """Return which every so-manieth of `rows` training rows a curve is measured on."""
    return max(1, rows // CURVE_ROWS)
