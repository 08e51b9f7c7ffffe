"""Gradient descent: epochs of shuffled batches, early stopping, the learning curve.

Knows TensorFlow; knows nothing of declarations or of what the numbers mean. Keras' own `fit` spends 60 ms
an epoch on its iterators, whatever the table's size: five folds of survival, 120 epochs each, took 36 s with
it and take 6 s with the one call of a graph per epoch that stands here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Called after each epoch with its number, from 1, and the validation error (nan without validation).
Watch = Callable[[int, float], None]
# Error of each row and member, [b, m, k] against [b, m, k] to [b, m].
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Examples:
    """What members are fitted to: rows (n, e), targets (n, m, k), and what each member does not see.

    `held_back` is boolean (n, m): rows on which a member is validated instead of fitted. With another
    part held back from each member, early stopping costs the ensemble no row.
    """

    rows: Floats
    targets: Floats
    held_back: NDArray[np.bool_]


@dataclass(frozen=True)
class Curve:
    """Mean error of the members per epoch, dropout off and penalties left out.

    `validation` is empty where nothing was held back; `kept` is the epoch, from 1, whose weights stayed.
    """

    training: list[float]
    validation: list[float]
    kept: int


def descend(
    core: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, examples: Examples,
    *, epochs: int, batch: int, patience: int = 0, seed: int = 1, watch: Watch | None = None,
) -> Curve:  # fmt: skip
    """Fit `core`, [n, e] to [n, m x k], in place.

    Stops when the members' mean validation error has not improved for `patience` epochs, and goes back
    to the best one: all together, because one member's own part is small and its best epoch mostly chance.
    With `patience` 0 every epoch runs and the last weights stay. Patience needs rows held back from every
    member: without them there is no error to improve.
    """
    step, measure = _graphs(core, loss, optimizer, examples, batch)
    generator = np.random.default_rng(seed)
    best, kept, weights = np.inf, epochs, core.get_weights()
    training: list[float] = []
    validation: list[float] = []
    for epoch in range(1, epochs + 1):
        step(tf.constant(generator.permutation(len(examples.rows)), tf.int32))
        for errors, error in zip((training, validation), measure(), strict=True):
            errors.append(float(error))
        if watch:
            watch(epoch, validation[-1])
        if patience and validation[-1] < best:
            best, kept, weights = validation[-1], epoch, core.get_weights()
        if patience and epoch - kept >= patience:
            break
    if patience:
        core.set_weights(weights)
    return Curve(training, validation if examples.held_back.any() else [], kept)


def _graphs(
    core: keras.Model, loss: Loss, optimizer: keras.optimizers.Optimizer, examples: Examples, batch: int
) -> tuple[Callable[[tf.Tensor], None], Callable[[], tuple[tf.Tensor, tf.Tensor]]]:
    """Return the graph of an epoch, given the order of the rows, and that of the members' errors after it."""
    rows, targets = tf.constant(examples.rows), tf.constant(examples.targets)
    held = tf.constant(examples.held_back, tf.float32)
    shape = [-1, *examples.targets.shape[1:]]
    optimizer.build(core.trainable_variables)

    def step(order: tf.Tensor) -> None:
        for start in tf.range(0, tf.size(order), batch):
            taken = order[start : start + batch]
            with tf.GradientTape() as tape:
                answers = tf.reshape(core(tf.gather(rows, taken), training=True), shape)
                errors = loss(tf.gather(targets, taken), answers)
                # Summed over members, so that each is penalised and moved as if it were alone.
                error = tf.reduce_sum(_mean(errors, 1 - tf.gather(held, taken), 1e-9))
                total = tf.add_n([error, *core.losses])
            optimizer.apply(tape.gradient(total, core.trainable_variables))

    def measure() -> tuple[tf.Tensor, tf.Tensor]:
        errors = loss(targets, tf.reshape(core(rows, training=False), shape))
        return tf.reduce_mean(_mean(errors, 1 - held)), tf.reduce_mean(_mean(errors, held))

    return tf.function(step), tf.function(measure)


def _mean(errors: tf.Tensor, weights: tf.Tensor, least: float = 0.0) -> tf.Tensor:
    """Return each member's weighted mean; over no rows it is nan, or 0 with `least` above 0."""
    return tf.reduce_sum(errors * weights, axis=0) / tf.maximum(tf.reduce_sum(weights, axis=0), least)
