"""What holds the truth for a promised share of new rows, by conformal prediction: sets and intervals.

A set is what the critical values, which training found on rows that the learners had not seen, leave of the
labels; how an interval is drawn from them is the task's to say. Knows the values of features; knows no task,
and nothing of HTTP, TensorFlow or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from pydantic_core import to_json

from service.features import Value

# A set of classes is held as the bits of an int64.
MOST_CLASSES = 62
BITS = 1 << np.arange(MOST_CLASSES)
# The coverages that a request may ask for, and that every artifact has critical values for.
COVERAGES = (0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Critical:
    """The critical values with which intervals or sets cover the truth at `coverage` of new rows.

    `values` are those of conformal prediction (Lei et al. 2018, doi:10.1080/01621459.2017.1307116): for
    classes, the probability from which on each class is in the set; for a real number, how many standard
    deviations of the row's own distribution the interval reaches to either side.
    """

    coverage: float
    values: Sequence[float]


class Interval(BaseModel):
    """Where the true value lies, for the coverage's share of new rows like those of the training table."""

    low: float
    high: float
    coverage: float


def sets_of(labels: Sequence[Value], shares: NDArray[Any], critical: Critical) -> list[bytes]:
    """The lists, as JSON, of the labels whose share, of (n, classes), reaches their critical value."""
    reached = shares >= np.asarray(critical.values, np.float64)
    # A set as the bits of a number: there are few different ones.
    numbers = (reached @ BITS[: len(labels)]).tolist()
    listed = {
        number: to_json([label for place, label in enumerate(labels) if number >> place & 1])
        for number in set(numbers)
    }
    return [listed[number] for number in numbers]


def set_of(labels: Sequence[Value], shares: Sequence[float], critical: Critical) -> list[Value]:
    """The labels whose share reaches its critical value."""
    return [
        label for label, share, least in zip(labels, shares, critical.values, strict=True) if share >= least
    ]


def set_field(label: Any, covered: str) -> dict[str, Any]:
    """The set's field, for an answer's pydantic model; `covered` says for whom it holds the true value."""
    meaning = (
        f"the values that the row is not unusual for: holds the true one for {covered}. Empty where the row"
        " is unusual for every value"
    )
    return {"prediction_set": (list[label] | None, Field(default=None, description=meaning))}
