"""The learners of a recipe, fitted to a table: nets, taught by others or not, and a kernel machine.

Knows the tasks and their losses; chooses nothing.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary
from training import kernel
from training.descent import Examples, Floats, Loss, Passed, Watch, descend, thinning
from training.kernel import Kernel, KernelMachine
from training.labels import labels, places, prior
from training.layers import Encoding, members
from training.network import ROWS, Learner, Members, Neighbourhood
from training.recipe import Recipe, Taught
from training.synthetic import synthetic
from training.table import Table

BINARY: Loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
CATEGORICAL: Loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
# The part of the columns that a teacher's tree may split by at each node.
COLUMNS_OF_A_SPLIT = 0.6


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
    rows, targets = _lesson(spec, recipe, table, seed)
    examples = Examples(_encoded(encoding, columns, rows), targets)
    passed = descend(
        core, BINARY if isinstance(spec.task, Binary) else CATEGORICAL, _optimizer(recipe, len(rows)),
        recipe.schedule(len(rows)), examples,
        None if held is None else held.numpy()[:, columns],
        seen=_encoded(encoding, columns, table.matrix[:: thinning(len(table))]),
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


def _lesson(spec: ModelSpec, recipe: Recipe, table: Table, seed: int) -> tuple[Matrix, Floats]:
    """Return the rows that the nets learn, (n, d), and each class's share of them, (n, k), float32.

    Of two classes the second's alone, (n, 1): nets answer one logit then.
    """
    if not isinstance(recipe, Taught):
        shares = np.eye(len(labels(spec)))[places(spec, table)]
        rows = table.matrix
    else:
        rows = synthetic(spec.features, table.matrix, recipe.rows, recipe.beyond, seed)
        shares = _taught(spec, recipe, table, rows, seed)
    targets = shares[:, 1:] if isinstance(spec.task, Binary) else shares
    return rows, targets.astype(np.float32)


def _taught(spec: ModelSpec, recipe: Taught, table: Table, rows: Matrix, seed: int) -> NDArray[np.float64]:
    """Return what the teacher, fitted to the table, answers to rows: shares (n, classes)."""
    teacher = recipe.teacher
    encoding = encoding_of(spec, teacher, table)
    found, _ = learners(spec, teacher, encoding, table, teacher.epochs, seed)
    answers = [_shares_of(learner, encoding, rows) for learner in found]
    if recipe.trees:
        answers.append(_of_trees(spec, recipe.trees, encoding, table, rows, seed))
    mean: NDArray[np.float64] = np.mean(answers, axis=0)
    return mean


def _shares_of(learner: Learner, encoding: Encoding, rows: Matrix) -> NDArray[np.float64]:
    graph = tf.function(lambda x: learner(encoding(x)), reduce_retracing=True)
    parts = [graph(tf.constant(rows[start : start + ROWS])) for start in range(0, len(rows), ROWS)]
    return np.concatenate([part.numpy() for part in parts]).astype(np.float64)


def _of_trees(
    spec: ModelSpec, count: int, encoding: Encoding, table: Table, rows: Matrix, seed: int
) -> NDArray[np.float64]:
    """Return what extremely randomised trees answer (Geurts et al. 2006, doi:10.1007/s10994-006-6226-1)."""
    columns = encoding.places("plain")
    trees = ExtraTreesClassifier(count, max_features=COLUMNS_OF_A_SPLIT, random_state=seed)
    trees.fit(_encoded(encoding, columns, table.matrix), places(spec, table))
    shares = np.zeros((len(rows), len(labels(spec))))
    shares[:, trees.classes_] = trees.predict_proba(_encoded(encoding, columns, rows))
    return shares


def _encoded(encoding: Encoding, columns: Sequence[int], matrix: Matrix) -> Floats:
    rows: Floats = encoding(tf.constant(matrix)).numpy()[:, columns]
    return rows
