"""The classical answer: a linear model, as the comparison that every net has to stand.

Logistic regression for classes, ridge for numbers, each with scikit-learn's default strength and never
tuned, on the same encoded columns as the nets but without their bins: standardised numbers, a column for
each common category. Knows scikit-learn and the declarations; fits no net.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.fit import named
from training.folds import FitPredict
from training.layers import Encoding
from training.table import Table

# Inverse strength of the L2 penalty on a logistic regression, and the strength of ridge's.
C = 1.0
ALPHA = 1.0
# Next to no penalty, for a truth table: there is nothing to overfit, and C = 1 outweighs its four rows
# (it answers 0.48 to 1 AND 1).
WHOLE_TRUTH = 1e4


def fit_predict(spec: ModelSpec, c: float = C) -> FitPredict:
    """Return the function that fits the linear model to a table and answers the rows of a matrix."""

    def answer(table: Table, matrix: Matrix) -> Outputs:
        encoding = Encoding(spec.features, table.matrix)
        seen, asked = (encoding(tf.constant(rows)).numpy() for rows in (table.matrix, matrix))
        return named(spec, _answers(spec, c, seen, table.targets, asked).astype(np.float32))

    return answer


def _answers(
    spec: ModelSpec, c: float, seen: Matrix, targets: NDArray[np.float64], asked: Matrix
) -> NDArray[np.float64]:
    """Return the numbers (n, 1), the events' probabilities (n, 1), or the classes' (n, classes)."""
    match spec.task:
        case Regression():
            predicted: NDArray[np.float64] = Ridge(alpha=ALPHA).fit(seen, targets).predict(asked)
            return predicted[:, None]
        case Binary():
            return _shares(c, seen, targets, asked, (0, 1))[:, 1:]
        case Multiclass(classes=classes):
            return _shares(c, seen, targets, asked, classes)


def _shares(
    c: float, seen: Matrix, targets: NDArray[np.float64], asked: Matrix, classes: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return a probability for each of `classes`, (n, classes): 0 for one that the targets lack."""
    model = LogisticRegression(C=c, max_iter=1000).fit(seen, targets.astype(int))
    shares = np.zeros((len(asked), len(classes)))
    shares[:, np.searchsorted(classes, model.classes_)] = model.predict_proba(asked)
    return shares
