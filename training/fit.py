"""Fitting: a declaration, a recipe and a table in, a network and its learning curve out.

Knows the tasks and their losses; knows nothing of files or of what is printed. Cross-validation and the
final fit call the same functions.
"""

from collections.abc import Collection
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.descent import Curve, Examples, Floats, Loss, Watch, descend
from training.folds import FitPredict, folds
from training.layers import Encoding, members
from training.network import Network
from training.table import Table

# The lecture's losses by purpose; the members answer before the link, where the loss is exact.
LOSSES: dict[str, Loss] = {
    "regression": keras.losses.MeanSquaredError(reduction=None),
    "binary": keras.losses.BinaryCrossentropy(from_logits=True, reduction=None),
    "multiclass": keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fitted: its net, its regularisation, and AdamW with its rate falling on a cosine.

    Each member holds back another part of the table to stop early on, 1 / `members` of it; a single
    member holds nothing back, and every epoch runs. `batch` 0 is the whole table. `bins` and `numbers`
    are the encoding's. `folds` is how many the recipe is measured on, 0 where the table is too small.
    """

    hidden: tuple[int, ...]
    members: int
    activation: str
    epochs: int
    rate: float
    batch: int = 0
    patience: int = 0
    bins: int = 0
    numbers: Collection[str] = ()
    dropout: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    folds: int = 5

    def __post_init__(self) -> None:
        """Refuse to wait for a validation error that nobody measures."""
        if self.patience and self.members < 2:
            raise ValueError(
                f"patience needs rows held back, and {self.members} member holds none back: expected at"
                f" least 2 members or patience 0, received patience {self.patience}"
            )


@dataclass(frozen=True)
class Fitted:
    """A network, and how it got there."""

    network: Network
    curve: Curve


def fit(spec: ModelSpec, recipe: Recipe, table: Table, seed: int = 1, watch: Watch | None = None) -> Fitted:
    """Fit the recipe to the table. The same seed gives the same network on the same kind of machine."""
    seeded(seed)
    network = untrained(spec, recipe, table)
    batch = recipe.batch or len(table)
    steps = recipe.epochs * -(-len(table) // batch)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(recipe.rate, steps), weight_decay=recipe.weight_decay
    )
    rows = network.encoding(tf.constant(table.matrix)).numpy()
    examples = Examples(rows, _targets(network, recipe, table), held_back(table, recipe.members, seed))
    curve = descend(
        network.core, LOSSES[spec.task.name], optimizer, examples,
        epochs=recipe.epochs, batch=batch, patience=recipe.patience, seed=seed, watch=watch,
    )  # fmt: skip
    return Fitted(network, curve)


def fit_predict(spec: ModelSpec, recipe: Recipe, seed: int = 1, watch: Watch | None = None) -> FitPredict:
    """Return the function that fits the recipe to a table and answers the rows of a matrix."""
    return lambda table, matrix: fit(spec, recipe, table, seed, watch).network.predict(matrix)


def trivial(spec: ModelSpec) -> FitPredict:
    """Return the function that answers every row alike, with what it saw of the targets."""

    def answer(table: Table, matrix: Matrix) -> Outputs:
        return spec.task.trivial(spec.target, prior(spec, table), len(matrix))

    return answer


def prior(spec: ModelSpec, table: Table) -> list[float]:
    """Return each class's share of the table, in the order of the classes, or [mean] for a regression."""
    match spec.task:
        case Regression():
            return [float(table.targets.mean())]
        case Binary():
            return [float(np.mean(table.targets == code)) for code in (0, 1)]
        case Multiclass(classes=classes):
            return [float(np.mean(table.targets == code)) for code in classes]


def named(spec: ModelSpec, answers: NDArray[np.float32]) -> Outputs:
    """Return a model's answers, (n, 1) or (n, classes), under the names that the declaration gives them."""
    match spec.task:
        case Binary(event=event, complement=complement):
            return {event: answers[:, 0]} | ({complement: 1 - answers[:, 0]} if complement else {})
        case Regression():
            return {spec.target.name: answers[:, 0]}
        case Multiclass(classes=classes):
            return {"probabilities": answers, spec.explained: answers @ np.asarray(classes, np.float32)}


def untrained(spec: ModelSpec, recipe: Recipe, table: Table) -> Network:
    """Return the network whose encoding knows the table and whose members have yet to be fitted."""
    encoding = Encoding(spec.features, table.matrix, recipe.numbers, recipe.bins)
    start = _start(spec, table)
    core = members(
        encoding.width, len(start), start, count=recipe.members, hidden=recipe.hidden,
        activation=recipe.activation, dropout=recipe.dropout, l2=recipe.l2,
    )  # fmt: skip
    if not isinstance(spec.task, Regression):
        return Network(spec, encoding, core)
    return Network(spec, encoding, core, float(table.targets.mean()), float(table.targets.std()) or 1.0)


def held_back(table: Table, count: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows each of `count` members is validated on, (n, count): grouped and stratified parts."""
    mask = np.zeros((len(table), count), bool)
    if count > 1:
        for member, (_, rows) in enumerate(folds(table, count, seed)):
            mask[rows, member] = True
    return mask


def seeded(seed: int) -> None:
    """Make what follows repeatable: every generator from `seed`, every op in a fixed order."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def _targets(network: Network, recipe: Recipe, table: Table) -> Floats:
    """Return the targets as the members answer them, (n, members, outputs)."""
    targets = table.targets[:, None]
    match network.spec.task:
        case Regression():
            targets = (targets - float(network.centre)) / float(network.spread)
        case Multiclass(classes=classes):
            targets = targets == np.asarray(classes)
    return np.repeat(targets[:, None].astype(np.float32), recipe.members, axis=1)


def _start(spec: ModelSpec, table: Table) -> NDArray[np.float64]:
    """Return the bias that answers the prior: log-odds, log-shares, or 0 for a standardised target."""
    if isinstance(spec.task, Regression):
        return np.zeros(1)
    # One more row in each class: the logarithm of a class that this table lacks stays finite.
    shares = np.asarray(prior(spec, table), np.float64) * len(table) + 1
    return (
        np.log(shares / shares.sum())
        if isinstance(spec.task, Multiclass)
        else np.log(shares[1:] / shares[:1])
    )
