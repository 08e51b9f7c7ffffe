"""The kinds of answers: two classes, a real number, one of several classes.

A task says which outputs the graph has, how they read as an answer, and what the trivial baseline
would answer. Knows the vocabulary of features; knows nothing of HTTP, TensorFlow or files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, create_model

from service.features import Feature

Outputs = Mapping[str, NDArray[np.float32]]
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
    Loss: binary cross-entropy, in nats.
    """

    event: str
    complement: str | None
    threshold: Threshold
    name: Literal["binary"] = "binary"
    prior_length: ClassVar[int] = 2

    def outputs(self, target: Feature) -> tuple[Output, ...]:
        """The probability of the event and, where it has a name, that of its complement."""
        event = Output(self.event, f"probability that {target.name} is {target.value(1)}")
        if self.complement is None:
            return (event,)
        return event, Output(self.complement, f"probability that {target.name} is {target.value(0)}")

    def explained(self, target: Feature) -> str:
        """The scalar output that attributions add up to."""
        return self.event

    def answers(self, target: Feature, outputs: Outputs) -> list[dict[str, Any]]:
        """One answer a row: the outcome at the threshold, then the probabilities."""
        levels = (target.value(0), target.value(1))
        # In float64, as the metrics compare: float32 would round the threshold too.
        events = outputs[self.event].astype(np.float64) >= self.threshold.value
        columns = [(name, values.tolist()) for name, values in outputs.items()]
        return [
            {target.name: levels[event]} | {name: values[row] for name, values in columns}
            for row, event in enumerate(events.tolist())
        ]

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        meaning = (
            f"{target.value(1)} where {self.event} is at least {self.threshold.value:g}"
            f" ({self.threshold.name}), else {target.value(0)}"
        )
        outcome = Literal[target.value(0), target.value(1)]  # type: ignore[valid-type]
        return {target.name: (outcome, Field(description=meaning))} | {
            output.name: (Probability, Field(description=output.meaning)) for output in self.outputs(target)
        }

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers the training prevalence, `prior[1]`, to every row."""
        event = np.full(rows, prior[1], np.float32)
        return {self.event: event} | ({self.complement: 1 - event} if self.complement else {})


@dataclass(frozen=True)
class Regression:
    """A real number in the target's unit. Loss: mean squared error, in that unit squared."""

    name: Literal["regression"] = "regression"
    prior_length: ClassVar[int] = 1

    def outputs(self, target: Feature) -> tuple[Output, ...]:
        """The target itself, in its unit."""
        return (Output(target.name, target.meaning),)

    def explained(self, target: Feature) -> str:
        """The scalar output that attributions add up to."""
        return target.name

    def answers(self, target: Feature, outputs: Outputs) -> list[dict[str, Any]]:
        """One answer a row: the target's real value."""
        return [{target.name: value} for value in outputs[target.name].tolist()]

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        return {target.name: (float, Field(description=f"{target.meaning}, as a real number"))}

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers the training mean, `prior[0]`, to every row."""
        return {target.name: np.full(rows, prior[0], np.float32)}


@dataclass(frozen=True)
class Multiclass:
    """One of several ordered whole-number classes. Loss: categorical cross-entropy, in nats."""

    classes: tuple[int, ...]
    name: Literal["multiclass"] = "multiclass"

    @property
    def prior_length(self) -> int:
        """The number of shares that the trivial baseline answers."""
        return len(self.classes)

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

    def answers(self, target: Feature, outputs: Outputs) -> list[dict[str, Any]]:
        """One answer a row: the most probable class, every class's probability, the mean."""
        names = [str(label) for label in self.classes]
        probabilities = outputs["probabilities"]
        best = probabilities.argmax(axis=1).tolist()
        means = outputs[f"mean_{target.name}"].tolist()
        return [
            {
                target.name: self.classes[best[row]],
                "probabilities": dict(zip(names, shares, strict=True)),
                f"mean_{target.name}": means[row],
            }
            for row, shares in enumerate(probabilities.tolist())
        ]

    def fields(self, target: Feature) -> dict[str, Any]:
        """The answer's fields, for its pydantic model."""
        shares: dict[str, Any] = {str(label): (Probability, ...) for label in self.classes}
        per_class = create_model(f"Probabilities_{target.name}", **shares)
        probabilities, mean = self.outputs(target)
        return {
            target.name: (Literal[self.classes], Field(description=f"the most probable {target.name}")),
            probabilities.name: (per_class, Field(description=probabilities.meaning)),
            mean.name: (float, Field(description=mean.meaning)),
        }

    def trivial(self, target: Feature, prior: Sequence[float], rows: int) -> Outputs:
        """The outputs of a model that answers each class's share in training to every row."""
        mean = float(np.dot(prior, self.classes))
        return {
            "probabilities": np.tile(np.asarray(prior, np.float32), (rows, 1)),
            self.explained(target): np.full(rows, mean, np.float32),
        }


Task = Binary | Regression | Multiclass
