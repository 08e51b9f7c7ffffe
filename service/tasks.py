"""The kinds of answers: two classes, a real number, one of several classes.

A task says which outputs the graph has, how they read as an answer, and what the trivial baseline
would answer. Knows the vocabulary of features; knows nothing of HTTP, TensorFlow or files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, create_model
from pydantic_core import to_json

from service.conformal import MOST_CLASSES, Critical, Interval, set_field, set_of, sets_of
from service.features import Feature, Value
from service.wording import Fields

Outputs = Mapping[str, NDArray[np.float32]]
# What rows are answered with, and whatever else has no one number a row, by name.
Columns = Mapping[str, Sequence[Any]]
Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Output:
    """One named output of the graph: float32 of shape [None], or [None, width] where width is not 0."""

    name: str
    meaning: str
    width: int = 0


@dataclass(frozen=True)
class Threshold:
    """The probability from which on the event is answered, and why it is that one."""

    value: float
    name: str
    reason: str


@dataclass(frozen=True)
class Binary:
    """Two classes; the graph answers the probability of the event, the target's level 1.

    `event` and `complement` are the names of those probabilities, in the graph and in the answer.
    `sets` says what prediction sets cover, where there are any: the rows of each class. One critical value
    for both would leave most rows of a rare one out. Loss: binary cross-entropy, in nats.
    """

    event: str
    complement: str | None
    threshold: Threshold
    sets: Literal["per_class"] | None = None
    name: Literal["binary"] = "binary"
    # What models of this task are compared by; lower is better.
    main_metric: ClassVar[str] = "log_loss"
    prior_length: ClassVar[int] = 2

    @property
    def critical_length(self) -> int:
        """The number of critical values: one for each class, or 0 without sets."""
        return 2 if self.sets else 0

    def labels(self, target: Feature) -> list[Value]:
        """The public values of the classes, in the order of the prior."""
        return [target.value(0), target.value(1)]

    def outputs(self, target: Feature) -> tuple[Output, ...]:
        """The probability of the event and, where it has a name, that of its complement."""
        event = Output(self.event, f"probability that {target.name} is {target.value(1)}")
        if self.complement is None:
            return (event,)
        return event, Output(self.complement, f"probability that {target.name} is {target.value(0)}")

    def explained(self, target: Feature) -> str:
        """The scalar output that attributions add up to."""
        return self.event

    def answers(self, target: Feature, outputs: Outputs, critical: Critical | None) -> Fields:
        """What rows are answered with: the outcome at the threshold, the probabilities, the set."""
        classes = self.labels(target)
        # As float64, as the metrics compare: float32 would round the threshold too.
        events = outputs[self.event].astype(np.float64) >= self.threshold.value
        answers: Fields = {target.name: _texts(classes, events), self.event: outputs[self.event]}
        if self.complement:
            answers[self.complement] = outputs[self.complement]
        if self.sets and critical:
            answers["prediction_set"] = sets_of(classes, self.shares(target, outputs), critical)
        return answers

    def answer(self, target: Feature, row: Mapping[str, Any], critical: Critical | None) -> dict[str, Any]:
        """The same for one row, from its outputs as Python's numbers."""
        classes, event = self.labels(target), row[self.event]
        answer = {target.name: classes[event >= self.threshold.value], self.event: event}
        if self.complement:
            answer[self.complement] = row[self.complement]
        if self.sets and critical:
            answer["prediction_set"] = set_of(classes, (1 - event, event), critical)
        return answer

    def shares(self, target: Feature, outputs: Outputs) -> NDArray[np.float64]:
        """The probabilities of the classes, float64 (n, 2)."""
        event = outputs[self.event].astype(np.float64)
        return np.stack([1 - event, event], axis=1)

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        meaning = (
            f"{target.value(1)} where {self.event} is at least {self.threshold.value:g}"
            f" ({self.threshold.name}), else {target.value(0)}"
        )
        outcome = Literal[target.value(0), target.value(1)]  # type: ignore[valid-type]
        fields = {target.name: (outcome, Field(description=meaning))} | {
            output.name: (Probability, Field(description=output.meaning)) for output in self.outputs(target)
        }
        covered = (
            "the coverage's share of the rows of each class, so that even the more probable value is missing"
            " where hardly any row of its class is given so low a probability"
        )
        return fields | (set_field(outcome, covered) if self.sets else {})

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers the training prevalence, `prior[1]`, to every row."""
        event = np.full(rows, prior[1], np.float32)
        return {self.event: event} | ({self.complement: 1 - event} if self.complement else {})


@dataclass(frozen=True)
class Regression:
    """A real number in the target's unit, learnt as a distribution over whole ones, `values`.

    The answer is the distribution's mean; its interpolated median errs less, its standard deviation says
    how sure the answer is. `values` follow one another in steps of 1. Loss: mean squared error, in the
    target's unit squared.
    """

    values: tuple[int, ...]
    name: Literal["regression"] = "regression"
    main_metric: ClassVar[str] = "rmse"
    critical_length: ClassVar[int] = 1

    @property
    def prior_length(self) -> int:
        """The number of shares that the trivial baseline reads its answer from."""
        return len(self.values)

    def labels(self, target: Feature) -> list[Value]:
        """Nothing: a number has no classes."""
        return []

    def outputs(self, target: Feature) -> tuple[Output, ...]:
        """The mean, the interpolated median and the standard deviation, in the target's unit."""
        return (
            Output(target.name, f"{target.meaning}: the expected value"),
            Output(f"median_{target.name}", "interpolated median, which errs least on average"),
            Output("standard_deviation", "of the target, given this row"),
        )

    def explained(self, target: Feature) -> str:
        """The scalar output that attributions add up to."""
        return target.name

    def answers(self, target: Feature, outputs: Outputs, critical: Critical | None) -> Fields:
        """What rows are answered with: the target's real value, its median and spread, the interval."""
        names = (target.name, f"median_{target.name}", "standard_deviation")
        answers: Fields = {name: outputs[name] for name in names}
        if critical:
            low, high = self.interval(target, outputs, critical)
            answers["interval"] = {"low": low, "high": high, "coverage": np.full_like(low, critical.coverage)}
        return answers

    def answer(self, target: Feature, row: Mapping[str, Any], critical: Critical | None) -> dict[str, Any]:
        """The same for one row, from its outputs as Python's numbers."""
        answer = {name: row[name] for name in (target.name, f"median_{target.name}", "standard_deviation")}
        if critical:
            reach = critical.values[0] * row["standard_deviation"]
            least, most = self._bounds(target)
            low, high = max(least, row[target.name] - reach), min(most, row[target.name] + reach)
            answer["interval"] = {"low": low, "high": high, "coverage": critical.coverage}
        return answer

    def interval(
        self, target: Feature, outputs: Outputs, critical: Critical
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bounds of the interval of each row, (n,) each, within what the target can be."""
        centre = outputs[target.name].astype(np.float64)
        reach = critical.values[0] * outputs["standard_deviation"].astype(np.float64)
        least, most = self._bounds(target)
        return np.maximum(centre - reach, least), np.minimum(centre + reach, most)

    def _bounds(self, target: Feature) -> tuple[float, float]:
        """Between what the target can be."""
        return (
            -math.inf if target.low is None else float(target.low),
            math.inf if target.high is None else float(target.high),
        )

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        meanings = {
            output.name: (float, Field(description=output.meaning)) for output in self.outputs(target)
        }
        return meanings | {"interval": (Interval | None, Field(default=None))}

    def read_out(self, target: Feature, shares: NDArray[np.float64]) -> Outputs:
        """Mean, interpolated median, standard deviation of distributions, (n, len(values)) to (n,) each."""
        values = np.asarray(self.values, np.float64)
        mean = shares @ values
        up_to = shares.cumsum(axis=1)
        middle = (up_to >= up_to[:, -1:] / 2).argmax(axis=1)
        rows = np.arange(len(shares))
        below = up_to[rows, middle] - shares[rows, middle]
        inside = (up_to[:, -1] / 2 - below) / shares[rows, middle]
        spread = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0))
        columns = (mean, values[middle] - 0.5 + inside, spread)
        return {
            output.name: column.astype(np.float32)
            for output, column in zip(self.outputs(target), columns, strict=True)
        }

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers the training distribution, `prior`, to every row."""
        return self.read_out(target, np.tile(np.asarray(prior, np.float64), (rows, 1)))


@dataclass(frozen=True)
class Multiclass:
    """One of several ordered whole-number classes, 62 at most. Loss: categorical cross-entropy, in nats."""

    classes: tuple[int, ...]
    name: Literal["multiclass"] = "multiclass"
    main_metric: ClassVar[str] = "log_loss"

    def __post_init__(self) -> None:
        """Raise ValueError if there are more classes than a set has bits for."""
        if len(self.classes) > MOST_CLASSES:
            raise ValueError(f"a target has at most {MOST_CLASSES} classes; declare it as a regression")

    @property
    def prior_length(self) -> int:
        """The number of shares that the trivial baseline answers."""
        return len(self.classes)

    @property
    def critical_length(self) -> int:
        """The number of critical values: one for each class."""
        return len(self.classes)

    @cached_property
    def _keys(self) -> list[str]:
        """The names of the classes in an answer."""
        return list(map(str, self.classes))

    def labels(self, target: Feature) -> list[Value]:
        """The public values of the classes, in the order of the prior."""
        return list(self.classes)

    def outputs(self, target: Feature) -> tuple[Output, ...]:
        """A probability for each class, in the order of `classes`, and their mean."""
        listed = ", ".join(map(str, self.classes))
        return (
            Output("probabilities", f"probability of each {target.name}: {listed}", len(self.classes)),
            Output(f"mean_{target.name}", f"mean {target.name} under these probabilities"),
        )

    def explained(self, target: Feature) -> str:
        """The scalar output that attributions add up to."""
        return f"mean_{target.name}"

    def answers(self, target: Feature, outputs: Outputs, critical: Critical | None) -> Fields:
        """What rows are answered with: the most probable class, each one's probability, the mean, the set."""
        mean, shares = self.explained(target), outputs["probabilities"]
        answers: Fields = {
            target.name: _texts(self.classes, shares.argmax(axis=1)),
            "probabilities": dict(zip(self._keys, shares.T, strict=True)),
            mean: outputs[mean],
        }
        if critical:
            answers["prediction_set"] = sets_of(self.classes, shares, critical)
        return answers

    def answer(self, target: Feature, row: Mapping[str, Any], critical: Critical | None) -> dict[str, Any]:
        """The same for one row, from its outputs as Python's numbers."""
        mean, shares = self.explained(target), row["probabilities"]
        answer = {
            target.name: self.classes[shares.index(max(shares))],
            "probabilities": dict(zip(self._keys, shares, strict=True)),
            mean: row[mean],
        }
        if critical:
            answer["prediction_set"] = set_of(self.classes, shares, critical)
        return answer

    def shares(self, target: Feature, outputs: Outputs) -> NDArray[np.float64]:
        """The probabilities of the classes, float64 (n, classes)."""
        return outputs["probabilities"].astype(np.float64)

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        shares: dict[str, Any] = {str(label): (Probability, ...) for label in self.classes}
        per_class = create_model(f"Probabilities_{target.name}", **shares)
        probabilities, mean = self.outputs(target)
        return {
            target.name: (Literal[self.classes], Field(description=f"the most probable {target.name}")),
            probabilities.name: (per_class, Field(description=probabilities.meaning)),
            mean.name: (float, Field(description=mean.meaning)),
            **set_field(Literal[self.classes], "the coverage's share of all rows, on average"),
        }

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers each class's share in training to every row."""
        mean = float(np.dot(prior, self.classes))
        return {
            "probabilities": np.tile(np.asarray(prior, np.float32), (rows, 1)),
            self.explained(target): np.full(rows, mean, np.float32),
        }


Task = Binary | Regression | Multiclass


def _texts(labels: Sequence[Value], places: NDArray[Any]) -> list[bytes]:
    """The label at each of the places (n,), as JSON."""
    listed = places.tolist()
    texts = {place: to_json(labels[place]) for place in set(listed)}
    return [texts[place] for place in listed]
