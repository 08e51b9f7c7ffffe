"""The classical models that every net has to stand beside, on the same folds: scikit-learn's, each by name.

Each is fitted on the declared columns as the nets see them, but without bins: standardised numbers, a
column for each common level of a category that the recipe does not take as a number. What is chosen is
chosen within the training rows, on a part of them that keeps equal rows together. Knows scikit-learn and
the declarations; fits no net.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.folds import FitPredict, folds, out_of_fold
from training.layers import Encoding
from training.recipes import RECIPES
from training.table import Table

Floats = NDArray[np.float64]
# A scikit-learn estimator, not yet fitted; they ship no types.
Estimator = Any
# From a table of encoded columns and asked rows, encoded too, to the outputs.
Answer = Callable[[ModelSpec, Table, Matrix, int], Outputs]

# Inverse strengths of logistic regression's penalty: scikit-learn's and stronger ones; and next to none for
# a truth table, where there is nothing to overfit and 1 outweighs the four rows (0.48 for 1 AND 1).
STRENGTHS, WHOLE_TRUTH = (1.0, 0.1, 0.01), 1e4
# Parts of the training rows: to calibrate an SVM on all of them in turn, or to choose on one.
CALIBRATED_ON = 3
CHOSEN_ON = 5
# Fewer training rows than these are not parted again.
FEW = 50
# An SVC's margin (one against the rest) of a class that loses to every other.
LOST = -0.5
TREES = 300
# Fully grown trees (Geurts et al. 2006, section 2: best without noise), or smoother probabilities.
LEAVES = (1, 10)
BOOSTING = {
    "learning_rate": 0.05, "l2_regularization": 10.0, "max_features": 0.3, "min_samples_leaf": 20,
    # Its own part for stopping early would hold copies of rows that it learns from.
    "early_stopping": False,
}  # fmt: skip
# Trees and their leaves: for a table that says much, and for one that says little.
SIZES = ({"max_iter": 100, "max_leaf_nodes": 31}, {"max_iter": 50, "max_leaf_nodes": 4})

MEANINGS = {
    "trivial": "answers every row alike: the training rows' share of each class, or their mean.",
    "linear": f"logistic regression, with C = {STRENGTHS[0]:g}, {STRENGTHS[1]:g} or {STRENGTHS[2]:g} as an"
    " inner fold prefers (next to no penalty on a truth table, where nothing can be overfitted), or ridge"
    " regression for a number.",
    "svm_rbf": "a support vector machine with a Gaussian kernel, C = 1 and scikit-learn's width (gamma ="
    " 'scale'), two classes weighted alike; probabilities by logistic regression on the margins of"
    f" {CALIBRATED_ON} inner folds (Platt 1999).",
    "extra_trees": f"{TREES} extremely randomised trees (Geurts, Ernst and Wehenkel 2006), leaves of at least"
    f" {LEAVES[0]} or {LEAVES[1]} rows as an inner fold prefers.",
    "gradient_boosting": "scikit-learn's histogram gradient boosting at rate 0.05, L2 10, 3 in 10 columns a"
    " split, at least 20 rows a leaf; 100 trees of 31 leaves or 50 of 4, as an inner fold prefers.",
}


def trivial(spec: ModelSpec, seed: int) -> FitPredict:
    """Return the function that answers every row with the training rows' shares. The seed is not used.

    A class that the table lacks can occur nevertheless, and counts as one row; the mean of a number is that
    of the rows there are.
    """
    least = 0 if isinstance(spec.task, Regression) else 1

    def answer(table: Table, matrix: Matrix) -> Outputs:
        return spec.task.trivial(spec.target, shares(spec, table, least).tolist(), len(matrix))

    return answer


def linear(spec: ModelSpec, seed: int) -> FitPredict:
    """Return logistic regression for classes, ridge regression for a number."""
    return _on_columns(spec, seed, _linear)


def svm_rbf(spec: ModelSpec, seed: int) -> FitPredict:
    """Return a support vector machine with Gaussian kernel: SVC for classes, SVR for a number."""
    return _on_columns(spec, seed, _svm)


def extra_trees(spec: ModelSpec, seed: int) -> FitPredict:
    """Return extremely randomised trees over the classes; a number is the mean of its distribution."""
    models = [ExtraTreesClassifier(TREES, min_samples_leaf=leaf, random_state=seed) for leaf in LEAVES]
    return _on_columns(spec, seed, _preferred(models))


def gradient_boosting(spec: ModelSpec, seed: int) -> FitPredict:
    """Return boosted trees over the classes; a number is the mean of its distribution."""
    models = [HistGradientBoostingClassifier(**BOOSTING, **size, random_state=seed) for size in SIZES]
    return _on_columns(spec, seed, _preferred(models))


CLASSICAL: dict[str, Callable[[ModelSpec, int], FitPredict]] = {
    "trivial": trivial,
    "linear": linear,
    "svm_rbf": svm_rbf,
    "extra_trees": extra_trees,
    "gradient_boosting": gradient_boosting,
}


def shares(spec: ModelSpec, table: Table, least: int) -> Floats:
    """Return the share of each class, or whole value, (k,), in declared order, from at least `least` rows."""
    counts = np.array([max(np.sum(table.targets == code), least) for code in _classes(spec)], np.float64)
    answer: Floats = counts / counts.sum()
    return answer


def _on_columns(spec: ModelSpec, seed: int, answer: Answer) -> FitPredict:
    """Return the function that encodes table and matrix as the table says, on one thread, and answers."""

    def encoded(table: Table, matrix: Matrix) -> Outputs:
        encoding = Encoding(spec.features, table.matrix, RECIPES[spec.name].numbers)
        seen, asked = (encoding(tf.constant(rows)).numpy() for rows in (table.matrix, matrix))
        # Boosting sums in another order on other numbers of threads, and reports run side by side.
        with threadpool_limits(limits=1):
            return answer(spec, replace(table, matrix=seen), asked, seed)

    return encoded


def _linear(spec: ModelSpec, table: Table, asked: Matrix, seed: int) -> Outputs:
    if isinstance(spec.task, Regression):
        model = Ridge().fit(table.matrix, table.targets)
        errors = table.targets - model.predict(table.matrix)
        return _number(spec, model.predict(asked), float(errors.std()))
    strengths = (WHOLE_TRUTH,) if _whole(table) else STRENGTHS
    models = [LogisticRegression(C=strength, max_iter=10_000) for strength in strengths]
    return _preferred(models)(spec, table, asked, seed)


def _svm(spec: ModelSpec, table: Table, asked: Matrix, seed: int) -> Outputs:
    """Calibrate on margins that the machine gave to rows it had not seen, then ask the one of all rows."""

    def margins(part: Table, rows: Matrix) -> Outputs:
        return {"margins": _margins(spec, part, rows)}

    # Margins of rows that a machine has seen flatter it; a truth table has too few rows for parts.
    parts = len(table) >= FEW
    known = out_of_fold(table, margins, CALIBRATED_ON, seed) if parts else margins(table, table.matrix)
    final = _margins(spec, table, asked)
    if isinstance(spec.task, Regression):
        errors = table.targets - known["margins"][:, 0]
        return _number(spec, final[:, 0].astype(np.float64), float(errors.std()))
    model = LogisticRegression(C=WHOLE_TRUTH if _whole(table) else 1.0, max_iter=10_000)
    model.fit(known["margins"], table.targets.astype(int))
    return _named(spec, table, _spread(spec, model, model.predict_proba(final)))


def _margins(spec: ModelSpec, table: Table, rows: Matrix) -> NDArray[np.float32]:
    """Return the answers of an SVR or the margins of an SVC: (n, 1), or a column for each of several classes.

    A class that the table lacks has the margin of one that loses every comparison.
    """
    if isinstance(spec.task, Regression):
        numbers: NDArray[np.float32] = SVR().fit(table.matrix, table.targets).predict(rows).astype(np.float32)
        return numbers[:, None]
    weights = "balanced" if isinstance(spec.task, Binary) else None
    model = SVC(class_weight=weights).fit(table.matrix, table.targets.astype(int))
    margins: NDArray[np.float32] = model.decision_function(rows).reshape(len(rows), -1).astype(np.float32)
    if isinstance(spec.task, Binary):
        return margins
    if margins.shape[1] == 1:
        margins = np.concatenate([-margins, margins], axis=1)
    return _spread(spec, model, margins, LOST).astype(np.float32)


def _preferred(models: Sequence[Estimator]) -> Answer:
    """Return the function that fits the model of least log-loss on an inner fold, then to all rows."""

    def answer(spec: ModelSpec, table: Table, asked: Matrix, seed: int) -> Outputs:
        model = models[0]
        if len(table) >= FEW:
            losses = [_loss(spec, model, table, seed) for model in models]
            model = models[int(np.argmin(losses))]
        model.fit(table.matrix, table.targets.astype(int))
        return _named(spec, table, _spread(spec, model, model.predict_proba(asked)))

    return answer


def _loss(spec: ModelSpec, model: Estimator, table: Table, seed: int) -> float:
    training, held = next(folds(table, CHOSEN_ON, seed))
    part = table.take(training)
    model.fit(part.matrix, part.targets.astype(int))
    answered = _mixed(spec, part, _spread(spec, model, model.predict_proba(table.matrix[held])))
    # Of float32 columns logistic regression makes float32 shares, whose sums log_loss finds wanting.
    answered /= answered.sum(axis=1, keepdims=True)
    return float(log_loss(table.targets[held].astype(int), answered, labels=list(_classes(spec))))


def _classes(spec: ModelSpec) -> tuple[int, ...]:
    match spec.task:
        case Binary():
            return (0, 1)
        case Multiclass(classes=classes) | Regression(values=classes):
            return classes


def _spread(spec: ModelSpec, model: Estimator, known: Matrix | Floats, absent: float = 0.0) -> Floats:
    """Return a column for each declared class, (n, k): `absent` for one that the model never saw."""
    every = np.full((len(known), len(_classes(spec))), absent)
    every[:, np.searchsorted(_classes(spec), model.classes_)] = known
    return every


def _mixed(spec: ModelSpec, table: Table, answered: Floats) -> Floats:
    """Return probabilities of which none is 0: as if one more row, of the training shares, had been seen.

    Trees grown to the end answer 0 to what no leaf shows, and the log-loss of that is infinite.
    """
    return (len(table) * answered + shares(spec, table, 1)) / (len(table) + 1)


def _named(spec: ModelSpec, table: Table, answered: Floats) -> Outputs:
    """Return distributions over the classes, (n, k), under the names that the declaration gives them."""
    mixed = _mixed(spec, table, answered)
    match spec.task:
        case Regression():
            return spec.task.read_out(spec.target, mixed)
        case Binary(event=event, complement=complement):
            found = mixed.astype(np.float32)
            return {event: found[:, 1]} | ({complement: found[:, 0]} if complement else {})
        case Multiclass(classes=classes):
            mean = (mixed @ np.asarray(classes, np.float64)).astype(np.float32)
            return {"probabilities": mixed.astype(np.float32), spec.explained: mean}


def _number(spec: ModelSpec, mean: Floats, deviation: float) -> Outputs:
    """Return means, (n,), as the median too, with one standard deviation for all rows."""
    columns = (mean, mean, np.full(len(mean), deviation))
    return {
        output.name: column.astype(np.float32)
        for output, column in zip(spec.task.outputs(spec.target), columns, strict=True)
    }


def _whole(table: Table) -> bool:
    """Whether the table shows every combination of its values: then there is nothing to generalise to."""
    combinations = np.prod([float(len(np.unique(column))) for column in table.matrix.T])
    return len(np.unique(table.matrix, axis=0)) == combinations
