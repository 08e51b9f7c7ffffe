"""The wire types of the native dialect.

Generic in the row, the target and the prediction, so that each model's own fields stand in /docs.
Knows pydantic; knows nothing of HTTP or TensorFlow.
"""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from service.features import Feature, Row, Value
from service.parameters import Coverage, Parameters, PredictParameters, WhatIfParameters
from service.tasks import Probability, Threshold

MAX_ROWS = 100_000

R = TypeVar("R", bound=Row)
T = TypeVar("T")
W = TypeVar("W", bound=WhatIfParameters)
P = TypeVar("P", bound=BaseModel)
M = TypeVar("M", bound=BaseModel)


class Envelope(BaseModel):
    """What every request body has in common: no field beyond the documented ones."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class RowsRequest(Envelope, Generic[R]):
    """Rows to be answered, in the order in which the answers come back."""

    # fail_fast: a body of 100,000 wrong rows must not cost a million error objects.
    instances: Annotated[list[R], Field(min_length=1, max_length=MAX_ROWS, fail_fast=True)]
    parameters: Parameters = Field(default_factory=Parameters)


class PredictRequest(RowsRequest[R], Generic[R]):
    """Rows to be predicted, in the order in which the predictions come back."""

    parameters: PredictParameters = Field(default_factory=PredictParameters)


class ExplainRequest(RowsRequest[R], Generic[R]):
    """Rows whose predictions are to be explained, in the order in which the explanations come back."""


class WhatIfRequest(RowsRequest[R], Generic[R, W]):
    """Rows of which one feature is to be varied, in the order in which the curves come back."""

    parameters: W


class EvaluateRequest(RowsRequest[R], Generic[R, T]):
    """Rows with the true value of each, in the same order."""

    targets: Annotated[
        list[T],
        Field(
            min_length=1, max_length=MAX_ROWS, fail_fast=True, description="one true value for each instance"
        ),
    ]


def named(name: str, kind: type[M]) -> type[M]:
    """Give a parametrised type a name of its own, for /docs to show instead of its parameters."""
    generic = kind.__pydantic_generic_metadata__["origin"] or kind
    return create_model(name, __base__=kind, __doc__=generic.__doc__)


def target_type(target: Feature) -> Any:
    """The annotation of a target, the second parameter of `EvaluateRequest`."""
    return Annotated[Any, target]


class Answer(BaseModel):
    """What every answer says of itself: the model and the version that gave it."""

    model: str
    version: int


class Reading(Answer):
    """What predictions are to be read by."""

    threshold: Threshold | None = Field(
        description="the probability from which on the event is answered, and why; null for other tasks"
    )
    base_rate: dict[str, Probability] | None = Field(
        description="each class's share of the training table, which is what one knows without a row;"
        " null where the answer is a number"
    )
    coverage: Coverage | None = Field(
        description="the share of new rows whose true value the sets, or intervals, hold; null without such"
    )


class PredictResponse(Reading, Generic[P]):
    """One prediction for each instance, in the same order."""

    predictions: list[P]


class Curve(BaseModel, Generic[P]):
    """What the model would predict for one instance, were the feature another."""

    id: int | None = Field(default=None, description="the row's number, where a CSV body brought one")
    value: Value = Field(description="the row's own value of the feature, which is one of the points")
    points: list[P] = Field(
        description="ascending by `value`; without those at which a part would exceed its whole"
    )


class WhatIfResponse(Reading, Generic[P]):
    """One curve for each instance, in the same order: how predictions, not outcomes, hang on the feature.

    The feature runs over what training saw of it: every level; true and false; numbers in even steps.
    All else stays as in the instance, so that a point may be a row that cannot exist: see its
    `applicability`.
    """

    feature: str
    unit: str
    curves: list[Curve[P]]


class Explanation(BaseModel):
    """How one prediction comes about, in the unit of the explained output.

    `prediction` = `baseline_prediction` + the sum of `attributions` + `residual`.
    """

    id: int | None = Field(default=None, description="the row's number, where a CSV body brought one")
    attributions: dict[str, float]
    prediction: float
    baseline_prediction: float
    residual: float


class ExplainResponse(Answer):
    """Integrated gradients (Sundararajan et al. 2017) from a baseline row to each instance."""

    explained: str = Field(description="the output that the attributions add up to")
    baseline: dict[str, float | int | bool | str] = Field(description="the row from which attributions count")
    explanations: list[Explanation]
