"""The lecture's own nets, as a baseline that is measured and never served.

    python -m training.survival --recipe lecture

The lecture gives layers, epochs and batch for AND (2, 4 relu, 1 sigmoid: 17 parameters) and for survival
(17 raw inputs with the patient's row number, 30 relu, 1 sigmoid: 571 parameters), both with 500 epochs in
batches of 4. For the wines it gives losses only: the same 30 relu stand on the 12 raw inputs here, for
100 epochs in batches of 32. What they score stands in the scripts. Knows Keras and the declarations;
knows nothing of artifacts.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.descent import Curve, Examples, Floats, Loss, Schedule, Watch, descend, thinning
from training.folds import FitPredict, folds
from training.labels import named
from training.learners import seeded
from training.table import Table, lecture_survival, read

# The losses by purpose, and the optimisers, that the lecture lists; Keras' default rates.
LOSSES: dict[str, Loss] = {
    "regression": keras.losses.mean_squared_error,
    "binary": keras.losses.binary_crossentropy,
    "multiclass": keras.losses.categorical_crossentropy,
}
OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda: keras.optimizers.SGD(momentum=0.9),
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
}
LINKS = {"regression": "linear", "binary": "sigmoid", "multiclass": "softmax"}


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What the lecture says to do for one model; `folds` 0 where the table is measured on itself."""

    hidden: int
    epochs: int
    batch: int
    folds: int = 5


LESSONS = {
    "and_gate": Lesson(hidden=4, epochs=500, batch=4, folds=0),
    "survival": Lesson(hidden=30, epochs=500, batch=4),
}
# For the wines, and for a model that the lecture does not know.
LESSON = Lesson(hidden=30, epochs=100, batch=32)


def lesson(spec: ModelSpec) -> Lesson:
    """Return the model's own lesson, or the one for models without."""
    return LESSONS.get(spec.name, LESSON)


def table_of(spec: ModelSpec) -> Table:
    """Return the inputs as the lecture feeds them: raw, for survival with the id and the wrong FEV1."""
    return lecture_survival() if spec.name == "survival" else read(spec)


def net(spec: ModelSpec, width: int) -> keras.Sequential:
    """Return the untrained net on `width` raw inputs: one hidden layer of relu, one of the purpose's link."""
    outputs = len(spec.task.classes) if isinstance(spec.task, Multiclass) else 1
    return keras.Sequential([
        keras.Input((width,)),
        keras.layers.Dense(lesson(spec).hidden, activation="relu"),
        keras.layers.Dense(outputs, activation=LINKS[spec.task.name]),
    ])  # fmt: skip


def fit(
    spec: ModelSpec, table: Table, seed: int = 1, optimizer: str = "adam", watch: Watch | None = None,
    validate: bool = False,
) -> tuple[keras.Sequential, Curve]:  # fmt: skip
    """Fit the lecture's net, every epoch of it; with `validate` a fifth is held back for the curve."""
    seeded(seed)
    core = net(spec, table.matrix.shape[1])
    fitted, held = table, table.take(np.arange(0))
    if validate:
        training, test = next(iter(folds(table, 5, seed)))
        fitted, held = table.take(training), table.take(test)
    examples, unseen = (Examples(part.matrix, _targets(spec, part)) for part in (fitted, held))
    lessons = lesson(spec)
    passed = descend(
        core, LOSSES[spec.task.name], OPTIMIZERS[optimizer](),
        Schedule(epochs=lessons.epochs, batch=lessons.batch), examples,
        unseen.rows if validate else None, seed=seed, watch=watch,
    )  # fmt: skip
    seen = examples.targets[:: thinning(len(fitted))]
    training_curve = [_error(spec, seen, one.training) for one in passed]
    validation = [_error(spec, unseen.targets, one.validation) for one in passed if validate]
    return core, Curve(training_curve, validation, lessons.epochs)


def fit_predict(
    spec: ModelSpec, seed: int = 1, optimizer: str = "adam", watch: Watch | None = None
) -> FitPredict:
    """Return the function that fits the lecture's net to a table and answers the rows of a matrix."""
    return lambda table, matrix: outputs(spec, fit(spec, table, seed, optimizer, watch)[0], matrix)


def outputs(spec: ModelSpec, core: keras.Model, matrix: Matrix) -> Outputs:
    """Return the net's answers under the declaration's names, as the served models give them.

    A net of one number has no distribution: its median is that number, its standard deviation 1.
    """
    answers = core(tf.constant(matrix), training=False).numpy()
    match spec.task:
        case Regression():
            names = [output.name for output in spec.task.outputs(spec.target)]
            columns = (answers[:, 0], answers[:, 0], np.ones(len(answers), np.float32))
            return dict(zip(names, columns, strict=True))
        case Binary():
            return named(spec, np.concatenate([1 - answers, answers], axis=1))
        case Multiclass():
            return named(spec, answers)


def _targets(spec: ModelSpec, table: Table) -> Floats:
    targets = table.targets[:, None]
    if isinstance(spec.task, Multiclass):
        targets = targets == np.asarray(spec.task.classes)
    return targets.astype(np.float32)


def _error(spec: ModelSpec, targets: Floats, answers: Floats) -> float:
    return float(np.mean(LOSSES[spec.task.name](targets, tf.constant(answers))))


def unit(spec: ModelSpec) -> str:
    """Name what the net's learning curve counts in."""
    if isinstance(spec.task, Regression):
        return f"squared error, {spec.target.unit or 'unit'} squared"
    return "cross-entropy, nats"
