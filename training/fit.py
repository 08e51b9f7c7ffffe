"""Fitting: a declaration, a recipe and a table in, a calibrated network out.

Knows the tasks and their losses; knows nothing of files or of what is printed. Cross-validation and the
final fit call the same function: what a recipe leaves open (how many epochs, how the learners are
blended, the calibration, the critical values) is chosen on folds inside the table that it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.spec import ModelSpec
from service.tasks import Binary
from training import calibration
from training.calibration import Calibration, Doubles
from training.descent import Curve, Floats, Passed, Watch, thinning
from training.distance import DistancePercentile
from training.folds import folds
from training.labels import labels, named, places
from training.learners import encoding_of, learners, seeded
from training.network import Network, shares_of
from training.recipe import Recipe
from training.table import Table


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
    encoding = encoding_of(spec, recipe, table)
    found, passed = learners(spec, recipe, encoding, table, choices.epochs, seed, watch)
    if not recipe.choices:
        choices = replace(choices, curve=_training_curve(spec, passed, table))
    network = Network(
        spec, encoding, found, choices.weights, Calibration(choices.slope, choices.shift),
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


def _trial(
    spec: ModelSpec, recipe: Recipe, table: Table, training: NDArray[np.int64], test: NDArray[np.int64],
    seed: int, watch: Watch | None,
) -> Trial:  # fmt: skip
    """Fit the learners to the rows `training`, and let them answer the rows `test`."""
    fitted, held = table.take(training), table.take(test)
    encoding = encoding_of(spec, recipe, fitted)
    z = encoding(tf.constant(held.matrix))
    found, passed = learners(spec, recipe, encoding, fitted, recipe.epochs, seed, watch, z)
    seen, nets = ([_mean_shares(getattr(one, rows)) for one in passed] for rows in ("training", "validation"))
    machine = found[1](z).numpy().astype(np.float64) if recipe.kernel else np.empty(0)
    return Trial(seen, _seen(spec, fitted), nets, machine)


def _seen(spec: ModelSpec, table: Table) -> NDArray[np.int64]:
    """Return the classes of the rows that the curve of training is measured on."""
    return places(spec, table)[:: thinning(len(table))]


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
    errors = [_error(spec, _mean_shares(one.training), _seen(spec, table)) for one in passed]
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
