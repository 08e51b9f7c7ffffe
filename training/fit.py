"""Fitting: a declaration, a recipe and a table in, a calibrated network out.

Knows the tasks and their losses; knows nothing of files or of what is printed. Cross-validation and the
final fit call the same function: what a recipe leaves open (how many epochs, how the learners are
blended, the calibration, the critical values) is chosen on folds inside the table that it is given.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training import calibration, kernel
from training.calibration import Calibration, Doubles
from training.descent import Curve, Examples, Floats, Loss, Passed, Schedule, Watch, descend, thinning
from training.distance import DistancePercentile
from training.folds import folds
from training.kernel import Kernel, KernelMachine
from training.layers import Encoding, members
from training.network import Learner, Members, Neighbourhood, Network, shares_of
from training.table import Table

BINARY: Loss = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
CATEGORICAL: Loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is fitted: an ensemble of nets with AdamW, and, where `kernel` is one, a kernel machine.

    `batch` 0 is the whole table. `bins` and `numbers` are the encoding's, `average` is the decay of the
    weights' moving average. `choices` is the number of folds inside the table on which epochs, blend,
    calibration and critical values are chosen; with 0 nothing is: every epoch runs, shares stay as they are.
    """

    hidden: tuple[int, ...]
    members: int
    activation: str
    epochs: int
    rate: float
    batch: int = 0
    decays: bool = True
    average: float = 0.0
    bins: int = 0
    numbers: Collection[str] = ()
    dropout: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0
    kernel: Kernel | None = None
    choices: int = 5

    def schedule(self, rows: int) -> Schedule:
        """How long and how fast the nets descend on a table of so many rows."""
        return Schedule(self.epochs, self.batch or rows, self.rate, self.decays, self.average)


@dataclass(frozen=True)
class Choices:
    """What was chosen on rows that the learners had not seen.

    `unseen` holds the calibrated shares (n, classes) of the distinct rows, `table`, each answered by learners
    that had not seen it: what critical values are read from. It is empty where nothing was chosen.
    """

    table: Table
    epochs: int
    weights: list[float]
    slope: float
    shift: list[float]
    unseen: Doubles
    curve: Curve


@dataclass(frozen=True)
class Fitted:
    """A network, and what was chosen for it."""

    network: Network
    choices: Choices

    @property
    def critical(self) -> dict[str, list[float]]:
        """The critical values by coverage."""
        spec = self.network.spec
        if not len(self.choices.unseen):
            return {}
        outputs = named(spec, self.choices.unseen)
        return calibration.critical_values(spec.task, spec.target, outputs, self.choices.table.targets)


@dataclass(frozen=True)
class Trial:
    """What the learners of one inner fold answer, shares (n, classes): the nets after every epoch.

    `seen` are answers to (thinned) rows that the fold was fitted to, the others to its rows held back.
    """

    seen: list[Doubles]
    seen_truth: NDArray[np.int64]
    nets: list[Doubles]
    machine: Doubles


def fit(spec: ModelSpec, recipe: Recipe, table: Table, seed: int = 1, watch: Watch | None = None) -> Fitted:
    """Fit the recipe to the table's distinct rows.

    The same seed gives the same network on the same kind of machine.
    """
    seeded(seed)
    table = table.distinct()
    choices = choose(spec, recipe, table, seed, watch)
    encoding = _encoding(spec, recipe, table)
    learners, passed = _learners(spec, recipe, encoding, table, choices.epochs, seed, watch)
    if not recipe.choices:
        choices = replace(choices, curve=_training_curve(spec, passed, table))
    network = Network(
        spec, encoding, learners, choices.weights, Calibration(choices.slope, choices.shift),
        DistancePercentile(encoding, table),
    )  # fmt: skip
    return Fitted(network, choices)


def choose(spec: ModelSpec, recipe: Recipe, table: Table, seed: int, watch: Watch | None) -> Choices:
    """Choose epochs, blend and calibration on `recipe.choices` folds of the table."""
    classes = len(labels(spec))
    if not recipe.choices:
        weights = [1.0, 0.0][: 1 + bool(recipe.kernel)]
        nothing = np.empty((0, classes))
        return Choices(
            table, recipe.epochs, weights, 1.0, [0.0] * classes, nothing, Curve([], [], recipe.epochs)
        )
    parts = list(folds(table, recipe.choices, seed))
    trials = [_trial(spec, recipe, table, *part, seed, watch) for part in parts]
    held, truth = np.concatenate([test for _, test in parts]), places(spec, table)
    curve = _curve(spec, trials, truth[held])
    nets = np.concatenate([trial.nets[curve.kept - 1] for trial in trials])
    shares = [nets, np.concatenate([trial.machine for trial in trials])] if recipe.kernel else [nets]
    weights = calibration.blend(shares, truth[held])
    blended = np.tensordot(weights, shares, axes=1)
    slope, shift = calibration.calibrated(spec.task, blended, truth[held])
    unseen = calibration.apply(blended, slope, shift)[np.argsort(held)]
    return Choices(table, curve.kept, weights, slope, shift, unseen, curve)


def encoded_kernel(spec: ModelSpec, recipe: Kernel, table: Table) -> Callable[[Matrix], NDArray[np.float32]]:
    """Fit a kernel machine alone, to every row of the table, copies too; return its shares of asked rows."""
    encoding = Encoding(spec.features, table.matrix, scores=True)
    machine = _neighbourhood(spec, recipe, encoding, table)

    def shares(matrix: Matrix) -> NDArray[np.float32]:
        answered: NDArray[np.float32] = machine(encoding(tf.constant(matrix))).numpy()
        return answered

    return shares


def labels(spec: ModelSpec) -> NDArray[np.int64]:
    """Return the codes of the classes, or of the values that a number is learnt over, in order."""
    match spec.task:
        case Binary():
            return np.array([0, 1])
        case Regression(values=values) | Multiclass(classes=values):
            return np.asarray(values)


def places(spec: ModelSpec, table: Table) -> NDArray[np.int64]:
    """Return where in `labels` each row's target stands, (n,)."""
    return np.searchsorted(labels(spec), table.targets)


def prior(spec: ModelSpec, table: Table) -> list[float]:
    """Return each label's share of the table, in their order."""
    return [float(np.mean(table.targets == code)) for code in labels(spec)]


def named(spec: ModelSpec, shares: NDArray[Any]) -> Outputs:
    """Return shares (n, classes) as the outputs that the declaration names, the distance apart."""
    match spec.task:
        case Binary(event=event, complement=complement):
            found = {event: shares[:, 1]} | ({complement: shares[:, 0]} if complement else {})
        case Regression():
            return spec.task.read_out(spec.target, np.asarray(shares, np.float64))
        case Multiclass():
            found = {"probabilities": shares, spec.explained: shares @ labels(spec)}
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def seeded(seed: int) -> None:
    """Make what follows repeatable: generators from `seed`, operations in a fixed order, in full float32."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # A GPU would cut the numbers of a product to ten bits, and the encoding copies by products.
    tf.config.experimental.enable_tensor_float_32_execution(False)


def _trial(
    spec: ModelSpec, recipe: Recipe, table: Table, training: NDArray[np.int64], test: NDArray[np.int64],
    seed: int, watch: Watch | None,
) -> Trial:  # fmt: skip
    """Fit the learners to the rows `training`, and let them answer the rows `test`."""
    fitted, held = table.take(training), table.take(test)
    encoding = _encoding(spec, recipe, fitted)
    z = encoding(tf.constant(held.matrix))
    learners, passed = _learners(spec, recipe, encoding, fitted, recipe.epochs, seed, watch, z)
    seen, nets = ([_mean_shares(getattr(one, rows)) for one in passed] for rows in ("training", "validation"))
    machine = learners[1](z).numpy().astype(np.float64) if recipe.kernel else np.empty(0)
    seen_truth = places(spec, fitted)[:: thinning(len(fitted))]
    return Trial(seen, seen_truth, nets, machine)


def _learners(
    spec: ModelSpec, recipe: Recipe, encoding: Encoding, table: Table, epochs: int, seed: int,
    watch: Watch | None, held: tf.Tensor | None = None,
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
    learners: list[Learner] = [Members(core, columns)]
    if recipe.kernel:
        learners.append(_neighbourhood(spec, recipe.kernel, encoding, table))
    return learners, passed


def _neighbourhood(spec: ModelSpec, recipe: Kernel, encoding: Encoding, table: Table) -> Neighbourhood:
    """Return the kernel machine fitted to normal scores and levels."""
    levels = [place for place in encoding.places("plain") if not np.isnan(encoding.columns[place].level)]
    columns = levels + encoding.places("score")
    z = encoding(tf.constant(table.matrix)).numpy().astype(np.float64)[:, columns]
    machine = kernel.fit(recipe, z, np.eye(len(labels(spec)))[places(spec, table)])
    return Neighbourhood(KernelMachine(machine), columns)


def _encoding(spec: ModelSpec, recipe: Recipe, table: Table) -> Encoding:
    return Encoding(spec.features, table.matrix, recipe.numbers, recipe.bins, recipe.kernel is not None)


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


def _curve(spec: ModelSpec, trials: Sequence[Trial], truth: NDArray[np.int64]) -> Curve:
    """Return the ensemble's error over all trials after each epoch, and the epoch of the least."""
    epochs = range(len(trials[0].nets))
    seen_truth = np.concatenate([trial.seen_truth for trial in trials])
    seen = [np.concatenate([trial.seen[epoch] for trial in trials]) for epoch in epochs]
    nets = [np.concatenate([trial.nets[epoch] for trial in trials]) for epoch in epochs]
    training = [_error(spec, shares, seen_truth) for shares in seen]
    validation = [_error(spec, shares, truth) for shares in nets]
    return Curve(training, validation, int(np.argmin(validation)) + 1)


def _training_curve(spec: ModelSpec, passed: Sequence[Passed], table: Table) -> Curve:
    """Return the curve of a fit that held no row back."""
    truth = places(spec, table)[:: thinning(len(table))]
    errors = [_error(spec, _mean_shares(one.training), truth) for one in passed]
    return Curve(errors, [], len(errors))


def _error(spec: ModelSpec, shares: Doubles, truth: NDArray[np.int64]) -> float:
    """Return the squared error of the mean where classes are numbers, else the cross-entropy.

    Cross-entropy turns up as soon as the nets are too sure, which calibration mends afterwards, while the
    mean still gets better: the grades' squared error falls for 60 epochs, their cross-entropy for 20.
    """
    if isinstance(spec.task, Binary):
        return calibration.loss(shares, truth)
    return float(np.mean((shares @ labels(spec) - labels(spec)[truth]) ** 2))


def _mean_shares(answers: Floats) -> Doubles:
    """Return the ensemble's shares, (n, classes), from the members' logits (m, n, k)."""
    shares: Doubles = shares_of(tf.constant(answers, tf.float64)).numpy().mean(axis=0)
    return shares
