"""What a model is, before any artifact exists: its row, its target, its task and an example.

Knows the vocabulary of features and tasks; knows nothing of HTTP, TensorFlow or files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, create_model

from service.features import Feature, Row, Value
from service.tasks import Binary, Output, Task, Threshold

# The lecture heads the column to be predicted so.
TARGET_HEADING = "label"


# An output of every model, besides its task's.
DISTANCE = Output(
    "distance_percentile",
    "per cent of the training rows that lie nearer to the training rows' centre than this one",
)


class Applicability(BaseModel):
    """Whether the model has seen rows like this one."""

    outside: list[str] = Field(
        description="features whose value lies outside the range, or the levels, seen in training"
    )
    distance_percentile: float = Field(ge=0, le=100, description=DISTANCE.meaning)


class Prediction(BaseModel):
    """The fields that every model's answer for one row has."""

    model_config = ConfigDict(extra="forbid")

    applicability: Applicability


@dataclass(frozen=True)
class ModelSpec:
    """The declaration of a model: everything that training and serving must agree on.

    `example` is a real row of the table with its real target; `source_columns` are the columns of
    the published table in its own order, which is what a CSV body without a header has to hold. `notice`
    is what nobody may overlook; `grouped_by` names features by whose levels or bands the card also
    measures the model.
    """

    name: str
    title: str
    description: str
    row: type[Row]
    target: Feature
    task: Task
    example: Mapping[str, Value]
    example_target: Value
    source_columns: tuple[str, ...]
    identifier: str | None = None
    notice: str | None = None
    grouped_by: tuple[str, ...] = ()

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The row's features, in the order of the matrix's columns."""
        return self.row.features()

    @cached_property
    def parts(self) -> tuple[Feature, ...]:
        """The features that are a part of another one."""
        return tuple(feature for feature, _, _ in self.row.parts())

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """The named outputs of the signature `serving_default`."""
        return (*self.task.outputs(self.target), DISTANCE)

    @property
    def threshold(self) -> Threshold | None:
        """The probability from which on a binary model answers the event; None for the other tasks."""
        return self.task.threshold if isinstance(self.task, Binary) else None

    @cached_property
    def headings(self) -> dict[str, str]:
        """Every name that a column may bear, public or the table's own, with the public one."""
        columns = (*self.features, self.target)
        names = {heading: column.name for column in columns for heading in (column.source, column.name)}
        identifier = {self.identifier: self.identifier} if self.identifier else {}
        return names | identifier | {TARGET_HEADING: self.target.name}

    @property
    def explained(self) -> str:
        """The scalar output that the attributions of the signature `explain` add up to."""
        return self.task.explained(self.target)

    @property
    def type_name(self) -> str:
        """The model's name as types are named, such as WineType."""
        return self.name.title().replace("_", "")

    @cached_property
    def prediction(self) -> type[Prediction]:
        """The pydantic model of the answer for one row."""
        fields = self.task.fields(self.target)
        if self.identifier:
            meaning = "the row's number, where a CSV body brought one"
            fields[self.identifier] = (int | None, Field(default=None, description=meaning))
        return create_model(f"{self.type_name}Prediction", __base__=Prediction, **fields)

    @cached_property
    def point(self) -> type[Prediction]:
        """The pydantic model of one point of a curve: a prediction, and the value it holds at."""
        value = (Value, Field(description="of the feature that is varied"))
        fields = {"value": value} | self.task.fields(self.target)
        return create_model(f"{self.type_name}Point", __base__=Prediction, **fields)
