"""The wire types of the native dialect.

Generic in the row, the target and the prediction, so that each model's own fields stand in /docs.
Knows pydantic; knows nothing of HTTP or TensorFlow.
"""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from service.features import Feature, Row

MAX_ROWS = 100_000

R = TypeVar("R", bound=Row)
T = TypeVar("T")
P = TypeVar("P", bound=BaseModel)
M = TypeVar("M", bound=BaseModel)


class Envelope(BaseModel):
    """What every request body has in common: no field beyond the documented ones."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Parameters(Envelope):
    """Options of a request; none is defined yet."""


class PredictRequest(Envelope, Generic[R]):
    """Rows to be answered, in the order in which the answers come back."""

    # fail_fast: a body of 100,000 wrong rows must not cost a million error objects.
    instances: Annotated[list[R], Field(min_length=1, max_length=MAX_ROWS, fail_fast=True)]
    parameters: Parameters = Field(default_factory=Parameters)


class EvaluateRequest(PredictRequest[R], Generic[R, T]):
    """Rows with the true value of each, in the same order."""

    targets: Annotated[
        list[T],
        Field(
            min_length=1, max_length=MAX_ROWS, fail_fast=True, description="one true value for each instance"
        ),
    ]


def named(name: str, kind: type[M]) -> type[M]:
    """Give a parametrised type a name of its own, for /docs to show instead of its parameters."""
    return create_model(name, __base__=kind, __doc__=kind.__doc__)


def target_type(target: Feature) -> Any:
    """The annotation of a target, the second parameter of `EvaluateRequest`."""
    return Annotated[Any, target]


class Answer(BaseModel):
    """What every answer says of itself: the model and the version that gave it."""

    model: str
    version: int


class NamedThreshold(BaseModel):
    """The probability from which on the event is answered."""

    name: str
    value: float


class PredictResponse(Answer, Generic[P]):
    """One prediction for each instance, in the same order."""

    threshold: NamedThreshold | None = Field(default=None, description="only where the answer is one of two")
    predictions: list[P]


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


class CalibrationBin(BaseModel):
    """One of ten equal bins of the probability: what was said beside what happened."""

    low: float
    high: float
    rows: int
    mean_probability: float | None
    observed_share: float | None


class Metrics(BaseModel):
    """What the lecture's `evaluate` returns: element [0], the loss, and element [1], the accuracy."""

    model_config = ConfigDict(extra="forbid")

    loss: float
    accuracy: float


class BinaryMetrics(Metrics):
    """Metrics of a probability. Loss: binary cross-entropy. None where these rows do not define one."""

    auc: float | None = Field(description="area under the ROC curve; needs both classes")
    average_precision: float | None = Field(description="needs at least one event")
    brier: float = Field(description="mean squared error of the probability, lower is better")
    log_loss: float = Field(description="binary cross-entropy in nats, lower is better")
    sensitivity: float | None = Field(description="share of the events that are answered at the threshold")
    specificity: float | None = Field(description="share of the non-events that are answered so")
    threshold: float
    confusion_matrix: list[list[int]] = Field(description="rows: true 0, 1; columns: answered 0, 1")
    calibration: list[CalibrationBin]


class RegressionMetrics(Metrics):
    """Metrics of a real number. Loss: mean squared error. Accuracy: share within 0.5 of the truth."""

    mae: float = Field(description="mean absolute error, in the target's unit")
    rmse: float = Field(description="root mean squared error, in the target's unit")
    r2: float | None = Field(description="needs targets that differ")
    within_0_25: float = Field(alias="within_0.25")
    within_0_5: float = Field(alias="within_0.5")
    within_1: float


class MulticlassMetrics(Metrics):
    """Metrics of class probabilities. Loss: categorical cross-entropy."""

    macro_f1: float = Field(description="mean F1 over the classes that occur")
    quadratic_kappa: float | None = Field(description="needs more than one class")
    log_loss: float = Field(description="categorical cross-entropy in nats, lower is better")
    classes: list[int]
    confusion_matrix: list[list[int]] = Field(description="rows: true classes; columns: answered ones")


class Evaluation(Answer):
    """What every evaluation says besides its metrics."""

    rows: int = Field(description="how many labelled rows were measured")


class BinaryEvaluation(BinaryMetrics, Evaluation):
    """The model's metrics on these rows, and the same of the trivial baseline."""

    baseline: BinaryMetrics = Field(description="of answering the training table's class shares to every row")


class RegressionEvaluation(RegressionMetrics, Evaluation):
    """The model's metrics on these rows, and the same of the trivial baseline."""

    baseline: RegressionMetrics = Field(description="of answering the training table's mean to every row")


class MulticlassEvaluation(MulticlassMetrics, Evaluation):
    """The model's metrics on these rows, and the same of the trivial baseline."""

    baseline: MulticlassMetrics = Field(
        description="of answering the training table's class shares to every row"
    )


EVALUATIONS: dict[str, type[Metrics]] = {
    "binary": BinaryEvaluation,
    "regression": RegressionEvaluation,
    "multiclass": MulticlassEvaluation,
}
