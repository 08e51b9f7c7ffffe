"""The learners of a recipe, fitted to a table: an ensemble of nets, and a kernel machine beside it.

Knows the tasks and their losses; chooses nothing.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary
from training import kernel
from training.descent import Examples, Floats, Loss, Passed, Watch, descend
from training.kernel import Kernel, KernelMachine
from training.labels import labels, places, prior
from training.layers import Encoding, members
from training.network import Learner, Members, Neighbourhood
from training.recipe import Recipe
from training.table import Table

BINARY: Loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
CATEGORICAL: Loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)


def seeded(seed: int) -> None:
    """Make what follows repeatable: generators from `seed`, operations in a fixed order, in full float32."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # A GPU would cut the numbers of a product to ten bits, and the encoding copies by products.
    tf.config.experimental.enable_tensor_float_32_execution(False)


def encoded_kernel(spec: ModelSpec, recipe: Kernel, table: Table) -> Callable[[Matrix], NDArray[np.float32]]:
    """Fit a kernel machine alone, to every row of the table, copies too; return its shares of asked rows."""
    encoding = Encoding(spec.features, table.matrix, scores=True)
    machine = _neighbourhood(spec, recipe, encoding, table)

    def shares(matrix: Matrix) -> NDArray[np.float32]:
        answered: NDArray[np.float32] = machine(encoding(tf.constant(matrix))).numpy()
        return answered

    return shares


def learners(
    spec: ModelSpec, recipe: Recipe, encoding: Encoding, table: Table, epochs: int, seed: int,
    watch: Watch | None = None, held: tf.Tensor | None = None,
) -> tuple[list[Learner], list[Passed]]:  # fmt: skip
    """Return the learners fitted to the table, and what the nets' epochs leave of the encoded rows `held`."""
    columns = encoding.places("plain", "bin")
    shares = np.asarray(prior(spec, table)) * len(table) + 1  # a class that is absent here is not impossible
    logits = np.log(shares / shares.sum())
    core = members(
        len(columns), 1 if isinstance(spec.task, Binary) else len(logits),
        logits[1:] - logits[:1] if isinstance(spec.task, Binary) else logits,
        count=recipe.members, hidden=recipe.hidden, activation=recipe.activation, dropout=recipe.dropout,
        l2=recipe.l2,
    )  # fmt: skip
    passed = descend(
        core, BINARY if isinstance(spec.task, Binary) else CATEGORICAL, _optimizer(recipe, len(table)),
        recipe.schedule(len(table)), _examples(spec, encoding, columns, table),
        None if held is None else held.numpy()[:, columns],
        until=epochs, seed=seed, watch=watch,
    )  # fmt: skip
    found: list[Learner] = [Members(core, columns)]
    if recipe.kernel:
        found.append(_neighbourhood(spec, recipe.kernel, encoding, table))
    return found, passed


def encoding_of(spec: ModelSpec, recipe: Recipe, table: Table) -> Encoding:
    """Return the encoding that the recipe's learners stand on, with what it learns from the table."""
    return Encoding(spec.features, table.matrix, recipe.numbers, recipe.bins, recipe.kernel is not None)


def _neighbourhood(spec: ModelSpec, recipe: Kernel, encoding: Encoding, table: Table) -> Neighbourhood:
    """Return the kernel machine fitted to normal scores and levels."""
    levels = [place for place in encoding.places("plain") if not np.isnan(encoding.columns[place].level)]
    columns = levels + encoding.places("score")
    z = encoding(tf.constant(table.matrix)).numpy().astype(np.float64)[:, columns]
    machine = kernel.fit(recipe, z, np.eye(len(labels(spec)))[places(spec, table)])
    return Neighbourhood(KernelMachine(machine), columns)


def _optimizer(recipe: Recipe, rows: int) -> keras.optimizers.Optimizer:
    optimizer = keras.optimizers.AdamW(recipe.schedule(rows).rates(rows), weight_decay=recipe.weight_decay)
    # Decay pulls towards 0, which is right for weights and wrong for the prior that the biases start at.
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def _examples(spec: ModelSpec, encoding: Encoding, columns: Sequence[int], table: Table) -> Examples:
    """Return the encoded rows with their classes: 0 or 1, or one-hot."""
    truth = places(spec, table)
    targets = truth[:, None] if isinstance(spec.task, Binary) else np.eye(len(labels(spec)))[truth]
    rows: Floats = encoding(tf.constant(table.matrix)).numpy()[:, columns]
    return Examples(rows, targets.astype(np.float32))
