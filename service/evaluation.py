"""The wire types of /evaluate: each task's metrics, the trivial baseline's, the comparison with the card.

Knows pydantic; knows nothing of HTTP or of how metrics are computed.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.bootstrap import Verdict
from service.protocol import Answer
from service.quality import Figure


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
    mae_of_median: float = Field(description="mean absolute error of the interpolated median")
    rmse: float = Field(description="root mean squared error, in the target's unit")
    r2: float | None = Field(description="needs targets that differ")
    within_0_25: float = Field(alias="within_0.25")
    within_0_5: float = Field(alias="within_0.5")
    within_1: float
    kappa: float | None = Field(description="Cohen's, of rounded predictions; needs whole targets")
    quadratic_kappa: float | None = Field(description="the same, with quadratic weights")


class MulticlassMetrics(Metrics):
    """Metrics of class probabilities. Loss: categorical cross-entropy."""

    macro_f1: float = Field(description="mean F1 over the classes that occur")
    quadratic_kappa: float | None = Field(description="needs more than one class")
    log_loss: float = Field(description="categorical cross-entropy in nats, lower is better")
    calibration_error: float = Field(
        description="mean distance of confidence and accuracy over ten bins of the confidence"
    )
    classes: list[int]
    confusion_matrix: list[list[int]] = Field(description="rows: true classes; columns: answered ones")


class Comparison(Figure):
    """The main metric on these rows, lower is better, beside the card's.

    `low` and `high` bound it at 95 %: the percentiles of 500 bootstrap samples that draw equal rows
    together. They are null where fewer than two of the rows differ.
    """

    metric: Literal["log_loss", "rmse"]
    card: Figure | None = Field(description="the same metric in the card, on rows kept out of training")
    verdict: Verdict | None = Field(
        description="better or worse where 0 lies outside the 95 % interval of the difference, made of both"
        " intervals (Zou and Donner 2008), these rows' as wide at least as the card's would be with so few"
        " rows: where errors are rare, few rows say nothing. Rows that the model was trained on come out"
        " better than new ones. Null where an interval is missing"
    )


class Evaluation(Answer):
    """What every evaluation says besides its metrics."""

    rows: int = Field(description="how many labelled rows were measured")
    comparison: Comparison


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
