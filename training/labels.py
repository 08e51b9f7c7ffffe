"""The labels that a model tells apart: the classes of a task, or the whole values of a number.

Knows the tasks of declarations and tables; knows nothing of fitting.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.table import Table


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
